"""Build the native modules and the protobuf code; everything else is in pyproject.toml.

Two profiles, chosen by QUANTUM_PROFILE: ``release`` (default), and ``checked`` with bounds, None and
overflow checks, line tracing and warnings as errors. A new .pyx needs no edit here.
"""

import os
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PROFILE = os.environ.get("QUANTUM_PROFILE", "release")
COMMON = {"language_level": 3, "embedsignature": True, "binding": True, "freethreading_compatible": False}
RELEASE = {**COMMON, "boundscheck": False, "wraparound": False, "cdivision": True, "initializedcheck": False}
CHECKED = {**COMMON, "boundscheck": True, "wraparound": True, "cdivision": True, "overflowcheck": False,
           "nonecheck": True, "initializedcheck": True}
PROFILES = {
    "release": (RELEASE, ["-O2", "-g1", "-fno-plt"]),
    "checked": (CHECKED, ["-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function",
                          "-Wno-cast-function-type", "-Wno-missing-field-initializers", "-D_FORTIFY_SOURCE=2"]),
}


def extensions(flags: list[str]) -> list[Extension]:
    found = []
    for path in sorted((ROOT / "cython_ext").rglob("*.pyx")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        kernels = [str(c.relative_to(ROOT)) for c in sorted(path.parent.glob(f"{path.stem}_*.c"))]
        found.append(Extension(name, [str(path.relative_to(ROOT)), *kernels], libraries=["crypto"],
                               extra_compile_args=flags, include_dirs=[str(path.parent.relative_to(ROOT))]))
    return found


class BuildPy(build_py):
    """Generate ``quantum_pb`` from ``proto/`` before Python modules are collected."""

    def run(self) -> None:
        generate_protobuf()
        super().run()


def generate_protobuf() -> None:
    protos = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "proto").rglob("*.proto"))
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", "quantum_pb=proto", "--python_out=.",
                    "--pyi_out=.", "--grpc_python_out=.", *protos], cwd=ROOT, check=True)
    for folder in {ROOT / "quantum_pb", *(ROOT / "quantum_pb" / Path(p).relative_to("proto").parent for p in protos)}:
        for package in [folder, *[f for f in folder.parents if (ROOT / "quantum_pb") in f.parents]]:
            (package / "__init__.py").touch()


if __name__ == "__main__":
    if sys.argv[1:] == ["protobuf"]:
        generate_protobuf()
        sys.exit()
    directives, flags = PROFILES[PROFILE]
    setup(
        cmdclass={"build_py": BuildPy},
        ext_modules=cythonize(
            extensions(flags), build_dir=f"build/{PROFILE}", compiler_directives=directives,
            nthreads=0 if sys.platform == "darwin" else os.cpu_count() or 1,
        ),
    )

"""Build the native modules and the protobuf code; everything else is in pyproject.toml.

Two profiles, chosen by QUANTUM_PROFILE: ``release`` (default), and ``checked`` with bounds checks,
traps at undefined behaviour and C warnings as errors; ``built`` takes the modules lying in place.
A new .pyx needs no edit here; C files called ``<module>_*.c`` that lie beside it are linked in.
"""

import os
import subprocess
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PROFILE = os.environ.get("QUANTUM_PROFILE", "release")
COMMON = {"language_level": 3, "embedsignature": True, "binding": True, "cdivision": True}
SAFE = {"boundscheck": True, "wraparound": True, "initializedcheck": True}
# What the C that Cython writes trips over by design; any other warning is ours, and an error.
BY_DESIGN = "unused-parameter unused-function unused-result cast-function-type"
STRICT = ["-Wall", "-Wextra", "-Werror", *(f"-Wno-{name}" for name in BY_DESIGN.split())]
TRAPS = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-D_FORTIFY_SOURCE=2"]
PROFILES = {
    "release": (COMMON | dict.fromkeys(SAFE, False), ["-O2", "-g1", "-fno-plt"]),
    "built": ({}, []),
    "checked": (COMMON | SAFE, ["-O1", "-g", *TRAPS, *STRICT]),
}


def extensions(flags: list[str]) -> list[Extension]:
    found = []
    for path in sorted(p.relative_to(ROOT) for p in (ROOT / "cython_ext").rglob("*.pyx")):
        beside = ROOT / path.parent
        kernels = [str(c.relative_to(ROOT)) for c in sorted(beside.glob(f"{path.stem}_*.c"))]
        headers = [str(h.relative_to(ROOT)) for h in beside.glob("*.h")]
        place = {"include_dirs": [str(path.parent)], "libraries": ["crypto"], "depends": headers}
        name, sources = ".".join(path.with_suffix("").parts), [str(path), *kernels]
        found.append(Extension(name, sources, extra_compile_args=flags, **place))
    return found


def generate_protobuf() -> None:
    """Write ``quantum_pb`` from ``proto/``; an empty package when there is nothing to write."""
    protos = sorted(p.relative_to(ROOT) for p in (ROOT / "proto").rglob("*.proto"))
    faces = ["--python_out=.", "--pyi_out=.", "--grpc_python_out=."]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", "quantum_pb=proto", *faces]
    if protos:
        subprocess.run([*protoc, *map(str, protos)], cwd=ROOT, check=True)
    folders = {f for p in protos for f in p.relative_to("proto").parents} | {Path()}
    for folder in sorted(ROOT / "quantum_pb" / f for f in folders):
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()


class BuildPy(build_py):
    def run(self) -> None:
        generate_protobuf()
        super().run()


class BuildExt(build_ext):
    def run(self) -> None:
        super().run()
        facts = f'PROFILE = "{PROFILE}"\nCYTHON = "{Cython.__version__}"\n'
        place = ROOT if self.inplace else Path(self.build_lib)
        (place / "cython_ext/build_info.py").write_text(f'"""How this was built."""\n\n{facts}')


if __name__ == "__main__" and sys.argv[1:] == ["protobuf"]:
    generate_protobuf()
elif __name__ == "__main__":
    directives, flags = PROFILES[PROFILE]
    options = {"build_dir": f"build/{PROFILE}", "compiler_directives": directives, "nthreads": 2}
    sources = [] if PROFILE == "built" else extensions(flags)
    modules = cythonize(sources, quiet=True, **options)
    setup(cmdclass={"build_py": BuildPy, "build_ext": BuildExt}, ext_modules=modules)

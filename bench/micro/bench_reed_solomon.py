"""Measure Reed-Solomon on one core, beside ISA-L where it is installed (Debian: libisal2).

    python bench/micro/bench_reed_solomon.py [--shards 10+3] [--bytes 1200] [--all-kernels]

GB/s are of data: k x shard length per call, also when rebuilding. What is rebuilt is compared
with the data. "Matrix remembered" repeats one pattern of losses; "new" never meets a pattern in the
cache. ISA-L keeps no matrices: each decode inverts one, as its example does; "tables kept" leaves
that out.
Needs the native modules and a C compiler, for loops without Python (reed_solomon_loops.c).
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations, product
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cython_ext.fec import available_kernels, kernel_in_use, use_kernel  # noqa: E402

LOOPS = Path(__file__).with_name("reed_solomon_loops.c")
CODE_BYTES = 4096  # room for a struct Code
MEASURE_NS = 30e6
Pointers = ctypes.Array[ctypes.c_void_p]
Buffer = ctypes.Array[ctypes.c_char]
# What is lost, and the parities that are there instead.
Losses = Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
# The code, how many parities it has, their buffers, and the losses to take in turns.
Case = tuple[Buffer, int, Sequence[Buffer], Losses]


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", default="10+3", help="data + parity shards (default 10+3)")
    parser.add_argument("--bytes", type=int, default=1200, help="length of a shard (default 1200)")
    parser.add_argument("--runs", type=int, default=7, help="the median of so many (default 7)")
    parser.add_argument("--all-kernels", action="store_true", help="not the best one alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the ratio's numbers")
    options = parser.parse_args()
    k, m = (int(part) for part in options.shards.split("+"))
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    print(
        f"{processor()}, core {cpu}, load {os.getloadavg()[0]:.2f}; {k}+{m}, {options.bytes} bytes"
    )
    print(f"median of {options.runs} (lowest to highest), GB/s of data\n")
    print("| kernel | what | GB/s | spread | ns |\n|---|---|---:|---|---:|")
    with compiled_loops() as loops:
        bench = Bench(loops, k, m, options.bytes, options.runs)
        best = kernel_in_use()
        medians = bench.ours()
        peer = bench.isal()
        for kernel in available_kernels() if options.all_kernels else ():
            if kernel != best:
                use_kernel(kernel)
                bench.ours()
    if options.json is not None:
        options.json.write_text(json.dumps({"quantum": medians, "isa-l": peer}))
    if peer is None:
        print(
            "\nISA-L is not installed (Debian: apt-get install libisal2): nothing to compare with"
        )
        return
    ratios = ", ".join(
        f"{what} {medians[what] / peer[what]:.2f} x" for what in ("encode", "decode")
    )
    print(f"\nratio to ISA-L in this run: {ratios} (decode: new matrix each time, on both sides)")


class Bench:
    """One code with its data; measures ours and ISA-L on the same bytes."""

    def __init__(self, loops: ctypes.CDLL, k: int, m: int, length: int, runs: int) -> None:
        self.loops, self.k, self.m, self.length, self.runs = loops, k, m, length, runs
        random = Random(1)
        self.data = buffers(random.randbytes(length) for _ in range(k))
        self.parities = buffers(bytes(length) for _ in range(m))
        self.rebuilt = buffers(bytes(length) for _ in range(k))
        self.lost = min(3, k, m)

    def ours(self) -> dict[str, float]:
        """Measure the kernel in use; return GB/s."""
        k, m, length, loops = self.k, self.m, self.length, self.loops
        # So many more parities that there are patterns in plenty.
        spare = min(m + 8, 256 - k)
        code, wide = new_code(k, m), new_code(k, spare)
        encode, add, decode = (function(f"code_{verb}") for verb in ("encode", "add", "decode"))
        parities = pointers(self.parities)
        more = buffers(bytes(length) for _ in range(spare))
        size = ctypes.c_size_t(length)
        name = kernel_in_use()
        result = {}
        result["encode"] = self.line(
            name,
            "encode",
            lambda n: loops.encode(encode, code, pointers(self.data), parities, m, size, n),
        )
        self.line(
            name,
            "encode, one shard at a time",
            lambda n: loops.add(add, code, pointers(self.data), parities, k, m, size, n),
        )
        loops.encode(encode, code, pointers(self.data), parities, m, size, ctypes.c_long(1))
        loops.encode(
            encode, wide, pointers(self.data), pointers(more), spare, size, ctypes.c_long(1)
        )
        # Losses in the order of a shuffle, far more of them than the cache has places.
        every = list(
            product(combinations(range(k), self.lost), combinations(range(spare), self.lost))
        )
        Random(2).shuffle(every)
        first = tuple(range(self.lost))
        cases: dict[str, Case] = {
            f"rebuild {self.lost} lost, new matrix": (wide, spare, more, every[:4096]),
            f"rebuild {self.lost} lost, matrix remembered": (code, m, more, [(first, first)]),
            "rebuild 1 lost": (code, m, more, [((n,), (0,)) for n in range(k)]),
        }
        for what, (which, parity_count, sources, losses) in cases.items():
            table = self.patterns(losses, sources, parity_count)
            arguments = (decode, which, table, ctypes.c_long(len(losses)), k + parity_count)
            speed = self.line(
                name,
                what,
                partial(loops.decode, *arguments, pointers(self.rebuilt), size),
                check=losses,
            )
            result.setdefault("decode", speed)
        return result

    def isal(self) -> dict[str, float] | None:
        """Measure ISA-L; None when it is not installed."""
        try:
            library = ctypes.CDLL("libisal.so.2")
        except OSError:
            return None
        k, m, loops = self.k, self.m, self.loops
        table = (ctypes.c_void_p * 3)(
            *(
                ctypes.cast(library[name], ctypes.c_void_p).value
                for name in ("ec_init_tables", "ec_encode_data", "gf_invert_matrix")
            )
        )
        matrix = ctypes.create_string_buffer((k + m) * k)
        library.gf_gen_cauchy1_matrix(matrix, k + m, k)
        parities = pointers(self.parities)
        result = {
            "encode": self.line(
                "ISA-L",
                "encode",
                lambda n: loops.isal_encode(
                    table, matrix, pointers(self.data), parities, k, m, self.length, n
                ),
            )
        }
        all_here = tuple(range(m))
        every = [(lost, all_here) for lost in combinations(range(k), self.lost)]
        for what, invert, losses in [("new matrix", 1, every), ("tables kept", 0, every[:1])]:
            patterns = self.patterns(losses, self.parities, m)
            count = ctypes.c_long(len(losses))
            arguments = (table, matrix, patterns, count, k, m, pointers(self.rebuilt))
            speed = self.line(
                "ISA-L",
                f"rebuild {self.lost} lost, {what}",
                partial(loops.isal_decode, *arguments, self.length, invert),
                check=losses,
            )
            result.setdefault("decode", speed)
        return result

    def patterns(
        self,
        losses: Losses,
        parities: Sequence[Buffer],
        parity_count: int,
    ) -> Pointers:
        """Return the pointers of each pattern: the data that is here, then the parities."""
        found: list[int | None] = []
        for lost, here in losses:
            found += [None if n in lost else address(self.data[n]) for n in range(self.k)]
            found += [address(parities[n]) if n in here else None for n in range(parity_count)]
        return (ctypes.c_void_p * len(found))(*found)

    def line(
        self,
        kernel: str,
        what: str,
        call: Callable[[ctypes.c_long], float],
        check: Losses = (),
    ) -> float:
        """Measure, check what was rebuilt, print a line, and return GB/s."""
        for lost, _ in check:
            for n in lost:
                ctypes.memset(self.rebuilt[n], 0, self.length)
        trial = call(ctypes.c_long(max(1000, len(check))))
        assert trial > 0, f"{kernel} failed: {what}"
        for n in {n for lost, _ in check for n in lost}:
            assert self.rebuilt[n].raw == self.data[n].raw, f"{kernel}, {what}: shard {n} is wrong"
        rounds = ctypes.c_long(max(1, int(MEASURE_NS / trial)))
        times = sorted(call(rounds) for _ in range(self.runs))
        low, middle, high = (
            self.k * self.length / t for t in (times[-1], statistics.median(times), times[0])
        )
        nanoseconds = statistics.median(times)
        print(f"| {kernel} | {what} | {middle:.1f} | {low:.1f} to {high:.1f} | {nanoseconds:.0f} |")
        return middle


def buffers(contents: Iterator[bytes]) -> list[Buffer]:
    """Return one buffer per shard, without the zero that ctypes likes to add."""
    return [ctypes.create_string_buffer(content, len(content)) for content in contents]


def address(buffer: Buffer) -> int:
    """Return where a buffer begins."""
    return ctypes.addressof(buffer)


def pointers(shards: Sequence[Buffer]) -> Pointers:
    """Return the shards as C sees them."""
    return (ctypes.c_void_p * len(shards))(*map(address, shards))


def function(name: str) -> ctypes.c_void_p:
    """Return the address of a function that reed_solomon.pxd declares."""
    capsule = sys.modules["cython_ext.fec.reed_solomon"].__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return ctypes.c_void_p(api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule)))


def new_code(k: int, m: int) -> Buffer:
    """Return a struct Code; its tables live as long as the process."""
    code = ctypes.create_string_buffer(CODE_BYTES)
    start = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
    place = function("code_start").value
    assert place is not None
    assert start(place)(ctypes.addressof(code), k, m) & 1
    return code


@contextmanager
def compiled_loops() -> Iterator[ctypes.CDLL]:
    """Compile the loops and load them."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "loops.so")
        command = ["cc", "-O2", "-shared", "-fPIC", str(LOOPS), "-o", target]
        subprocess.run(command, check=True)
        loops = ctypes.CDLL(target)
        for name in ("encode", "add", "decode", "isal_encode", "isal_decode"):
            getattr(loops, name).restype = ctypes.c_double
        yield loops


def processor() -> str:
    """Return the name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    main()

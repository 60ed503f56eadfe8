"""Every kernel that this processor runs gives the bytes of the field, and touches no others."""

import subprocess
import sys
from collections.abc import Iterator
from random import Random

import pytest

from cython_ext.fec import (
    ReedSolomon,
    RunningParity,
    available_kernels,
    kernel_in_use,
    use_kernel,
)
from tests.support.reed_solomon import PRODUCTS

KERNELS = available_kernels()
# Around every multiple of the vectors' sizes, up to several blocks of the widest kernel.
LENGTHS = [*range(131), *(n + d for n in (192, 256, 512, 1024) for d in (-1, 0, 1)), 1200, 40_001]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = kernel_in_use()
    yield
    use_kernel(before)


def test_the_best_kernel_is_chosen_and_portable_is_always_there() -> None:
    assert kernel_in_use() == KERNELS[0]
    assert KERNELS[-1] == "portable"


def test_an_unknown_kernel_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match=r"'abacus'.*portable"):
        use_kernel("abacus")
    assert kernel_in_use() == KERNELS[0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_product_of_the_field_is_right(kernel: str) -> None:
    use_kernel(kernel)
    # With two data shards, parity r - 2 is (r - 1) a + r b: with a all zero, a multiple of b.
    products = ReedSolomon(2, 254).encode([b"", bytes(range(256))])
    assert products == PRODUCTS[2:]


@pytest.mark.parametrize("kernel", KERNELS[:-1])
@pytest.mark.parametrize("rows", range(1, 10))
def test_every_kernel_gives_the_bytes_of_the_portable_one(kernel: str, rows: int) -> None:
    random = Random(rows)
    code = ReedSolomon(5, rows)
    for length in LENGTHS:
        data = [random.randbytes(length) for _ in range(5)]
        running = {}
        encoded = {}
        for name in (kernel, "portable"):
            use_kernel(name)
            encoded[name] = code.encode(data)
            parity = RunningParity(code, length)
            for index, shard in enumerate(data):
                parity.add(index, shard)
            running[name] = parity.shards()
        assert encoded[kernel] == encoded["portable"], f"{length} bytes"
        assert running[kernel] == running["portable"] == encoded["portable"], f"{length} bytes"


GUARDED = """
import ctypes, mmap, sys
from cython_ext.fec import ReedSolomon, RunningParity, use_kernel

use_kernel(sys.argv[1])
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
for fence in (address, address + 2 * page):
    assert libc.mprotect(ctypes.c_void_p(fence), page, 0) == 0
inside = memoryview(memory)[page : 2 * page]
inside[:] = bytes(i % 251 for i in range(page))
code = ReedSolomon(3, 5)
for length in (*range(1, 131), 255, 256, 257, 1200):
    for shard in (inside[:length], inside[page - length :]):
        parities = code.encode([shard] * 3)
        running = RunningParity(code, length)
        for index in range(3):
            running.add(index, shard)
        assert running.shards() == parities
        short = code.encode([shard, bytes(2 * length + 40), shard])
        assert code.decode([None, bytes(length), shard, parities[0], *[None] * 4])
print("unharmed")
"""


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_byte_before_or_after_a_shard_is_read(kernel: str) -> None:
    command = [sys.executable, "-c", GUARDED, kernel]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "unharmed\n"), result.stderr

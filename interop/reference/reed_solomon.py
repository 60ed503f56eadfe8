"""The erasure code of section 5.7, by interpolation.

The row r of V holds the powers of r, so V times the coefficients of a polynomial of degree below k
is its value at r; the inverse of T gives the coefficients from the values at 0 to k - 1. Together:
the sources are the values at 0 to k - 1 of a polynomial, and shard r is its value at r. Any k
shards determine it, so encoding and rebuilding are one operation. All in GF(2^8), where addition
and subtraction are exclusive or. Knows no packet.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

POLYNOMIAL = 0x11D


def multiply(a: int, b: int) -> int:
    """Return the product of two elements."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a > 255:
            a ^= POLYNOMIAL
        b >>= 1
    return product


@cache
def inverse(a: int) -> int:
    """Return the element whose product with *a* is 1; ValueError for 0."""
    for b in range(1, 256):
        if multiply(a, b) == 1:
            return b
    raise ValueError("0 has no inverse")


@cache
def _row(a: int) -> bytes:
    """Return a times each element."""
    return bytes(multiply(a, b) for b in range(256))


@lru_cache(maxsize=1024)
def weights(wanted: int, known: tuple[int, ...]) -> list[int]:
    """Return Lagrange's factors: shard *wanted* is the sum of them times the *known* shards."""
    factors = []
    for number in known:
        # 1 at the shard's own number, 0 at those of the others.
        factor = 1
        for other in known:
            if other != number:
                factor = multiply(factor, multiply(wanted ^ other, inverse(number ^ other)))
        factors.append(factor)
    return factors


def shard_at(wanted: int, known: Mapping[int, bytes]) -> bytes:
    """Return shard number *wanted* from exactly k shards of one length, by their numbers."""
    total = 0
    for factor, shard in zip(weights(wanted, tuple(known)), known.values(), strict=True):
        total ^= int.from_bytes(shard.translate(_row(factor)), "big")
    length = max(map(len, known.values()))
    return total.to_bytes(length, "big")


def padded(shards: Sequence[bytes]) -> list[bytes]:
    """Return *shards* with zero bytes behind them, up to the longest."""
    length = max(map(len, shards))
    return [shard.ljust(length, b"\0") for shard in shards]


def parity(sources: Sequence[bytes], index: int) -> bytes:
    """Return parity *index* of *sources*, which count as padded."""
    # = 5.7: the first k are the sources, number k + i is parity i.
    return shard_at(len(sources) + index, dict(enumerate(padded(sources))))


def rebuild(known: Mapping[int, bytes], sources: int) -> list[bytes]:
    """Return all *sources* of a block from at least as many shards, by their numbers."""
    enough = dict(sorted(known.items())[:sources])
    return [enough[n] if n in enough else shard_at(n, enough) for n in range(sources)]

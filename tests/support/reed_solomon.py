"""Reed-Solomon from its definition, slowly: Vandermonde times the inverse of its upper square.

Shares nothing with the code under test: products by shifting, the inverse by elimination.
"""

from collections.abc import Sequence
from functools import cache

POLYNOMIAL = 0x11D

Matrix = list[list[int]]


def multiply(a: int, b: int) -> int:
    """Return the product in GF(2^8)."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= POLYNOMIAL
        b >>= 1
    return product


PRODUCTS = [bytes(multiply(a, b) for b in range(256)) for a in range(256)]
INVERSES = [0, *(PRODUCTS[a].index(1) for a in range(1, 256))]


def power(base: int, exponent: int) -> int:
    """Return base^exponent; 0^0 is 1."""
    result = 1
    for _ in range(exponent):
        result = PRODUCTS[result][base]
    return result


def dot(matrix: Matrix, other: Matrix) -> Matrix:
    """Return the product of two matrices."""
    columns = list(zip(*other, strict=True))
    return [[sum_of_products(row, column) for column in columns] for row in matrix]


def sum_of_products(row: Sequence[int], column: Sequence[int]) -> int:
    """Return the scalar product of two vectors."""
    total = 0
    for a, b in zip(row, column, strict=True):
        total ^= PRODUCTS[a][b]
    return total


def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse by Gauss and Jordan."""
    size = len(matrix)
    work = [[*row, *(int(r == c) for c in range(size))] for r, row in enumerate(matrix)]
    for pivot in range(size):
        swap = next(row for row in range(pivot, size) if work[row][pivot])
        work[pivot], work[swap] = work[swap], work[pivot]
        scale = PRODUCTS[INVERSES[work[pivot][pivot]]]
        work[pivot] = [scale[value] for value in work[pivot]]
        for row in range(size):
            if row != pivot and work[row][pivot]:
                by = PRODUCTS[work[row][pivot]]
                work[row] = [a ^ by[b] for a, b in zip(work[row], work[pivot], strict=True)]
    return [row[size:] for row in work]


@cache
def parity_rows(k: int, m: int) -> tuple[bytes, ...]:
    """Return the lower m rows of the systematic matrix of k + m rows."""
    vandermonde = [[power(row, column) for column in range(k)] for row in range(k + m)]
    systematic = dot(vandermonde, inverse(vandermonde[:k]))
    assert systematic[:k] == [[int(r == c) for c in range(k)] for r in range(k)]
    return tuple(bytes(row) for row in systematic[k:])


def parities(shards: Sequence[bytes], m: int) -> list[bytes]:
    """Return the parities of shards that count as padded with zeros to the longest."""
    length = max(map(len, shards))
    padded = [shard.ljust(length, b"\0") for shard in shards]
    result = []
    for row in parity_rows(len(shards), m):
        total = 0
        for factor, shard in zip(row, padded, strict=True):
            total ^= int.from_bytes(shard.translate(PRODUCTS[factor]), "big")
        result.append(total.to_bytes(length, "big"))
    return result

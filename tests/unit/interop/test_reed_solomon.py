"""The oracle's erasure code against the matrices of the specification, and its laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.reference.reed_solomon import inverse, multiply, parity, rebuild, shard_at
from tests.support import reed_solomon as matrices

elements = st.integers(0, 255)


@given(elements, elements, elements)
def test_the_field_is_one(a: int, b: int, c: int) -> None:
    assert multiply(a, b) == multiply(b, a)
    assert multiply(a, multiply(b, c)) == multiply(multiply(a, b), c)
    assert multiply(a, b ^ c) == multiply(a, b) ^ multiply(a, c)
    if a:
        assert multiply(a, inverse(a)) == 1


def test_zero_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        inverse(0)


def test_two_is_a_generator_of_the_field_of_0x11d() -> None:
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = multiply(value, 2)
    assert value == 1
    assert powers[8] == 0x1D
    assert sorted(powers) == list(range(1, 256))


@pytest.mark.parametrize(("k", "m"), [(1, 1), (1, 255), (2, 3), (5, 4), (10, 3), (64, 16)])
def test_parities_are_rows_of_the_specified_matrix(k: int, m: int) -> None:
    rows = matrices.parity_rows(k, m)
    for column in range(k):
        sources = [bytes([place == column]) for place in range(k)]
        assert bytes(parity(sources, i)[0] for i in range(m)) == bytes(r[column] for r in rows)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_k_shards_give_the_sources_back(data: st.DataObject) -> None:
    k, m = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 8))
    sources = data.draw(st.lists(st.binary(max_size=20), min_size=k, max_size=k))
    length = max(1, *map(len, sources))
    padded = [source.ljust(length, b"\0") for source in sources]
    shards = [*padded, *(parity(padded, index) for index in range(m))]
    kept = data.draw(st.permutations(range(k + m)))[:k]
    assert rebuild({number: shards[number] for number in kept}, k) == padded
    for number in range(k + m):
        assert shard_at(number, {n: shards[n] for n in kept}) == shards[number]


def test_a_block_of_256_shards_survives_the_loss_of_as_many_as_it_has_parities() -> None:
    sources = [bytes([number, 255 - number]) for number in range(250)]
    shards = {250 + index: parity(sources, index) for index in range(6)}
    shards |= {number: sources[number] for number in range(250) if number not in range(40, 46)}
    assert rebuild(shards, 250) == sources

"""The code against its definition, against known answers and against any loss it must survive."""

import hashlib
from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import Any

import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_ext.fec import (
    ReedSolomon,
    ReedSolomonError,
    RunningParity,
    TooManyErasures,
    available_kernels,
    kernel_in_use,
    use_kernel,
)
from tests.support.reed_solomon import PRODUCTS, parities, parity_rows

# SHA-256 of all parities of `known_data`, as klauspost/reedsolomon 1.14.2 makes them by default.
KNOWN = {
    (1, 1, 7): "cdf02f0ee90432783886431102e2544dafb247d2a032bbc9831730b7558de40f",
    (4, 2, 33): "257c5bbabbd48b32c06eacb989c1cca0ccb5f42945715e9c879f1c7a0aabba2c",
    (10, 3, 1200): "4da9394ff8b5520c0c4fe6a1a5904e28a06dc7ecd95b524d42e053cb514d5191",
    (17, 9, 1201): "7571819e0cad2c96763d6c3ee5922f36bd4ed5160ca6e29f1728289aa6379465",
    (1, 255, 16): "df556fe52734c39adb71425c98cd31f73e2ea302bf463119a5e4f5169dc823ea",
    (255, 1, 16): "5f6087b2e3ff3b2de102e21dddcc774e1df2828d20a40637c2d6c6c974e7020a",
    (128, 128, 130): "f89aefde47a61fa11b58fb8b3acf93c09e3a69eda6ea1fcafee7274e5f4474b9",
    (200, 56, 64): "f26d473f37b277bd82b6410f0d703cb174436ee5a705b92f4e74c60efea294f1",
}
KERNELS = available_kernels()


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernel_in_use()
    use_kernel(request.param)
    yield request.param
    use_kernel(before)


def known_data(k: int, length: int) -> list[bytes]:
    state = 1
    stream = bytearray()
    for _ in range(k * length):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        stream.append(state >> 16 & 0xFF)
    return [bytes(stream[n * length : (n + 1) * length]) for n in range(k)]


def lose(shards: list[bytes], lost: Any) -> list[bytes | None]:
    return [None if n in lost else shard for n, shard in enumerate(shards)]


def padded(shards: list[bytes], length: int) -> list[bytes]:
    return [shard.ljust(length, b"\0") for shard in shards]


@st.composite
def losses(draw: st.DrawFn) -> tuple[int, int, list[bytes], set[int]]:
    """Draw a code, its data of unequal lengths, and what is lost: any pattern of up to m shards."""
    k = draw(st.integers(1, 40) | st.integers(1, 255))
    m = draw(st.integers(1, min(20, 256 - k)) | st.integers(1, 256 - k))
    longest = draw(st.integers(0, 130) | st.integers(0, 700))
    random = Random(draw(st.integers(0, 2**32)))
    lengths = [longest] * k
    if draw(st.booleans()):
        lengths = [random.choice((longest, random.randint(0, longest), 0)) for _ in range(k)]
    data = [random.randbytes(length) for length in lengths]
    lost = random.sample(range(k + m), draw(st.integers(0, m)))
    return k, m, data, set(lost)


# ---- parities ----


@pytest.mark.parametrize("shape", KNOWN, ids=str)
def test_parities_are_those_of_the_known_answers(shape: tuple[int, int, int], kernel: str) -> None:
    k, m, length = shape
    encoded = b"".join(ReedSolomon(k, m).encode(known_data(k, length)))
    assert hashlib.sha256(encoded).hexdigest() == KNOWN[shape]


@pytest.mark.parametrize(("k", "m"), [(1, 9), (2, 2), (3, 1), (10, 3), (16, 16), (40, 5)])
def test_the_matrix_is_the_one_of_the_definition(k: int, m: int) -> None:
    assert ReedSolomon(k, m).matrix == list(parity_rows(k, m))


@given(st.integers(1, 12), st.integers(1, 6), st.data())
def test_parities_are_those_of_the_definition(k: int, m: int, draw: st.DataObject) -> None:
    data = draw.draw(st.lists(st.binary(max_size=130), min_size=k, max_size=k))
    assert ReedSolomon(k, m).encode(data) == parities(data, m)


def test_parities_longer_than_any_shard_end_in_zeros(kernel: str) -> None:
    data = [bytes(range(1, length + 1)) for length in (40, 33, 0)]
    ended = [parity + bytes(60) for parity in parities(data, 5)]
    assert ReedSolomon(3, 5).encode(data, shard_bytes=100) == ended
    assert ReedSolomon(3, 5).encode([b""] * 3, shard_bytes=7) == [bytes(7)] * 5


def test_parities_of_fewer_begin_those_of_more() -> None:
    data = known_data(10, 100)
    more = ReedSolomon(10, 20).encode(data)
    assert ReedSolomon(10, 3).encode(data) == more[:3]
    assert ReedSolomon(10, 20).encode(data, 3, 5) == more[3:8]
    assert ReedSolomon(10, 20).encode(data, 7) == more[7:]
    assert ReedSolomon(10, 20).encode(data, 20) == []


@given(losses(), st.randoms(use_true_random=False))
def test_running_parities_end_as_those_of_encode_in_any_order(
    drawn: tuple[int, int, list[bytes], set[int]], random: Random
) -> None:
    k, m, data, _ = drawn
    code = ReedSolomon(k, m)
    running = RunningParity(code, max(map(len, data)))
    for index in random.sample(range(k), k):
        running.add(index, data[index])
    assert running.shards() == code.encode(data)


def test_running_parities_of_some_shards_take_the_rest_as_empty() -> None:
    code = ReedSolomon(10, 3)
    running = RunningParity(code, 50)
    data = known_data(4, 50)
    for index, shard in enumerate(data):
        running.add(index, shard)
    assert running.shards() == code.encode([*data, *[b""] * 6])
    shards = [*data, *[b""] * 6, *running.shards()]
    assert code.decode(lose(shards, {0, 2, 3}))[:4] == data


# ---- rebuilding ----


@settings(max_examples=200)
@given(losses(), st.sampled_from(KERNELS))
def test_any_loss_of_up_to_m_shards_is_rebuilt(
    drawn: tuple[int, int, list[bytes], set[int]], kernel: str
) -> None:
    k, m, data, lost = drawn
    before = kernel_in_use()
    use_kernel(kernel)
    try:
        code = ReedSolomon(k, m)
        shards = [*data, *code.encode(data)]
        for _ in range(2):  # computed, then remembered
            rebuilt = code.decode(lose(shards, lost))
            length = len(shards[-1])
            assert padded(rebuilt, length) == padded(data, length)
            assert all(rebuilt[n] == data[n] for n in range(k) if n not in lost)
    finally:
        use_kernel(before)


def test_every_pattern_of_a_small_code_is_rebuilt(kernel: str) -> None:
    code = ReedSolomon(5, 3)
    data = known_data(5, 37)
    shards = [*data, *code.encode(data)]
    for count in range(4):
        for lost in combinations(range(8), count):
            assert code.decode(lose(shards, lost)) == data


def test_what_is_rebuilt_from_a_false_shard_is_false() -> None:
    code = ReedSolomon(10, 3)
    data = known_data(10, 64)
    shards = [*data, *code.encode(data)]
    shards[4] = bytes(64)
    rebuilt = code.decode(lose(shards, {0, 1, 2}))
    assert all(rebuilt[n] != data[n] for n in (0, 1, 2, 4))


def test_shards_that_are_here_come_back_without_parities() -> None:
    code = ReedSolomon(2, 2)
    assert code.decode([b"a", b"long", None, None]) == [b"a", b"long"]


def test_any_buffer_is_taken_and_bytes_come_back() -> None:
    code = ReedSolomon(2, 1)
    (parity,) = code.encode([bytearray(b"abc"), memoryview(b"xyz")])
    decoded = code.decode([bytearray(b"abc"), None, memoryview(parity)])
    assert decoded == [b"abc", b"xyz"]
    assert [type(shard) for shard in decoded] == [bytes, bytes]


# ---- remembered matrices ----


def test_a_pattern_seen_again_costs_no_new_matrix() -> None:
    code = ReedSolomon(10, 3)
    data = known_data(10, 20)
    shards = [*data, *code.encode(data)]
    for _ in range(5):
        assert code.decode(lose(shards, {1, 5})) == data
    assert code.inverse_hits == 4
    assert code.decode(lose(shards, {1, 5, 10})) == data
    assert code.inverse_hits == 4, "the same data is lost, yet other parities are here"


def test_patterns_that_differ_in_few_shards_are_told_apart() -> None:
    code = ReedSolomon(100, 156)
    data = known_data(100, 8)
    shards = [*data, *code.encode(data)]
    for kept in (100, 128, 192):
        for lost in ({0, 1}, {0, 2}, {62, 70}, {62, 71}):
            for parity in (kept, kept + 1, kept + 2):
                others = set(range(100, 256)) - {parity, parity + 1}
                assert code.decode(lose(shards, lost | others)) == data
    assert code.inverse_hits == 0


def test_more_patterns_than_are_remembered_are_all_rebuilt() -> None:
    code = ReedSolomon(20, 4)
    data = known_data(20, 8)
    shards = [*data, *code.encode(data)]
    patterns = list(combinations(range(24), 3))
    assert len(patterns) > code.inverse_capacity
    for _ in range(2):
        for lost in patterns:
            assert code.decode(lose(shards, lost)) == data


def test_the_least_recently_used_matrix_is_forgotten_first() -> None:
    code = ReedSolomon(100, 100)
    assert code.inverse_capacity == 4
    data = known_data(100, 8)
    shards = [*data, *code.encode(data)]
    kept, *others = [{n, n + 1} for n in range(0, 20, 2)]
    code.decode(lose(shards, kept))
    for other in others:
        code.decode(lose(shards, other))
        hits = code.inverse_hits
        code.decode(lose(shards, kept))
        assert code.inverse_hits == hits + 1, "used a moment ago"
    code.decode(lose(shards, others[0]))
    assert code.inverse_hits == len(others), "long unused"


# ---- an independent library ----


def test_products_are_those_of_an_independent_library(kernel: str) -> None:
    reedsolo.init_tables(prim=0x11D)
    theirs = [bytes(reedsolo.gf_mul(a, b) for b in range(256)) for a in range(256)]
    assert theirs == PRODUCTS
    assert ReedSolomon(2, 254).encode([b"", bytes(range(256))]) == theirs[2:]


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 6), st.data())
def test_an_independent_library_survives_the_same_losses(
    k: int, m: int, draw: st.DataObject
) -> None:
    """Its parity bytes differ: it divides by a generator polynomial, we evaluate at points.

    Both codes are maximum distance separable, so the same losses are survivable.
    """
    data = draw.draw(st.lists(st.binary(min_size=3, max_size=3), min_size=k, max_size=k))
    lost = draw.draw(st.permutations(range(k + m)))[: draw.draw(st.integers(0, m + 1))]
    code = ReedSolomon(k, m)
    ours = lose([*data, *code.encode(data)], lost)
    theirs = reedsolo.RSCodec(m, nsize=k + m, prim=0x11D)
    survives = True
    columns = []
    for column in zip(*data, strict=True):
        word = theirs.encode(bytes(column))
        word = bytes(0 if n in lost else value for n, value in enumerate(word))
        try:
            columns.append(bytes(theirs.decode(word, erase_pos=sorted(lost))[0]))
        except reedsolo.ReedSolomonError:
            survives = False
    if survives:
        assert code.decode(ours) == [bytes(row) for row in zip(*columns, strict=True)] == data
    else:
        assert len(lost) > m
        # We need no word back whose parities alone are lost.
        if sum(n < k for n in lost) > sum(n >= k for n in range(k + m) if n not in lost):
            with pytest.raises(TooManyErasures):
                code.decode(ours)


# ---- what a caller did wrong ----


@pytest.mark.parametrize(
    ("k", "m"), [(0, 1), (1, 0), (-1, 5), (5, -1), (129, 128), (256, 1), (10**30, 1), (1, 10**30)]
)
def test_a_code_that_cannot_be_is_refused(k: int, m: int) -> None:
    with pytest.raises(ReedSolomonError, match="at most 256 together"):
        ReedSolomon(k, m)


def test_too_many_losses_say_how_many_can_be_rebuilt() -> None:
    code = ReedSolomon(4, 2)
    shards = [*known_data(4, 5), *code.encode(known_data(4, 5))]
    with pytest.raises(TooManyErasures, match="3 data shards are lost and 2 parity shards"):
        code.decode(lose(shards, {0, 1, 2}))
    with pytest.raises(TooManyErasures, match="1 data shards are lost and 0 parity shards"):
        code.decode(lose(shards, {0, 4, 5}))
    with pytest.raises(TooManyErasures):
        code.decode([None] * 6)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_a_wrong_number_of_shards_is_refused(count: int) -> None:
    code = ReedSolomon(2, 2)
    with pytest.raises(ReedSolomonError, match="2 data shards, and"):
        code.encode([b"x"] * count)
    with pytest.raises(ReedSolomonError, match=r"2 \+ 2 shards, and"):
        code.decode([b"x"] * count)


def test_a_lost_shard_cannot_be_encoded() -> None:
    with pytest.raises(ReedSolomonError, match="2 data shards, and 1 were given"):
        ReedSolomon(2, 2).encode([b"x", None])  # type: ignore[list-item]


def test_lengths_that_do_not_fit_are_refused() -> None:
    code = ReedSolomon(2, 2)
    with pytest.raises(ReedSolomonError, match="shard 1 has 9 bytes and a parity shard has 5"):
        code.decode([None, bytes(9), bytes(5), bytes(5)])
    with pytest.raises(ReedSolomonError, match="of 5 bytes does not fit a code of 4"):
        code.encode([bytes(5), b""], shard_bytes=4)
    with pytest.raises(ReedSolomonError, match="does not fit a code of -1"):
        code.encode([b"", b""], shard_bytes=-1)
    with pytest.raises(ReedSolomonError, match="shard 3 has 4 bytes and a parity shard has 5"):
        code.decode([None, bytes(5), bytes(5), bytes(4)])


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 4), (3, 1), (4, None), (0, -1)])
def test_parities_that_do_not_exist_are_refused(first: int, count: int | None) -> None:
    with pytest.raises(ReedSolomonError, match="the code has 3"):
        ReedSolomon(2, 3).encode([b"a", b"b"], first, count)


def test_a_shard_that_is_no_buffer_is_refused() -> None:
    code = ReedSolomon(2, 1)
    with pytest.raises(TypeError, match="bytes-like"):
        code.encode([b"a", 7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="bytes-like"):
        code.decode([b"a", "b", None])  # type: ignore[list-item]


def test_a_running_parity_refuses_what_would_spoil_it() -> None:
    code = ReedSolomon(2, 1)
    running = RunningParity(code, 4)
    running.add(1, b"abcd")
    before = running.shards()
    for index, shard, reason in [
        (1, b"abcd", "added before"),
        (2, b"abcd", "no data shard 2"),
        (-1, b"abcd", "no data shard -1"),
        (0, b"abcde", "does not fit"),
        (0, None, "lost shard"),
    ]:
        with pytest.raises(ReedSolomonError, match=reason):
            running.add(index, shard)  # type: ignore[arg-type]
    assert running.shards() == before
    with pytest.raises(ReedSolomonError, match="-1 bytes"):
        RunningParity(code, -1)

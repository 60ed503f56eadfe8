"""Messages as they arrive: each once, whatever the cut and the order; and the limits."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_ext.core import TransportError
from cython_ext.probe import IncomingProbe

NO_ERROR = TransportError.NO_ERROR
LIMIT = TransportError.MESSAGE_LIMIT
GAPS = TransportError.TOO_MANY_GAPS
DISTANCE = 65_536


def taken(incoming: IncomingProbe) -> list[bytes]:
    found = []
    while (message := incoming.take()) is not None:
        found.append(message)
    return found


@settings(deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=25), st.randoms(use_true_random=False))
def test_every_message_is_delivered_once_however_it_was_cut(
    messages: list[bytes], rng: Random
) -> None:
    incoming = IncomingProbe(1 << 20, 1 << 16)
    frames: list[tuple[int, int, int, bytes] | tuple[int, bytes]] = []
    for number, message in enumerate(messages):
        for _ in range(rng.choice((1, 1, 2))):
            if rng.random() < 0.4:
                frames.append((number, message))
                continue
            at = 0
            while at < len(message) or not message:
                size = rng.randrange(1, 60)
                frames.append((number, len(message), at, message[at : at + size]))
                if rng.random() < 0.2:
                    back = rng.randrange(at + 1)
                    frames.append((number, len(message), back, message[back : at + size]))
                at += size
                if not message:
                    break
    rng.shuffle(frames)
    for frame in frames:
        error = incoming.whole(*frame) if len(frame) == 2 else incoming.part(*frame)
        assert error == NO_ERROR
    assert sorted(taken(incoming)) == sorted(messages)
    base, partial, used = incoming.state()
    assert (base, partial) == (len(messages), 0)
    assert used == sum(len(message) + 1 for message in messages)


def test_copies_of_a_delivered_message_are_ignored_whatever_they_say() -> None:
    incoming = IncomingProbe(1_000, 100)
    assert incoming.whole(0, b"once") == NO_ERROR
    assert incoming.whole(0, b"x" * 90_000) == NO_ERROR
    assert incoming.part(0, 1 << 40, 1 << 50, b"") == NO_ERROR
    assert taken(incoming) == [b"once"]


def test_an_expired_message_is_closed_and_its_credit_returns() -> None:
    incoming = IncomingProbe(1_000, 100)
    assert incoming.part(1, 60, 0, b"begun") == NO_ERROR
    assert incoming.expired(1, 60) == NO_ERROR
    assert incoming.state() == (0, 0, 61)
    assert incoming.expired(0, 20) == NO_ERROR
    assert incoming.state() == (2, 0, 82)
    assert incoming.consumed() == 82
    assert incoming.expired(0, 99) == NO_ERROR
    assert incoming.part(1, 7, 0, b"late") == NO_ERROR
    assert incoming.consumed() == 82
    assert taken(incoming) == []


@pytest.mark.parametrize(("number", "size"), [(0, 101), (DISTANCE, 1), (1, 61)])
def test_an_expired_message_keeps_the_rules_of_parts(number: int, size: int) -> None:
    incoming = IncomingProbe(1_000, 100)
    assert incoming.part(1, 60, 0, b"begun") == NO_ERROR
    assert incoming.expired(number, size) == LIMIT
    assert IncomingProbe(50, 100).expired(0, 50) == LIMIT


@pytest.mark.parametrize(
    ("total", "offset", "length"), [(10, 11, 0), (10, 5, 6), (10, 10, 1), (10, (1 << 62) - 1, 1)]
)
def test_a_part_beyond_the_total_is_refused(total: int, offset: int, length: int) -> None:
    assert IncomingProbe(1_000, 100).part(0, total, offset, bytes(length)) == LIMIT


def test_totals_of_one_message_that_differ_are_refused() -> None:
    incoming = IncomingProbe(1_000, 100)
    assert incoming.part(0, 10, 0, b"abc") == NO_ERROR
    assert incoming.part(0, 11, 3, b"d") == LIMIT
    assert incoming.whole(0, b"nine byte") == LIMIT


def test_a_message_larger_than_allowed_is_refused() -> None:
    incoming = IncomingProbe(1_000, 100)
    assert incoming.whole(0, bytes(101)) == LIMIT
    assert incoming.part(1, 101, 0, b"") == LIMIT
    assert incoming.whole(2, bytes(100)) == NO_ERROR


def test_credit_counts_one_more_than_the_size_and_counts_once() -> None:
    incoming = IncomingProbe(22, 20)
    assert incoming.part(0, 20, 0, bytes(10)) == NO_ERROR
    assert incoming.part(0, 20, 5, bytes(10)) == NO_ERROR
    assert incoming.state()[2] == 21
    assert incoming.whole(1, b"") == NO_ERROR
    assert incoming.whole(2, b"") == LIMIT
    incoming.offer(23)
    assert incoming.whole(2, b"") == NO_ERROR


def test_an_id_too_far_above_the_lowest_missing_one_is_refused() -> None:
    incoming = IncomingProbe(1 << 20, 100)
    assert incoming.whole(DISTANCE, b"") == LIMIT
    assert incoming.whole(DISTANCE - 1, b"") == NO_ERROR
    assert incoming.whole((1 << 62) - 1, b"") == LIMIT
    assert incoming.whole(0, b"") == NO_ERROR
    assert incoming.whole(DISTANCE, b"") == NO_ERROR
    assert incoming.state()[0] == 1


def test_a_message_of_too_many_pieces_is_refused() -> None:
    incoming = IncomingProbe(1 << 20, 1 << 16)
    errors = [incoming.part(0, 10_000, at, b"x") for at in range(0, 2_100, 2)]
    assert errors[:1_024] == [NO_ERROR] * 1_024
    assert GAPS in errors


def test_ids_keep_their_meaning_after_many_rounds_of_the_bitmap() -> None:
    incoming = IncomingProbe(1 << 30, 100)
    for number in range(0, 3 * DISTANCE, 2):
        assert incoming.whole(number + 1, b"") == NO_ERROR
        assert incoming.whole(number, b"") == NO_ERROR
        assert incoming.whole(number + 1, b"") == NO_ERROR
    assert len(taken(incoming)) == 3 * DISTANCE

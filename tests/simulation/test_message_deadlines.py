"""Priorities and deadlines of messages: what overtakes what, and what is given up at both ends."""

from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_ext.core import Params
from quantum.testing import Impairment, Pair
from tests.support.paths import MS, SECOND, established, path, payload

pytestmark = pytest.mark.simulation


def send(pair: Pair, data: bytes, *, priority: int = 3, deadline_ms: float | None = None) -> bool:
    """Send a message of the client's."""
    due = 0 if deadline_ms is None else pair.now_ns + int(deadline_ms * MS)
    return pair.client.open.send_message(data, priority, due)


# -- priorities ------------------------------------------------------------------------------------


def test_urgent_messages_leave_first_and_equals_keep_their_order() -> None:
    pair = established(path(20))
    order = [5, 3, 0, 7, 3, 0, 5, 1]
    for number, priority in enumerate(order):
        assert send(pair, bytes([priority, number]), priority=priority)
    pair.drive(lambda: len(pair.server.messages) == len(order), SECOND)
    assert pair.server.messages == sorted(bytes([p, n]) for n, p in enumerate(order))


def test_an_urgent_message_overtakes_between_the_parts_of_a_large_one() -> None:
    pair = established(path(20, rate_bps=10_000_000))
    large = payload(500_000)
    assert send(pair, large)
    pair.run_for(50 * MS)
    assert send(pair, b"urgent", priority=0)
    assert send(pair, b"not urgent", priority=7)
    pair.drive(lambda: len(pair.server.messages) == 3, 5 * SECOND)
    assert pair.server.messages == [b"urgent", large, b"not urgent"]


def test_a_message_that_waits_for_credit_is_not_overtaken_by_a_less_urgent_one() -> None:
    params = Params(max_message_bytes=6_000, max_message_data=10_000)
    pair = Pair(path(20), server_params=params).connect()
    pair.server.reads_messages = False
    assert send(pair, bytes(6_000), priority=1)
    assert send(pair, bytes(6_000), priority=1)
    assert send(pair, b"small", priority=2)
    pair.run_for(SECOND)
    assert pair.server.open.stats()["messages_received"] == 1
    pair.server.reads_messages = True
    pair.server.messages += pair.server.open.receive_messages()
    pair.drive(lambda: len(pair.server.messages) == 3, SECOND)
    assert pair.server.messages[2] == b"small"


@pytest.mark.parametrize("priority", [-1, 8, 1 << 20])
def test_a_priority_that_does_not_exist_is_the_callers_error(priority: int) -> None:
    pair = established()
    with pytest.raises(ValueError, match=r"a priority is 0 \(most urgent\) to 7"):
        send(pair, b"", priority=priority)


# -- deadlines -------------------------------------------------------------------------------------


def test_a_message_that_expires_unsent_costs_nothing_on_the_wire() -> None:
    params = Params(max_message_bytes=1_000, max_message_data=1_001)
    pair = Pair(path(20), server_params=params).connect()
    pair.server.reads_messages = False
    assert send(pair, bytes(1_000))
    pair.run_for(100 * MS)
    assert send(pair, b"late", deadline_ms=50)
    assert send(pair, b"patient")
    before = pair.client.datagrams_sent
    pair.run_for(SECOND)
    assert pair.client.datagrams_sent == before
    assert pair.client.open.stats()["messages_expired"] == 1
    pair.server.reads_messages = True
    pair.server.messages += pair.server.open.receive_messages()
    pair.drive(lambda: len(pair.server.messages) == 2, SECOND)
    assert pair.server.messages[1] == b"patient"
    pair.run_for(SECOND)
    assert pair.server.open.stats()["messages_expired_by_peer"] == 0
    assert pair.client.open.request_flush()


def test_a_message_in_time_is_delivered_and_a_deadline_that_passed_then_means_nothing() -> None:
    pair = established(path(50))
    assert send(pair, b"in time", deadline_ms=30)
    pair.run_for(SECOND)
    assert pair.server.messages == [b"in time"]
    assert pair.client.open.stats()["messages_expired"] == 0
    assert pair.server.open.stats()["messages_expired_by_peer"] == 0


def test_a_lost_message_is_not_sent_again_after_its_deadline() -> None:
    pair = established(path(50))
    lost = pair.client.datagrams_sent
    pair.client.tap = lambda number, data: [] if number == lost else [data]
    assert send(pair, payload(500), deadline_ms=20)
    pair.run_for(5 * MS)
    for number in range(5):
        assert send(pair, b"%d" % number)
        pair.run_for(MS)
    pair.run_for(SECOND)
    assert sorted(pair.server.messages) == [b"%d" % number for number in range(5)]
    assert pair.client.open.stats()["messages_expired"] == 1
    assert pair.client.open.stats()["bytes_retransmitted"] == 0
    # The other end closes the gap, so ids go on.
    assert pair.server.open.stats()["messages_expired_by_peer"] == 1


def test_a_lost_message_is_sent_again_before_its_deadline() -> None:
    pair = established(path(20))
    lost = pair.client.datagrams_sent
    pair.client.tap = lambda number, data: [] if number == lost else [data]
    assert send(pair, b"again", deadline_ms=1_000)
    pair.run_for(SECOND)
    assert pair.server.messages == [b"again"]
    assert pair.client.open.stats()["messages_expired"] == 0


def test_the_rest_of_a_large_message_is_not_sent_after_its_deadline() -> None:
    pair = established(path(20, rate_bps=2_000_000))
    assert send(pair, payload(600_000), deadline_ms=200)
    assert send(pair, b"behind it")
    waited = pair.drive(lambda: bool(pair.server.messages), 5 * SECOND)
    assert pair.server.messages == [b"behind it"]
    assert waited < 600 * MS
    pair.run_for(SECOND)
    assert pair.server.open.stats()["messages_expired_by_peer"] == 1
    assert pair.client.open.request_flush()


def test_a_lost_notice_of_expiry_is_sent_again() -> None:
    pair = established(path(50), seed=3)
    assert send(pair, payload(500), deadline_ms=20)
    start = pair.now_ns
    pair.client.tap = lambda number, data: [data] if pair.now_ns - start > 900 * MS else []
    pair.run_for(SECOND // 2)
    assert pair.client.open.stats()["messages_expired"] == 1
    pair.run_for(3 * SECOND)
    assert pair.server.messages == []
    assert pair.server.open.stats()["messages_expired_by_peer"] == 1


def test_expiry_frees_the_credit_of_what_was_begun_at_both_ends() -> None:
    params = Params(max_message_bytes=50_000, max_message_data=60_000)
    pair = Pair(path(20), server_params=params, client_params=params).connect()
    for _ in range(20):
        # The first packet arrives, the others do not.
        first = pair.client.datagrams_sent
        pair.client.tap = lambda number, data, first=first: [data] if number == first else []
        assert send(pair, payload(50_000), deadline_ms=100)
        pair.run_for(300 * MS)
        pair.client.tap = None
        pair.run_for(2 * SECOND)
    assert pair.client.open.stats()["messages_expired"] == 20
    assert pair.server.open.stats()["messages_expired_by_peer"] == 20
    assert pair.server.messages == []
    assert send(pair, bytes(50_000))
    pair.drive(lambda: bool(pair.server.messages), 5 * SECOND)


def test_expiry_wakes_who_waits_for_room() -> None:
    params = Params(max_message_bytes=1_000, max_message_data=1_001, message_buffer_bytes=5_000)
    pair = Pair(path(20), client_params=params, server_params=params).connect()
    pair.server.reads_messages = False
    while send(pair, bytes(1_000), deadline_ms=100):
        pass
    pair.client.send_messages([b"waits"])
    pair.run_for(90 * MS)
    assert pair.client.writes_waiting()
    pair.run_for(20 * MS)
    assert not pair.client.writes_waiting()


def test_messages_given_up_behind_one_that_waits_do_not_pile_up() -> None:
    params = Params(max_message_bytes=1_000, max_message_data=1_001)
    pair = Pair(path(20), server_params=params).connect()
    pair.server.reads_messages = False
    assert send(pair, bytes(1_000))
    assert send(pair, b"first in the lane, without a deadline")
    for number in range(4_000):
        assert send(pair, payload(1_000, number % 7), deadline_ms=5)
        if number % 50 == 49:
            pair.run_for(10 * MS)
    assert pair.client.open.stats()["messages_expired"] == 4_000
    kept = [payload(900, number) for number in range(20)]
    for message in kept:
        assert send(pair, message)
    pair.server.reads_messages = True
    pair.server.messages += pair.server.open.receive_messages()
    pair.drive(lambda: len(pair.server.messages) == 22, 5 * SECOND)
    assert pair.server.messages[2:] == kept


# -- the law ---------------------------------------------------------------------------------------

plans = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 60, 900, 5_000, 40_000)),
        st.integers(0, 7),
        st.sampled_from((None, None, 0, 5, 40, 150, 2_000)),
        st.sampled_from((0, 0, 0, 3, 30)),
    ),
    min_size=1,
    max_size=60,
)


def numbered(plan: Iterable[tuple[int, int, int | None, int]], seed: int) -> list[bytes]:
    rng = Random(seed)
    return [n.to_bytes(4, "big") + rng.randbytes(size) for n, (size, *_) in enumerate(plan)]


@settings(deadline=None, max_examples=60)
@given(
    plans,
    st.integers(0, 1 << 16),
    st.sampled_from((0.0, 0.1, 0.4)),
    st.sampled_from(("off", "deadline", "all")),
)
def test_messages_arrive_at_most_once_and_those_without_a_deadline_exactly_once(
    plan: list[tuple[int, int, int | None, int]], seed: int, loss: float, copies: str
) -> None:
    params = Params(max_message_bytes=50_000, max_message_data=90_000, copies=copies)
    bad = Impairment(
        delay_ns=10 * MS,
        loss=loss,
        burst=2 if loss else 1,
        duplicate=0.1,
        duplicate_delay_ns=7 * MS,
        reorder=0.1,
        reorder_delay_ns=9 * MS,
        rate_bps=5_000_000,
    )
    pair = Pair(bad, seed=seed, client_params=params, server_params=params).connect(60 * SECOND)
    messages = numbered(plan, seed)
    for message, (_, priority, deadline_ms, pause_ms) in zip(messages, plan, strict=True):
        assert send(pair, message, priority=priority, deadline_ms=deadline_ms)
        pair.run_for(pause_ms * MS)
    pair.drive(lambda: pair.client.open.request_flush(), 120 * SECOND)
    pair.run_for(5 * SECOND)
    arrived = Counter(pair.server.messages)
    patient = {m for m, (_, _, deadline, _) in zip(messages, plan, strict=True) if deadline is None}
    assert max(arrived.values(), default=1) == 1
    assert patient <= set(arrived) <= set(messages)
    # What did not arrive was given up here, and each gap that the other end saw was closed.
    client, server = pair.client.open.stats(), pair.server.open.stats()
    assert len(messages) - len(arrived) <= client["messages_expired"]
    assert (
        client["messages_sent"] == server["messages_received"] + server["messages_expired_by_peer"]
    )

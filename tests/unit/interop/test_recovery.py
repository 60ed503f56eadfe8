"""The oracle's estimator and ledger, by the numbers."""

import pytest

from interop.reference.errors import Code, ViolationError
from interop.reference.frames import Ping
from interop.reference.recovery import Recovery, RoundTrip, SentPacket

MS = 1_000_000


def sent(recovery: Recovery, at_ns: int) -> int:
    number = recovery.take_number()
    recovery.handle_sent(SentPacket(number, at_ns, 1200, True, 0, [Ping()]))
    return number


def test_the_estimator_is_that_of_rfc_6298() -> None:
    rtt = RoundTrip()
    rtt.update(100 * MS, 0)
    assert (rtt.smoothed, rtt.variation) == (100 * MS, 50 * MS)
    rtt.update(140 * MS, 20 * MS)
    assert rtt.latest == 120 * MS
    assert rtt.variation == 50 * MS * 3 / 4 + 20 * MS / 4
    assert rtt.smoothed == 100 * MS * 7 / 8 + 120 * MS / 8


def test_a_delay_that_would_fall_below_the_minimum_is_not_subtracted() -> None:
    rtt = RoundTrip()
    rtt.update(100 * MS, 0)
    rtt.update(105 * MS, 20 * MS)
    assert rtt.latest == 105 * MS


def test_three_later_packets_make_one_lost() -> None:
    recovery = Recovery(32)
    for at in range(4):
        sent(recovery, at * MS)
    acked, lost = recovery.handle_ack(((2, 2),), 0, 50 * MS)
    assert [p.number for p in acked] == [2]
    assert lost == []
    _, lost = recovery.handle_ack(((2, 3),), 0, 50 * MS)
    assert [p.number for p in lost] == [0]


def test_time_makes_an_overtaken_packet_lost() -> None:
    recovery = Recovery(32)
    sent(recovery, 0)
    sent(recovery, 0)
    recovery.handle_ack(((1, 1),), 0, 80 * MS)
    assert recovery.next_timeout() == 90 * MS
    assert recovery.handle_timeout(89 * MS) == ([], [])
    lost, _ = recovery.handle_timeout(90 * MS)
    assert [p.number for p in lost] == [0]


def test_an_acknowledgement_in_a_header_gives_no_sample_and_loses_nothing() -> None:
    recovery = Recovery(32)
    for _ in range(10):
        sent(recovery, 0)
    assert [p.number for p in recovery.handle_header_ack(9)] == [9]
    assert recovery.rtt.minimum is None
    assert recovery.detect_lost(10**12) == []
    assert recovery.handle_header_ack(9) == []


def test_only_a_newly_acknowledged_largest_gives_a_sample() -> None:
    recovery = Recovery(32)
    sent(recovery, 0)
    sent(recovery, 0)
    recovery.handle_header_ack(1)
    recovery.handle_ack(((0, 1),), 0, 70 * MS)
    assert recovery.rtt.minimum is None


def test_probes_grow_in_number_and_then_back_off_up_to_their_cap() -> None:
    recovery = Recovery(32)
    recovery.idle_ns = 64 * 1000 * MS
    sent(recovery, 0)
    waits, now = [], 0
    for expiry in range(14):
        due = recovery.next_timeout()
        assert due is not None
        waits.append((due - now) / MS)
        now = int(due)
        assert [p.number for p in recovery.handle_timeout(now)[1]] == [0]
        assert recovery.probes_due == min(2**expiry, 8)
    assert waits == [325] * 11 + [650, 1000, 1000]
    recovery.handle_ack(((0, 0),), 0, now)
    assert recovery.expiries == 0
    assert recovery.next_timeout() is None


@pytest.mark.parametrize("number", [3, 4, 2**40])
def test_acknowledging_what_was_not_sent_is_a_violation(number: int) -> None:
    recovery = Recovery(32)
    for _ in range(3):
        sent(recovery, 0)
    recovery.skip_number()
    for attempt in (
        lambda: recovery.handle_header_ack(number),
        lambda: recovery.handle_ack(((0, number),), 0, 1),
    ):
        with pytest.raises(ViolationError) as caught:
            attempt()
        assert caught.value.code is Code.PROTOCOL_VIOLATION


def test_the_window_bounds_what_is_in_flight() -> None:
    recovery = Recovery(2)
    sent(recovery, 0)
    assert recovery.may_send(1200)
    sent(recovery, 0)
    assert not recovery.may_send(1)
    recovery.handle_header_ack(0)
    assert recovery.may_send(1200)

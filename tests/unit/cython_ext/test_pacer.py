"""The pacer: never more than its rate and one burst, and it names the time to come back."""

from hypothesis import given
from hypothesis import strategies as st

from cython_ext.probe import PacerProbe

DATAGRAM = 1_232


@given(
    st.integers(10_000, 2_000_000_000),
    st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(1, 40)), max_size=60),
)
def test_no_interval_carries_more_than_rate_and_burst(
    rate: int, turns: list[tuple[int, int]]
) -> None:
    pacer = PacerProbe(10 * DATAGRAM, 0)
    pacer.set_rate(rate, DATAGRAM, 0)
    now, sent = 0, 0
    log = [(0, 0)]
    for wait, wanted in turns:
        now += wait
        for _ in range(wanted):
            if not pacer.allows(now):
                break
            pacer.spend(DATAGRAM)
            sent += DATAGRAM
        log.append((now, sent))
        for start, before in log:
            # The last packet may overdraw: it is sent while anything is left.
            allowed = pacer.burst_bytes + rate * (now - start) / 1e9 + DATAGRAM
            assert sent - before <= allowed + 1


@given(st.integers(10_000, 2_000_000_000), st.integers(1, 200))
def test_what_waits_may_leave_at_the_time_it_was_told(rate: int, packets: int) -> None:
    pacer = PacerProbe(10 * DATAGRAM, 0)
    pacer.set_rate(rate, DATAGRAM, 0)
    now = 0
    for _ in range(packets):
        if not pacer.allows(now):
            later = pacer.next_ns(DATAGRAM)
            assert later > now
            now = later
            assert pacer.allows(now)
        pacer.spend(DATAGRAM)


@given(st.integers(100_000, 1_000_000_000))
def test_a_sender_that_keeps_to_the_times_reaches_the_rate(rate: int) -> None:
    pacer = PacerProbe(10 * DATAGRAM, 0)
    pacer.set_rate(rate, DATAGRAM, 0)
    now = sent = 0
    while sent < 2_000 * DATAGRAM:
        if pacer.allows(now):
            pacer.spend(DATAGRAM)
            sent += DATAGRAM
        else:
            now = pacer.next_ns(DATAGRAM)
    # What the last wait has earned is not sent yet.
    assert sent + pacer.burst_bytes >= 0.999 * rate * now / 1e9


def test_an_unpaced_sender_always_may() -> None:
    pacer = PacerProbe(10 * DATAGRAM, 0)
    for _ in range(10_000):
        assert pacer.allows(0)
        pacer.spend(DATAGRAM)


def test_a_raised_rate_does_not_pay_for_the_past() -> None:
    pacer = PacerProbe(10 * DATAGRAM, 0)
    pacer.set_rate(1_000, DATAGRAM, 0)
    while pacer.allows(0):
        pacer.spend(DATAGRAM)
    pacer.set_rate(1_000_000_000, DATAGRAM, 1_000_000)
    # One byte was earned, which lets one packet go: nothing is earned at the new rate afterwards.
    assert pacer.allows(1_000_000)
    pacer.spend(DATAGRAM)
    assert not pacer.allows(1_000_000)

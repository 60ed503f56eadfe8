"""Bandwidth samples: what was delivered by the time it took, whatever the ACKs look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.probe import DeliveryProbe

MS = 1_000_000
SIZE = 1_000


def test_an_even_flow_is_measured_at_its_rate() -> None:
    delivery = DeliveryProbe()
    rates = []
    # One packet a millisecond, acknowledged 10 ms later: a megabyte per second.
    for tick in range(100):
        delivery.send(tick * MS, SIZE)
        if tick >= 10:
            rates.append(delivery.acknowledge([tick - 10], tick * MS + 1, 10 * MS)[0])
    assert rates[-1] == pytest.approx(1_000_000, rel=0.01)
    assert max(rates[11:]) <= 1_010_000


@given(st.integers(2, 60), st.integers(20, 60))
def test_compressed_acknowledgements_do_not_inflate_the_rate(together: int, lag: int) -> None:
    delivery = DeliveryProbe()
    acked = 0
    for tick in range(300):
        delivery.send(tick * MS, SIZE)
        if tick >= lag and tick % together == 0:
            numbers = list(range(acked, tick - lag + 1))
            acked = tick - lag + 1
            if numbers:
                rate, _, _ = delivery.acknowledge(numbers, tick * MS, lag * MS)
                assert rate <= 1_000_000 * 1.05


def test_a_sample_shorter_than_the_round_trip_is_none() -> None:
    delivery = DeliveryProbe()
    first = delivery.send(0, SIZE)
    assert delivery.acknowledge([first], 2 * MS, 10 * MS)[0] == 0


def test_samples_say_that_the_application_was_the_limit() -> None:
    delivery = DeliveryProbe()
    delivery.limit_to_application()
    first = delivery.send(0, SIZE)
    assert delivery.acknowledge([first], 10 * MS, 10 * MS)[2]
    second = delivery.send(20 * MS, SIZE)
    assert not delivery.acknowledge([second], 30 * MS, 10 * MS)[2]

"""`ConnectionStats`: what is derived from what the core counts."""

from dataclasses import fields, replace

import pytest

from cython_ext.core import Endpoint, Params
from quantum import ConnectionStats, Identity

ZERO = ConnectionStats(**{field.name: 0 for field in fields(ConnectionStats)})


def test_a_snapshot_takes_every_field_from_the_core() -> None:
    client = Endpoint(Params(), lambda size: bytes([7]) * size)
    connection = client.connect(("127.0.0.1", 4433), Identity(bytes(32)).public_key, 1)
    counted = connection.stats()
    stats = ConnectionStats.of(counted)
    assert {field.name for field in fields(stats)} == set(counted), "nothing is kept back"
    assert (stats.packets_sent, stats.bytes_sent) == (1, 1_200)
    with pytest.raises(KeyError):
        ConnectionStats.of({})


def test_losses_count_only_when_they_were_real() -> None:
    assert (ZERO.loss, ZERO.packets_recovered) == (0.0, 0)
    stats = replace(ZERO, packets_sent=200, packets_lost=30, packets_spurious=10)
    assert (stats.packets_recovered, stats.loss) == (20, 0.1)
    assert replace(ZERO, packets_lost=1, packets_spurious=2).packets_recovered == 0


def test_the_round_trip_is_the_smoothed_one() -> None:
    assert replace(ZERO, rtt_smoothed_ns=5, rtt_latest_ns=9).rtt_ns == 5


@pytest.mark.parametrize(
    ("number", "name"), [(0, "startup"), (1, "drain"), (3, "probe_bw_cruise"), (6, "probe_rtt")]
)
def test_phases_have_names(number: int, name: str) -> None:
    assert replace(ZERO, controller_phase=number).phase == name
    assert replace(ZERO, controller_phase=99).phase == "unknown"

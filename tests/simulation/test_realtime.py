"""Copies for thin flows: how late a small message may come under loss, and what that may cost."""

import pytest

from cython_ext.core import Params
from quantum.config import lan, loopback, realtime, wan
from quantum.testing import Impairment, Pair
from tests.support import realtime_bars as bars
from tests.support.paths import MS, SECOND, path, payload

pytestmark = pytest.mark.simulation
SEEDS = 6


@pytest.fixture(scope="module")
def outcomes() -> dict[str, bars.Outcome]:
    """Return what six seeds of each kind of loss come to, together."""
    found = {}
    for name, losses in bars.LOSSES.items():
        found[name] = bars.Outcome()
        for seed in range(SEEDS):
            found[name].add(bars.run(losses, seed, messages=3_000))
    return found


def test_five_percent_of_random_loss_costs_a_message_a_few_milliseconds(
    outcomes: dict[str, bars.Outcome],
) -> None:
    outcome = outcomes["5 % random"]
    assert outcome.lost == 0
    assert outcome.percentile(0.99) <= 1.15
    assert outcome.percentile(0.999) <= 1.5
    assert outcome.packets_per_message <= 3


def test_bursts_of_three_are_outlasted(outcomes: dict[str, bars.Outcome]) -> None:
    fixed, geometric = outcomes["10 % in bursts of 3"], outcomes["10 % in bursts of mean 3"]
    assert fixed.lost == geometric.lost == 0
    assert fixed.percentile(0.99) <= 1.5
    assert geometric.percentile(0.99) <= 2.2
    assert max(fixed.packets_per_message, geometric.packets_per_message) <= 4.5


def test_little_loss_is_answered_with_little(outcomes: dict[str, bars.Outcome]) -> None:
    assert outcomes["1 % random"].percentile(0.999) <= 1.2
    assert outcomes["1 % random"].packets_per_message <= 2.5


def test_without_loss_copies_end_after_a_trial(outcomes: dict[str, bars.Outcome]) -> None:
    clean = outcomes["no loss"]
    assert clean.delays[-1] == 1
    assert clean.packets_per_message < 1.4
    longer = bars.run(bars.LOSSES["no loss"], 0, messages=6_000)
    assert longer.stats["copies_sent"] == clean.stats["copies_sent"] // SEEDS


def test_the_sender_knows_which_copies_helped(outcomes: dict[str, bars.Outcome]) -> None:
    stats = outcomes["5 % random"].stats
    # One packet in twenty carries a message for the first time and is lost.
    assert stats["copies_useful"] == pytest.approx(SEEDS * 3_000 * 0.05, rel=0.15)
    assert stats["bytes_retransmitted"] < 1_000
    assert stats["copies_bytes"] >= 68 * stats["copies_sent"]


@pytest.mark.parametrize("deadline_ms", [40, 60, 1_000])
def test_messages_with_a_deadline_are_copied_under_loss_in_the_default_profile(
    deadline_ms: int,
) -> None:
    losses = bars.LOSSES["5 % random"]
    late = bars.run(losses, 1, messages=2_000, config=wan(), deadline_ns=deadline_ms * MS)
    assert late.stats["copies_sent"] > 1_000
    assert late.percentile(0.99) <= 1.3
    assert late.lost / late.messages < 0.01
    plain = bars.run(losses, 1, messages=2_000, config=wan().replace(fec="off"))
    assert plain.stats["copies_sent"] == 0


def test_a_copy_that_would_come_after_the_deadline_is_not_sent() -> None:
    losses = bars.LOSSES["5 % random"]
    hopeless = bars.run(losses, 1, messages=500, deadline_ns=20 * MS)
    assert hopeless.stats["copies_sent"] == 0


@pytest.mark.parametrize("config", [lan(), loopback(), realtime().replace(copies="off")])
def test_a_profile_without_copies_sends_none(config: object) -> None:
    outcome = bars.run(bars.LOSSES["10 % random"], 2, messages=500, config=config)  # type: ignore[arg-type]
    assert outcome.stats["copies_sent"] == 0


def test_bulk_is_never_copied() -> None:
    params = realtime().params()
    pair = Pair(path(50, loss=0.02), client_params=params, server_params=params, seed=5).connect()
    pair.client.send_messages(payload(64, n) for n in range(50_000))
    pair.drive(lambda: len(pair.server.messages) == 50_000, 60 * SECOND)
    stats = pair.client.open.stats()
    assert stats["copies_bytes"] < stats["bytes_sent"] // 100
    before = pair.client.open.stats()["copies_sent"]
    pair.exchange(upward=payload(3_000_000))
    assert pair.client.open.stats()["copies_sent"] == before


def test_copies_leave_the_messages_of_a_full_window_alone() -> None:
    """Acknowledgements vanish for a while: what is new still leaves at its time."""
    params = realtime().params()
    pair = Pair(
        Impairment(delay_ns=25 * MS, loss=0.05),
        back=Impairment(delay_ns=25 * MS),
        client_params=params,
        server_params=params,
    ).connect()
    sent: list[int] = []
    silent_until = pair.now_ns + 5_800 * MS
    for number in range(600):
        if number == 300:
            pair.server.tap = lambda n, data: [data] if pair.now_ns > silent_until else []
        assert pair.client.open.send_message(payload(64, number))
        before = pair.client.datagrams_sent
        pair.run_for(MS)
        sent.append(pair.client.datagrams_sent - before)
        pair.run_for(SECOND // 60 - MS)
    assert min(sent) >= 1


def test_copies_ride_on_traffic_both_ways_without_acknowledgements_of_their_own() -> None:
    params = realtime().params()
    pair = Pair(
        Impairment(delay_ns=25 * MS, loss=0.05), client_params=params, server_params=params, seed=9
    ).connect(60 * SECOND)
    before = pair.client.datagrams_sent + pair.server.datagrams_sent
    for number in range(1_000):
        pair.client.send_messages([payload(64, number)])
        pair.server.send_messages([payload(64, -number)])
        pair.run_for(SECOND // 60)
    pair.run_for(SECOND)
    assert len(pair.client.messages) == len(pair.server.messages) == 1_000
    packets = pair.client.datagrams_sent + pair.server.datagrams_sent - before
    assert packets / 2_000 <= 3


def test_a_stream_in_the_realtime_profile_is_acknowledged_as_ever() -> None:
    took = []
    for config in (wan(), realtime()):
        params: Params = config.params()
        pair = Pair(path(50), client_params=params, server_params=params).connect()
        took.append(pair.exchange(upward=payload(2_000_000)))
    assert took[1] <= 1.05 * took[0]


@pytest.mark.parametrize("hz", [5, 20, 120, 250])
def test_flows_of_other_rates_are_protected_too(hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "PERIOD_NS", SECOND // hz)
    outcome = bars.run(bars.LOSSES["5 % random"], 3, messages=2_000)
    assert outcome.percentile(0.99) <= 1.15
    assert outcome.packets_per_message <= 4.1

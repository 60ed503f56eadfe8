"""Core and oracle rebuild each other's lost packets, and give messages up, each in both roles."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from interop.reference import Config
from interop.reference.codec import Flag
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.state import State
from tests.support.core_end import CoreEnd
from tests.support.mixed_pair import (
    MS,
    blob,
    both_roles,
    core_events,
    core_of,
    messages,
    mixed,
    oracle_events,
    oracle_of,
    stream_bytes,
)
from tests.support.oracle import Pair
from tests.support.virtual_link import Path

REPAIRS = replace(DEFAULT_PARAMETERS, repair_sources=64)
BAD = Path(loss=0.1, duplication=0.05, corruption=0.02, jitter_ns=8_000_000)


def repairing(
    core_is_client: bool,
    path: Path | None = None,
    protect: tuple[int, int] | None = (4, 2),
    seed: int = 0,
    fec: str = "off",
) -> Pair:
    """Return an established pair that repairs both ways; the oracle makes blocks of *protect*."""
    config = Config(parameters=REPAIRS, protect=protect)
    pair = mixed(core_is_client, path, config, config, seed, fec=fec)
    pair.establish()
    pair.run_for(1)
    pair.link.sent.clear()
    return pair


def side_of_core(pair: Pair) -> str:
    return "left" if isinstance(pair.client, CoreEnd) else "right"


def losing(side: str, which: set[int], flag: int) -> tuple[list[bytes], Callable[..., bool]]:
    """Return the packets of *side* with *flag* as they are seen, and a rule that loses *which*."""
    seen: list[bytes] = []

    def drop(sender: str, data: bytes) -> bool:
        if sender != side or not data[5] & flag:
            return False
        seen.append(data)
        return len(seen) - 1 in which

    return seen, drop


@both_roles
def test_the_core_rebuilds_and_the_oracle_does_not_send_again(core_is_client: bool) -> None:
    pair = repairing(core_is_client)
    core_side = side_of_core(pair)
    other = "right" if core_side == "left" else "left"
    sources, pair.link.drop = losing(other, {1, 3}, Flag.FEC)
    sent = [blob(1000, f"m{n}") for n in range(4)]
    for message in sent:
        oracle_of(pair).send_message(message)
    before = pair.link.now_ns
    pair.run_until(lambda: len(messages(core_events(pair))) == 4)
    assert pair.link.now_ns - before == pair.link.path.delay_ns
    assert sorted(messages(core_events(pair))) == sorted(sent)
    pair.run_until(lambda: bool(oracle_of(pair).is_flushed))
    assert len(sources) == 4
    assert core_of(pair).stats["fec_packets_recovered"] == 2
    assert oracle_of(pair).recovery.lost_packets == 2


@both_roles
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_the_oracle_rebuilds_and_the_core_does_not_send_again(
    core_is_client: bool, lost: int
) -> None:
    # The core paces: before its parity leaves, the loss of the first of four is known.
    pair = repairing(core_is_client, fec="always")
    sources, pair.link.drop = losing(side_of_core(pair), {lost}, Flag.FEC)
    sent = [blob(1000, f"m{n}") for n in range(4)]
    for message in sent:
        core_of(pair).send_message(message)
    pair.run_until(lambda: len(messages(oracle_events(pair))) == 4)
    assert sorted(messages(oracle_events(pair))) == sorted(sent)
    pair.run_until(lambda: core_of(pair).is_flushed)
    assert len(sources) == 4
    assert oracle_of(pair).counters["packets_rebuilt"] == 1
    assert core_of(pair).stats["fec_recovered_by_peer"] == 1


@both_roles
@pytest.mark.parametrize("fec", ["off", "auto", "always"])
@pytest.mark.parametrize("protect", [None, (1, 1), (10, 3), (40, 12)])
def test_everything_arrives_whole_and_once_with_repair(
    core_is_client: bool, protect: tuple[int, int] | None, fec: str
) -> None:
    pair = repairing(core_is_client, BAD, protect, seed=3, fec=fec)
    sent = [blob(211 * number, f"m{number}") for number in range(40)]
    up, down = pair.client.open_stream(), pair.server.open_stream()
    pair.client.write_stream(up, blob(60_000, "up"), fin=True)
    pair.server.write_stream(down, blob(60_000, "down"), fin=True)
    for message in sent:
        pair.client.send_message(message)
        pair.server.send_message(message)
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 120)
    assert stream_bytes(pair.server_events) == {up: blob(60_000, "up")}
    assert stream_bytes(pair.client_events) == {down: blob(60_000, "down")}
    assert sorted(messages(pair.server_events)) == sorted(sent)
    assert sorted(messages(pair.client_events)) == sorted(sent)
    assert pair.client.state is pair.server.state is State.ESTABLISHED
    assert (core_of(pair).stats["fec_packets_recovered"] > 0) == (protect is not None)
    assert (oracle_of(pair).counters["packets_rebuilt"] > 0) == (fec != "off")


@both_roles
def test_nothing_is_protected_for_an_end_that_repairs_nothing(core_is_client: bool) -> None:
    none = Config()
    both = Config(parameters=REPAIRS, protect=(4, 2))
    client, server = (both, none) if core_is_client else (none, both)
    pair = mixed(core_is_client, BAD, client, server, fec="always")
    pair.establish()
    core_of(pair).send_message(blob(20_000))
    pair.run_until(lambda: core_of(pair).is_flushed)
    core_side = side_of_core(pair)
    assert not any(data[5] & Flag.FEC for side, data in pair.link.sent if side == core_side)
    assert messages(oracle_events(pair)) == [blob(20_000)]


# -- messages that are given up


@both_roles
@pytest.mark.parametrize("seed", range(2))
def test_messages_that_the_oracle_gives_up_do_not_stop_the_others(
    core_is_client: bool, seed: int
) -> None:
    tight = replace(DEFAULT_PARAMETERS, max_message_data=20_000, max_message_bytes=5000)
    config = Config(parameters=tight)
    pair = mixed(core_is_client, Path(loss=0.2, jitter_ns=5 * MS), config, config, seed)
    pair.establish()
    sender = oracle_of(pair)
    sent = [blob(3000, f"m{n}") for n in range(60)]
    for message in sent:
        sender.send_message(message)
    for number in range(0, 60, 2):
        pair.run_for(0.02)
        sender.expire_message(number)
    pair.run_until(lambda: bool(sender.is_flushed), 120)
    arrived = messages(core_events(pair))
    assert len(set(arrived)) == len(arrived) < 60
    assert set(sent[1::2]) <= set(arrived) <= set(sent)
    sender.send_message(b"after")
    pair.run_until(lambda: b"after" in messages(core_events(pair)))


@both_roles
@pytest.mark.parametrize("seed", range(2))
def test_messages_whose_deadline_passes_in_the_core_do_not_stop_the_others(
    core_is_client: bool, seed: int
) -> None:
    tight = replace(DEFAULT_PARAMETERS, max_message_data=20_000, max_message_bytes=5000)
    config = Config(parameters=tight)
    pair = mixed(core_is_client, Path(loss=0.2, jitter_ns=5 * MS), config, config, seed)
    pair.establish()
    core, deadline_ns = core_of(pair), pair.link.now_ns + 100 * MS
    sent = [blob(3000, f"m{n}") for n in range(60)]
    for number, message in enumerate(sent):
        due_ns = 0 if number % 2 else deadline_ns
        assert core.connection.send_message(message, deadline_ns=due_ns)
    pair.run_until(lambda: core.is_flushed, 120)
    arrived = messages(oracle_events(pair))
    assert len(set(arrived)) == len(arrived) < 60
    assert set(sent[1::2]) <= set(arrived) <= set(sent)
    core.send_message(b"after")
    pair.run_until(lambda: b"after" in messages(oracle_events(pair)))
    assert oracle_of(pair).messages.incoming == {}

"""Core and oracle end a connection alike: closing, silence, time-outs, a server that forgot."""

from dataclasses import replace

import pytest

from cython_ext.core import CloseCause
from interop.reference import Config, draw_server_inputs
from interop.reference import Endpoint as OracleEndpoint
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.endpoint import stateless_reset
from interop.reference.events import Closed
from interop.reference.frames import Ping
from interop.reference.state import State
from tests.support.core_end import CLIENT
from tests.support.mixed_pair import (
    MS,
    both_roles,
    closed,
    core_events,
    core_of,
    messages,
    mixed,
    oracle_events,
    oracle_of,
    restarted_core,
)
from tests.support.oracle import NOW_MS, SEED, entropy


@both_roles
@pytest.mark.parametrize("core_closes", [True, False])
def test_close_reaches_the_peer_and_both_ends_forget(
    core_is_client: bool, core_closes: bool
) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.client.send_message(b"before")
    pair.server.send_message(b"before")
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed)
    closer, other = core_of(pair), oracle_of(pair)
    told = oracle_events(pair)
    if not core_closes:
        closer, other, told = other, closer, core_events(pair)
    closer.close(pair.link.now_ns, 7, "bye, à bientôt")
    pair.run_until(lambda: other.state is State.DRAINING)
    assert closed(told) == [Closed(7, "bye, à bientôt", application=True, remote=True)]
    assert messages(told) == [b"before"]
    pair.run_until(lambda: pair.client.state is pair.server.state is State.CLOSED)
    assert core_of(pair).endpoint.connections() == []
    assert pair.client.next_timeout() is pair.server.next_timeout() is None


@both_roles
def test_both_may_close_at_once(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.client.close(pair.link.now_ns, 1, "a")
    pair.server.close(pair.link.now_ns, 2, "b")
    pair.run_for(0.05)
    assert pair.client.state is pair.server.state is State.DRAINING
    pair.run_until(lambda: pair.client.state is pair.server.state is State.CLOSED)
    assert [e.code for e in closed(pair.client_events)] == [1]
    assert [e.code for e in closed(pair.server_events)] == [2]


@both_roles
def test_a_closing_core_answers_with_halving_frequency(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    core.close(now)
    assert len(core.poll_datagrams(now)) == 1
    answers = []
    for _ in range(9):
        core.handle_datagram(oracle._seal([Ping()], now), now)
        answers.append(len(core.poll_datagrams(now)))
    assert answers == [1, 1, 0, 1, 0, 0, 0, 1, 0]


@both_roles
def test_a_close_in_a_packet_that_does_not_parse_is_not_acted_on(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.establish()
    pair.run_for(1)
    core, oracle, now = core_of(pair), oracle_of(pair), pair.link.now_ns
    core.close(now)
    number = oracle.recovery.take_number()
    plaintext = b"\x32\x00\x00\xff"
    header = b"QUNT\x02\x00" + oracle.peer_id + number.to_bytes(4, "big") + bytes(4)
    header += (len(plaintext) + 16).to_bytes(2, "big")
    core.handle_datagram(header + oracle.phases.seal(number, header, plaintext), now)
    assert core.state is State.CLOSING


@both_roles
def test_closing_before_the_handshake_is_done_is_silent(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.link.drop = lambda side, data: side == "right"
    pair.run_for(0.1)
    sent = len(pair.link.sent)
    pair.client.close(pair.link.now_ns)
    pair.server.close(pair.link.now_ns)
    pair.run_for(1)
    assert pair.client.state is pair.server.state is State.CLOSED
    assert len(pair.link.sent) == sent
    assert core_of(pair).endpoint.stats()["connections"] == 0


@both_roles
def test_silence_ends_both_at_the_smaller_idle_timeout(core_is_client: bool) -> None:
    quiet = Config(parameters=replace(DEFAULT_PARAMETERS, idle_timeout_ms=4000))
    for configs in ((quiet, None), (None, quiet)):
        pair = mixed(core_is_client, None, *configs)
        pair.establish()
        pair.run_for(3.5)
        assert pair.client.state is pair.server.state is State.ESTABLISHED
        sent = len(pair.link.sent)
        pair.run_for(1)
        assert pair.client.state is pair.server.state is State.CLOSED
        assert len(pair.link.sent) == sent
        assert core_of(pair).connection.cause is CloseCause.IDLE_TIMEOUT


@both_roles
def test_keepalive_of_one_end_keeps_both(core_is_client: bool) -> None:
    quiet = Config(
        parameters=replace(DEFAULT_PARAMETERS, idle_timeout_ms=2000), keepalive_ns=900 * MS
    )
    for configs in ((quiet, None), (None, quiet)):
        pair = mixed(core_is_client, None, *configs)
        pair.establish()
        pair.run_for(20)
        assert pair.client.state is pair.server.state is State.ESTABLISHED


@both_roles
def test_a_handshake_that_gets_no_answer_ends_after_its_timeout(core_is_client: bool) -> None:
    pair = mixed(core_is_client)
    pair.link.drop = lambda side, data: True
    pair.run_for(9.9)
    assert pair.client_events == []
    hellos = [int.from_bytes(d[22:26], "big") for _, d in pair.link.sent]
    assert hellos == list(range(10))
    pair.run_for(0.2)
    assert pair.client.state is State.CLOSED
    assert pair.client.next_timeout() is None


def test_a_restarted_core_server_resets_the_oracle_s_connection() -> None:
    pair = mixed(core_is_client=False)
    pair.establish()
    pair.client.send_message(b"is anybody there? " * 3)
    (data,) = pair.client.poll_datagrams(pair.link.now_ns)
    restarted = restarted_core()
    restarted.handle_datagram(data, CLIENT, pair.link.now_ns)
    ((address, reset),) = restarted.poll_datagrams(pair.link.now_ns)
    assert address == CLIENT
    assert len(reset) < len(data)
    pair.client.handle_datagram(reset, pair.link.now_ns, "right")
    assert pair.client.state is State.DRAINING


def test_a_restarted_oracle_server_resets_the_core_s_connection() -> None:
    pair = mixed(core_is_client=True)
    pair.establish()
    pair.client.send_message(b"is anybody there? " * 3)
    (data,) = pair.client.poll_datagrams(pair.link.now_ns)
    draw = entropy("restarted")
    restarted = OracleEndpoint(Config(), SEED, lambda: draw_server_inputs(NOW_MS, draw))
    restarted.handle_datagram(data, pair.link.now_ns, "left")
    ((reset, _),) = restarted.poll_datagrams(pair.link.now_ns)
    forged = stateless_reset(bytes(32), data[6:22])
    pair.client.handle_datagram(forged, pair.link.now_ns, "right")
    pair.client.handle_datagram(reset, pair.link.now_ns, "elsewhere")
    assert pair.client.state is State.ESTABLISHED
    pair.client.handle_datagram(reset, pair.link.now_ns, "right")
    assert pair.client.state is State.DRAINING
    assert pair.client.connection.cause is CloseCause.STATELESS_RESET
    pair.run_for(5)
    assert pair.client.state is State.CLOSED

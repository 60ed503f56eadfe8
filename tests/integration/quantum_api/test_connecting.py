"""Connecting and listening: names, addresses, pins, time-outs, what both ends then know."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import quantum
from quantum import client as client_module
from tests.support.connected import IDENTITY, dial, echo, listening, pair, quick
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def hold(connection: quantum.Connection) -> None:
    await connection.wait_closed()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def round_trip(connection: quantum.Connection) -> None:
    await connection.send(b"there")
    assert await connection.receive() == b"there"


async def test_await_and_async_with_give_the_same_on_both_ends() -> None:
    listener = await quantum.serve(echo, "127.0.0.1", 0, identity=IDENTITY)
    connection = await quantum.connect(("127.0.0.1", listener.port), pin=IDENTITY.public_key)
    await round_trip(connection)
    await connection.close()
    await listener.close()
    async with (
        quantum.serve(echo, "127.0.0.1", 0, identity=IDENTITY) as listener,
        quantum.connect(f"127.0.0.1:{listener.port}", pin=IDENTITY.pin) as connection,
    ):
        await round_trip(connection)
        assert repr(connection) == (
            f"<Connection with 127.0.0.1:{listener.port} {connection.core.state.name}>"
        )
        assert repr(listener) == f"<Listener 127.0.0.1:{listener.port}>"


async def test_both_ends_know_who_they_are() -> None:
    async with pair() as (client, server, listener):
        assert (client.is_client, server.is_client) == (True, False)
        assert client.peer_address == ("127.0.0.1", listener.port)
        assert server.peer_address[0] == "127.0.0.1"
        assert client.server_name == server.server_name == "127.0.0.1"
        assert listener.connections == [server]
    async with listening(hold) as listener:
        where = ("127.0.0.1", listener.port)
        async with quantum.connect(where, pin=IDENTITY.pin, server_name="game.example"):
            # The client may send before the server has its Finished.
            await until(lambda: bool(listener.connections))
            assert listener.connections[0].server_name == "game.example"


async def test_the_exporter_is_the_same_on_both_ends_and_only_there() -> None:
    async with pair() as (client, server, listener), dial(listener) as other:
        secret = client.exporter("token binding", 32)
        assert len(secret) == 32
        assert server.exporter("token binding", 32) == secret
        assert client.exporter("another label", 32) != secret
        assert other.exporter("token binding", 32) != secret
        assert len(client.exporter("long", 8_160)) == 8_160
        for length in (0, -1, 8_161):
            with pytest.raises(quantum.ConfigurationError, match="length is 1 to 8160"):
                client.exporter("label", length)
        for label in ("", "x" * 247):
            with pytest.raises(quantum.ConfigurationError, match="a label has 1 to 246 bytes"):
                client.exporter(label, 32)


async def test_names_resolve_and_every_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(echo) as listener:
        resolve_to(monkeypatch, [("127.0.0.2", listener.port), ("127.0.0.1", listener.port)])
        started = asyncio.get_running_loop().time()
        async with quantum.connect(f"game.example:{listener.port}", pin=IDENTITY.pin) as connection:
            assert connection.peer_address == ("127.0.0.1", listener.port)
            assert connection.server_name == "game.example"
            await round_trip(connection)
            assert asyncio.get_running_loop().time() - started < 3
        await until(lambda: listener.connections == [])


async def test_of_two_addresses_that_answer_one_is_taken_and_the_other_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPT_DELAY_S", 0)
    async with listening(echo) as one, listening(echo) as two:
        resolve_to(monkeypatch, [("127.0.0.1", one.port), ("127.0.0.1", two.port)])
        for _ in range(5):
            async with quantum.connect("game.example:1", pin=IDENTITY.pin) as connection:
                await round_trip(connection)
                await until(lambda: len(one.connections) + len(two.connections) == 1)


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> None:
    async def resolve(host: str, port: int, timeout: float) -> list[tuple[str, int]]:
        return addresses

    monkeypatch.setattr(client_module, "_resolve", resolve)


async def test_when_no_address_answers_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = unused_port(), unused_port()
    resolve_to(monkeypatch, [("127.0.0.1", one), ("127.0.0.1", two)])
    with pytest.raises(quantum.HandshakeError) as caught:
        await quantum.connect("game.example:4433", pin=IDENTITY.pin, timeout=0.1)
    assert "none of the 2 addresses of 'game.example' answered" in str(caught.value)
    assert f":{one}" in str(caught.value)
    assert f":{two}" in str(caught.value)


async def test_localhost_resolves() -> None:
    for opening in (listening(echo), quantum.serve(echo, "localhost", 0, identity=IDENTITY)):
        async with (
            opening as listener,
            quantum.connect(f"localhost:{listener.port}", pin=IDENTITY.pin) as connection,
        ):
            await round_trip(connection)


async def test_a_name_that_does_not_resolve_is_told() -> None:
    with pytest.raises(quantum.HandshakeError, match=r"'nobody.invalid' does not resolve"):
        await quantum.connect("nobody.invalid:4433", pin=IDENTITY.pin)
    with pytest.raises(quantum.HandshakeError, match="does not resolve"):
        await quantum.connect("a..b:4433", pin=IDENTITY.pin)


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*arguments: Any, **choices: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(quantum.HandshakeError, match=r"did not resolve within 0.05 s"):
        await asyncio.wait_for(resolve_with(hang), 5)


async def resolve_with(getaddrinfo: Callable[..., Any]) -> None:
    proxy = _LoopWith(asyncio.get_running_loop(), getaddrinfo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantum.client.asyncio.get_running_loop", lambda: proxy)
        await client_module._resolve("game.example", 4433, 0.05)


class _LoopWith:
    """A loop whose resolver is another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: Callable[..., Any]) -> None:
        self._loop = loop
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


@needs_ipv6
async def test_ipv6_and_ipv4_reach_a_dual_listener() -> None:
    async with quantum.serve(echo, "::", 0, identity=IDENTITY) as listener:
        for host in ("[::1]", "127.0.0.1"):
            async with quantum.connect(f"{host}:{listener.port}", pin=IDENTITY.pin) as connection:
                assert connection.peer_address == (host.strip("[]"), listener.port)
                await round_trip(connection)
    async with quantum.serve(echo, "::1", 0, identity=IDENTITY) as listener:
        # As a socket names itself.
        where: Any = ("::1", listener.port, 0, 0)
        async with quantum.connect(where, pin=IDENTITY.pin) as connection:
            await round_trip(connection)


async def test_nobody_there_is_told_after_the_time_out() -> None:
    port = unused_port()
    with pytest.raises(quantum.HandshakeError) as caught:
        await quantum.connect(("127.0.0.1", port), pin=IDENTITY.pin, timeout=0.2)
    assert str(caught.value) == (
        f"no valid answer from 127.0.0.1:{port} within 0.2 s: "
        "is a Quantum server there, and is the pin its public key?"
    )


async def test_another_pin_is_told_and_costs_the_server_nothing() -> None:
    other = quantum.Identity.generate()
    async with listening(hold) as listener:
        with pytest.raises(quantum.HandshakeError, match="is the pin its public key"):
            await quantum.connect(("127.0.0.1", listener.port), pin=other.pin, timeout=0.2)
        stats = listener.stats()
        assert stats["hello_mac"] >= 1
        assert (stats["half_open"], stats["connections"]) == (0, 0)


@pytest.mark.parametrize("how", ["wait_for", "cancel"])
async def test_a_connect_that_is_given_up_leaves_nothing(how: str) -> None:
    opening = quantum.connect(("127.0.0.1", unused_port()), pin=IDENTITY.pin)
    before = open_descriptors()
    if how == "wait_for":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opening, 0.05)
    else:
        task = asyncio.ensure_future(opening)
        await until(lambda: open_descriptors() > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_connections_and_listeners_give_their_descriptors_back() -> None:
    before = open_descriptors()
    for ending in ("close", "abort", "peer"):
        async with listening(hold) as listener:
            connection = await dial(listener)
            if ending == "close":
                await connection.close()
            elif ending == "abort":
                connection.abort()
            else:
                await until(lambda: bool(listener.connections))
                await listener.connections[0].close()
        await until(lambda: open_descriptors() == before)


async def test_an_address_in_use_is_told_as_both_kinds_of_error() -> None:
    async with listening(hold) as listener:
        reason = rf"UDP 127\.0\.0\.1:{listener.port} cannot be opened: Address already in use"
        for kind in (quantum.AddressError, quantum.ConfigurationError, OSError):
            with pytest.raises(kind, match=reason):
                await quantum.serve(hold, "127.0.0.1", listener.port, identity=IDENTITY)
    with pytest.raises(quantum.AddressError, match=r"UDP nobody.invalid:4433 cannot be opened"):
        await quantum.serve(hold, "nobody.invalid", 4433, identity=IDENTITY)
    for port in (-1, 65_536):
        with pytest.raises(quantum.ConfigurationError, match="a port is 0 to 65535"):
            quantum.serve(hold, "127.0.0.1", port, identity=IDENTITY)


async def test_a_server_that_is_full_takes_no_more() -> None:
    config = quick(max_connections=2)
    async with listening(hold, config) as listener, dial(listener), dial(listener):
        with pytest.raises(quantum.HandshakeError):
            await dial(listener, timeout=0.2)
        assert listener.stats()["connection_limit"] >= 1
        assert len(listener.connections) == 2


async def test_either_suite_and_controller_can_be_chosen() -> None:
    for suites in (("chacha20-poly1305",), ("aes-256-gcm",)):
        for congestion in ("bbr", "new_reno"):
            config = quick(suites=suites, congestion=congestion)
            async with listening(echo, config) as listener, dial(listener, config) as client:
                await round_trip(client)


async def test_ends_without_a_common_suite_do_not_connect() -> None:
    ours = quick(suites=("chacha20-poly1305",))
    theirs = quick(suites=("aes-256-gcm",))
    async with listening(hold, theirs) as listener:
        with pytest.raises(quantum.HandshakeError):
            await dial(listener, ours, timeout=0.2)
        assert listener.stats()["hello_unacceptable"] >= 1


async def test_stats_move_and_have_their_units() -> None:
    async with pair() as (client, server, listener):
        zero = client.stats()
        assert zero.stream_bytes_sent == zero.messages_sent == 0
        stream = await client.open_stream()
        await stream.write(bytes(100_000))
        stream.finish()
        await client.send(b"x")
        theirs = await server.accept_stream()
        await theirs.read_exactly(100_000)
        assert await theirs.read() == b""
        theirs.finish()
        await server.flush()
        await client.flush()
        assert await stream.read() == b""
        ours, peers = client.stats(), server.stats()
        assert ours.stream_bytes_sent >= 100_000 == peers.stream_bytes_received
        assert (ours.messages_sent, peers.messages_received) == (1, 1)
        assert ours.bytes_sent > 100_000
        assert ours.packets_sent >= 80
        assert 0 < ours.rtt_minimum_ns <= ours.rtt_latest_ns < 5_000_000_000
        assert 0 < ours.rtt_ns == ours.rtt_smoothed_ns < 5_000_000_000
        assert ours.delivered_bytes > 100_000
        assert ours.in_flight_bytes == 0
        assert ours.streams == peers.streams == 0
        assert ours.datagram_bytes == 1_232
        assert ours.phase in {"startup", "drain"} or ours.phase.startswith("probe")
        assert 0 <= ours.loss <= 1
        with pytest.raises(AttributeError):
            ours.streams = 3  # type: ignore[misc]
        counted = listener.stats()
        assert counted["connections"] == 1
        assert counted["datagrams_received"] >= 80


@needs_ipv6
async def test_a_datagram_the_interface_refuses_closes_nothing() -> None:
    # With IPv6's header it is larger than loopback's MTU: the kernel answers EMSGSIZE, since
    # fragments are not wanted.
    config = quick(send_datagram_bytes=65_507)

    async def send_too_much(connection: quantum.Connection) -> None:
        connection.send_datagram(bytes(connection.max_datagram_bytes))
        await connection.wait_closed()

    async with (
        quantum.serve(send_too_much, "::1", 0, identity=IDENTITY, config=config) as listener,
        quantum.connect(("::1", listener.port), pin=IDENTITY.pin) as client,
    ):
        await until(lambda: listener.stats()["send_too_big"] > 0)
        await client.send(b"x")
        await client.flush()
        assert not client.is_closed
        assert await listener.connections[0].receive() == b"x"

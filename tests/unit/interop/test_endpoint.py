"""The server for many clients: routing, bounds, and the answers that need no state."""

from interop.reference import Client, Config, Endpoint, draw_server_inputs
from interop.reference.endpoint import ANSWERS_PER_SECOND, stateless_reset
from interop.reference.events import Closed, StreamData
from interop.reference.state import State
from tests.support.oracle import NOW_MS, SEED, client, entropy

NOW_NS = 1_000_000_000


def endpoint(config: Config | None = None) -> Endpoint:
    draw = entropy("endpoint")
    return Endpoint(config or Config(), SEED, lambda: draw_server_inputs(NOW_MS, draw, 3))


def exchange(server: Endpoint, clients: dict[object, Client], now_ns: int = NOW_NS) -> None:
    """Carry datagrams without loss until nobody has more to send."""
    while True:
        for address, end in clients.items():
            for data in end.poll_datagrams(now_ns):
                server.handle_datagram(data, now_ns, address)
        answers = server.poll_datagrams(now_ns)
        if not answers:
            return
        for data, address in answers:
            clients[address].handle_datagram(data, now_ns)


def connected(server: Endpoint, count: int) -> dict[object, Client]:
    clients: dict[object, Client] = {n: client(name=f"client {n}") for n in range(count)}
    for end in clients.values():
        end.connect(NOW_NS)
    exchange(server, clients)
    return clients


def test_several_clients_are_served_at_once() -> None:
    server = endpoint()
    clients = connected(server, 5)
    assert len(server.poll_connections()) == 5
    for address, end in clients.items():
        end.write_stream(end.open_stream(), f"from {address}".encode(), fin=True)
    exchange(server, clients)
    got = {c.source: c.poll_events()[1] for c in server.connections.values()}
    assert got == {n: StreamData(0, f"from {n}".encode(), fin=True) for n in range(5)}


def test_a_repeated_hello_is_answered_by_the_same_connection() -> None:
    server, end = endpoint(), client()
    end.connect(NOW_NS)
    (first,) = end.poll_datagrams(NOW_NS)
    due = end.next_timeout()
    assert due is not None
    (second,) = end.poll_datagrams(due)
    server.handle_datagram(first, NOW_NS, "a")
    server.handle_datagram(second, due, "a")
    assert len(server.poll_datagrams(due)) == 2
    assert len(server.connections) == 1
    server.handle_datagram(second, due, "a")
    (again,) = server.poll_datagrams(due)
    assert again[0][26:30] == b"\x00\x00\x00\x02"


def test_packets_from_another_address_are_dropped_and_counted() -> None:
    server = endpoint()
    (end,) = connected(server, 1).values()
    end.ping()
    (packet,) = end.poll_datagrams(NOW_NS)
    server.handle_datagram(packet, NOW_NS, "elsewhere")
    (connection,) = server.connections.values()
    assert connection.counters == {"address": 1}
    server.handle_datagram(packet, NOW_NS, 0)
    assert connection.counters == {"address": 1}


def test_a_hello_from_another_address_is_another_connection() -> None:
    server, end = endpoint(), client()
    end.connect(NOW_NS)
    (hello,) = end.poll_datagrams(NOW_NS)
    server.handle_datagram(hello, NOW_NS, "a")
    server.handle_datagram(hello, NOW_NS, "b")
    assert [address for _, address in server.poll_datagrams(NOW_NS)] == ["a", "b"]


def test_an_invalid_hello_leaves_nothing_but_a_count() -> None:
    server, end = endpoint(), client()
    end.connect(NOW_NS)
    (hello,) = end.poll_datagrams(NOW_NS)
    for index in range(len(hello)):
        bad = hello[:index] + bytes([hello[index] ^ 0x04]) + hello[index + 1 :]
        server.handle_datagram(bad, NOW_NS, "a")
    assert server.connections == {}
    assert sum(server.counters.values()) >= len(hello) - ANSWERS_PER_SECOND
    assert all(len(answer) < len(hello) for answer, _ in server.poll_datagrams(NOW_NS))


def test_unfinished_handshakes_are_bounded_and_expire() -> None:
    server = endpoint(Config(unfinished_max=3))
    for number in range(5):
        end = client(name=f"client {number}")
        end.connect(NOW_NS)
        server.handle_datagram(end.poll_datagrams(NOW_NS)[0], NOW_NS, number)
    assert len(server.connections) == 3
    assert server.counters == {"hello_limit": 2}
    due = server.next_timeout()
    assert due is not None
    server.handle_timeout(due)
    assert server.connections == {}


def test_a_restarted_server_resets_the_connection() -> None:
    clients = connected(endpoint(), 1)
    restarted = endpoint()
    clients[0].send_message(b"is anybody there? " * 3)
    exchange(restarted, clients)
    assert clients[0].state is State.DRAINING
    (closed,) = [e for e in clients[0].poll_events() if isinstance(e, Closed)]
    assert closed.remote


def test_a_reset_with_a_wrong_token_has_no_effect() -> None:
    clients = connected(endpoint(), 1)
    forged = stateless_reset(bytes(32), clients[0].peer_id)
    clients[0].handle_datagram(forged, NOW_NS)
    assert clients[0].state is State.ESTABLISHED
    assert clients[0].counters["token"] == 1


def test_small_packets_for_unknown_ids_are_not_answered() -> None:
    server = endpoint()
    packet = b"QUNT\x02\x00" + b"\x01" * 16 + bytes(8) + b"\x00\x10" + bytes(16)
    server.handle_datagram(packet, NOW_NS, "a")
    assert server.poll_datagrams(NOW_NS) == []


def test_answers_without_state_are_limited_in_rate() -> None:
    server = endpoint()
    old = b"QUNT\x01\x01" + b"\x01" * 16 + bytes(10)
    for _ in range(ANSWERS_PER_SECOND + 20):
        server.handle_datagram(old, NOW_NS, "a")
    assert len(server.poll_datagrams(NOW_NS)) == ANSWERS_PER_SECOND
    assert server.counters["rate"] == 20
    server.handle_datagram(old, NOW_NS + 1_000_000_000, "a")
    assert len(server.poll_datagrams(NOW_NS)) == 1


def test_version_negotiation_is_only_reported_when_the_handshake_times_out() -> None:
    end = client()
    end.connect(NOW_NS)
    answer = b"QUNT\x00\x00" + end.own_id + bytes(8) + b"\x00\x01\x07"
    end.handle_datagram(answer, NOW_NS)
    assert end.state is State.HELLO_SENT
    end.handle_timeout(NOW_NS + 10_000_000_000)
    (closed,) = end.poll_events()
    assert isinstance(closed, Closed)
    assert "version 7" in closed.reason

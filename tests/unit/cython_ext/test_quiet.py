"""A connection that says nothing gives back its rings and contexts, and then goes on as before."""

import pytest

from cython_ext.core import Connection, Endpoint, Params, ed25519_public
from tests.support.memory import resident_bytes

SEED = bytes(range(32))
SERVER, CLIENT = ("192.0.2.1", 443), ("192.0.2.2", 1000)
SECOND_NS = 1_000_000_000


class Ends:
    """Two endpoints and a path without delay; time moves when it is told to."""

    def __init__(self, params: Params, pairs: int = 1) -> None:
        self.now_ns = SECOND_NS
        numbers = iter(range(1, 1 << 62))
        self.client = Endpoint(params, lambda n: next(numbers).to_bytes(8, "big").rjust(n, b"\1"))
        self.server = Endpoint(
            params, lambda n: next(numbers).to_bytes(8, "big").rjust(n, b"\2"), SEED
        )
        self.near: list[Connection] = []
        for _ in range(pairs):
            self.near.append(self.client.connect(SERVER, ed25519_public(SEED), self.now_ns))
            self.settle()
        self.far = self.server.connections()

    def settle(self) -> None:
        """Carry datagrams until there are none."""
        moved = True
        while moved:
            moved = False
            for _, datagram in self.client.poll_datagrams(self.now_ns):
                self.server.handle_datagram(datagram, CLIENT, self.now_ns)
                moved = True
            for _, datagram in self.server.poll_datagrams(self.now_ns):
                self.client.handle_datagram(datagram, SERVER, self.now_ns)
                moved = True

    def wait(self, seconds: float) -> None:
        """Let time pass in steps of 10 ms."""
        for _ in range(round(seconds * 100)):
            self.now_ns += SECOND_NS // 100
            self.client.handle_timeout(self.now_ns)
            self.server.handle_timeout(self.now_ns)
            self.settle()

    def exchange(self, text: bytes) -> None:
        """Send *text* from the first client and back again, on a message and on a stream."""
        near, far = self.near[0], self.far[0]
        near.send_message(text)
        near.stream_write(0, text)
        self.settle()
        assert far.receive_messages() == [text]
        taken = far.stream_read(0, 1 << 20)
        assert taken == text
        far.send_message(text)
        far.stream_write(0, taken)
        self.settle()
        assert near.receive_messages() == [text]
        assert near.stream_read(0, 1 << 20) == text


@pytest.mark.parametrize("suites", [(1,), (2,)], ids=["aes", "chacha"])
def test_a_connection_goes_on_after_it_was_quiet(suites: tuple[int, ...]) -> None:
    ends = Ends(Params(suites=suites))
    assert ends.near[0].open_stream() == 0
    for size in (1, 5_000, 100_000):
        ends.exchange(bytes(range(256)) * (size // 256) + b"." * (size % 256))
        ends.wait(1.0)
        assert ends.near[0].stats()["ledger_packets"] <= 2


def test_keys_are_updated_over_a_quiet_time_by_either_end() -> None:
    ends = Ends(Params(key_update_packets=5))
    assert ends.near[0].open_stream() == 0
    for n in range(20):
        ends.exchange(b"%d" % n)
        ends.wait(0.5)
    assert ends.near[0].stats()["key_updates"] == ends.far[0].stats()["key_updates"] > 2
    assert ends.server.stats()["does_not_open"] == ends.client.stats()["does_not_open"] == 0


def test_quiet_data_that_nobody_has_read_stays() -> None:
    ends = Ends(Params())
    near, far = ends.near[0], ends.far[0]
    assert near.open_stream() == 0
    near.stream_write(0, b"stream")
    near.send_message(b"message")
    near.send_datagram(b"datagram")
    ends.settle()
    ends.wait(1.0)
    assert far.stream_read(0, 100) == b"stream"
    assert far.receive_messages() == [b"message"]
    assert far.receive_datagrams() == [b"datagram"]


def test_a_busy_connection_gives_nothing_back_but_a_quiet_one_does() -> None:
    ends = Ends(Params(), pairs=400)
    before = resident_bytes()
    held = ends.near + ends.far
    for connection in held:
        connection.send_message(bytes(100_000))
    ends.settle()
    for connection in held:
        connection.receive_messages()
    ends.wait(0.1)
    busy = resident_bytes() - before
    ends.wait(1.0)
    quiet = resident_bytes() - before
    assert busy > 800 * 100_000
    assert quiet < busy / 10

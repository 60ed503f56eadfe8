"""A UDP proxy on real sockets: put it between two programs and the network misbehaves.

It uses the `Link` of the virtual-time network and knows nothing of what passes through. It outlives
its upstream: while that is away datagrams are lost, and when it is back everything goes on. Delays
are as exact as the event loop's timers, some milliseconds at worst.
"""

import asyncio
import socket
from heapq import heappop, heappush
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

from quantum.testing.network import Impairment, Link

PERFECT = Impairment()
# Datagrams read per readiness event, so that one busy client cannot starve the loop.
READS_PER_TURN = 64
BUFFER_BYTES = 4 * 1024 * 1024


class UdpCounts(NamedTuple):
    """What a `UdpProxy` did so far, both directions together, in datagrams."""

    forwarded: int
    dropped: int
    duplicated: int
    corrupted: int
    reordered: int
    refused: int
    """ICMP errors: nobody listens upstream, or a client has gone."""
    clients: int
    """Clients known now."""
    evicted: int
    """Clients forgotten because there were too many; the longest silent goes first."""


class UdpProxy:
    """Relays datagrams between many clients and one upstream, each client by a socket of its own.

    ``async with UdpProxy(("127.0.0.1", 4433), Impairment(loss=0.05)) as proxy: ... proxy.port``

    Args:
        upstream: (IP literal, port); may be reassigned, for clients that come later.
        forward: what happens from client to upstream.
        back: from upstream to client; *forward* if not given. Each client has links of its own.
            Black holes count from the start of the proxy.
        seed: decides every random choice, in the order in which clients appear.
        max_clients: clients remembered at once.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        forward: Impairment = PERFECT,
        back: Impairment | None = None,
        *,
        seed: int = 0,
        max_clients: int = 256,
    ) -> None:
        self.upstream = upstream
        self._forward = forward
        self._back = back or forward
        self._seed = seed
        self._max_clients = max_clients
        self._clients: dict[object, _Client] = {}
        self._admitted = 0
        self._evicted = 0
        self._forwarded = 0
        self._dropped = 0
        self._refused = 0
        # dropped, duplicated, corrupted, reordered by links that are gone
        self._past = (0, 0, 0, 0)
        self._is_cut = False
        self._due: list[tuple[int, int, _Client, bool, bytes]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sock: socket.socket | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listen on *host*; port 0 lets the system choose.

        Raises:
            OSError: the address cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        sock = _udp_socket(host)
        try:
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self._sock = sock
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self.port = self.address[1]
        self._loop.add_reader(sock.fileno(), self._read_clients, sock)
        return self

    async def close(self) -> None:
        """Stop and forget everything under way; a second call does nothing."""
        if self._sock is None:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._sock = None
        for client in list(self._clients.values()):
            self._forget(client)
        if self._timer is not None:
            self._timer.cancel()

    async def __aenter__(self) -> Self:
        return self if self._sock is not None else await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    def impair(self, forward: Impairment, back: Impairment | None = None) -> None:
        """Change what happens from now on; what is under way stays under way."""
        self._forward, self._back = forward, back or forward
        for client in self._clients.values():
            client.forward.impairment = self._forward
            client.back.impairment = self._back

    def cut(self) -> None:
        """Cut the network: everything under way and everything sent from now on is lost."""
        self._is_cut = True
        self._dropped += len(self._due)
        self._due.clear()

    def restore(self) -> None:
        """Mend the network."""
        self._is_cut = False

    @property
    def counts(self) -> UdpCounts:
        """A snapshot of the counters."""
        gone = self._past
        for client in self._clients.values():
            gone = _add(gone, client.losses())
        return UdpCounts(
            forwarded=self._forwarded,
            dropped=self._dropped + gone[0],
            duplicated=gone[1],
            corrupted=gone[2],
            reordered=gone[3],
            refused=self._refused,
            clients=len(self._clients),
            evicted=self._evicted,
        )

    def _read_clients(self, sock: socket.socket) -> None:
        for _ in range(READS_PER_TURN):
            try:
                data, address = sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                self._refused += 1
                continue
            client = self._clients.pop(address, None) or self._admit(address)
            if client is None:
                continue
            self._clients[address] = client  # last in the order of eviction
            self._pass(client, client.forward, data, to_upstream=True)

    def _read_upstream(self, client: "_Client") -> None:
        for _ in range(READS_PER_TURN):
            try:
                data = client.sock.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error: upstream is away. Reading it has cleared it.
                self._refused += 1
                continue
            self._pass(client, client.back, data, to_upstream=False)

    def _admit(self, address: tuple[str, int]) -> "_Client | None":
        try:
            sock = _udp_socket(self.upstream[0])
            sock.connect(self.upstream)
        except OSError:
            # No descriptor or no route: the datagram is lost, the client will try again.
            self._dropped += 1
            return None
        while len(self._clients) >= self._max_clients:
            self._forget(next(iter(self._clients.values())))
            self._evicted += 1
        self._admitted += 1
        client = _Client(address, sock, self._forward, self._back, f"{self._seed}/{self._admitted}")
        self._loop.add_reader(sock.fileno(), self._read_upstream, client)
        return client

    def _forget(self, client: "_Client") -> None:
        self._clients.pop(client.address, None)
        self._past = _add(self._past, client.losses())
        self._loop.remove_reader(client.sock.fileno())
        client.sock.close()

    def _pass(self, client: "_Client", link: Link, data: bytes, *, to_upstream: bool) -> None:
        if self._is_cut:
            self._dropped += 1
            return
        now = self._now()
        for at, copy in link.send(now, data):
            if at <= now:
                self._deliver(client, copy, to_upstream)
                continue
            self._order += 1
            heappush(self._due, (at, self._order, client, to_upstream, copy))
            if self._due[0][1] == self._order:
                self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            self._loop.call_at(self._started + self._due[0][0] / 1e9, self._deliver_due)
            if self._due
            else None
        )

    def _deliver_due(self) -> None:
        now = self._now()
        while self._due and self._due[0][0] <= now:
            _, _, client, to_upstream, data = heappop(self._due)
            self._deliver(client, data, to_upstream)
        self._arm()

    def _deliver(self, client: "_Client", data: bytes, to_upstream: bool) -> None:
        if self._sock is None or client.sock.fileno() < 0:
            self._dropped += 1
            return
        try:
            if to_upstream:
                client.sock.send(data)
            else:
                self._sock.sendto(data, client.address)
        except BlockingIOError:
            self._dropped += 1  # as a router whose queue is full
        except OSError:
            self._refused += 1
        else:
            self._forwarded += 1

    def _now(self) -> int:
        return int((self._loop.time() - self._started) * 1e9)


class _Client:
    """One client of a `UdpProxy`: its own socket towards upstream, and its own links."""

    __slots__ = ("address", "back", "forward", "sock")

    def __init__(
        self,
        address: tuple[str, int],
        sock: socket.socket,
        forward: Impairment,
        back: Impairment,
        seed: str,
    ) -> None:
        self.address = address
        self.sock = sock
        self.forward = Link(forward, Random(f"{seed}/forward"))
        self.back = Link(back, Random(f"{seed}/back"))

    def losses(self) -> tuple[int, int, int, int]:
        """Return datagrams dropped, duplicated, corrupted and reordered."""
        total = (0, 0, 0, 0)
        for link in (self.forward, self.back):
            s = link.stats
            dropped = s.lost + s.queue_full + s.too_big + s.blackholed
            total = _add(total, (dropped, s.duplicated, s.corrupted, s.reordered))
        return total


def _udp_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return sock


def _add(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]

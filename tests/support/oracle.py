"""Builders for the oracle: deterministic inputs, a client and a server that know each other."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interop.reference import Client, Config, Server, draw_client_inputs, draw_server_inputs
from interop.reference.crypto import ed25519_public
from interop.reference.events import Event
from interop.reference.state import State
from tests.support.virtual_link import Path, VirtualLink

SEED = hashlib.sha256(b"identity").digest()
PIN = ed25519_public(SEED)
NOW_MS = 1_750_000_000_000


def entropy(name: str) -> Callable[[int], bytes]:
    """Return a source of bytes that gives the same bytes for the same *name*."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{name} {count}".encode()).digest(size)

    return draw


def client(config: Config | None = None, name: str = "client") -> Client:
    return Client(config or Config(), PIN, draw_client_inputs(NOW_MS, entropy(name)))


def server(config: Config | None = None, name: str = "server") -> Server:
    return Server(config or Config(), SEED, draw_server_inputs(NOW_MS, entropy(name)))


@dataclass
class Pair:
    """A client and a server on a link, and every event that each of them reported.

    Each is an oracle, or a `tests.support.core_end.CoreEnd`.
    """

    client: Any
    server: Any
    link: VirtualLink
    client_events: list[Event]
    server_events: list[Event]

    def collect(self) -> None:
        self.client_events += self.client.poll_events()
        self.server_events += self.server.poll_events()

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        def holds() -> bool:
            self.collect()
            return condition()

        self.link.run_until(holds, seconds)

    def run_for(self, seconds: float) -> None:
        self.link.run_for(seconds)
        self.collect()

    def establish(self) -> None:
        """Complete the handshake."""
        self.run_until(
            lambda: (
                self.client.state is State.ESTABLISHED and self.server.state is State.ESTABLISHED
            )
        )


def pair(
    path: Path | None = None,
    client_config: Config | None = None,
    server_config: Config | None = None,
    seed: int = 0,
) -> Pair:
    left, right = client(client_config), server(server_config)
    link = VirtualLink(left, right, path or Path(), seed)
    left.connect(link.now_ns, "right")
    return Pair(left, right, link, [], [])

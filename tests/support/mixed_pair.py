"""A core and an oracle on one link, in either role, and questions to the events they report."""

import hashlib
from collections import defaultdict
from typing import Any

import pytest

from cython_ext.core import Endpoint, Params
from interop.reference import Config
from interop.reference.events import (
    Closed,
    DatagramReceived,
    Event,
    MessageReceived,
    StreamData,
)
from tests.support import oracle
from tests.support.core_end import CoreEnd, core_params
from tests.support.oracle import PIN, SEED, Pair, entropy
from tests.support.virtual_link import Path, VirtualLink

START_NS = 1_000_000_000
MS = 1_000_000
both_roles = pytest.mark.parametrize("core_is_client", [True, False], ids=["client", "server"])


def params_of(config: Config, **choices: Any) -> Params:
    """Return the core's configuration that does what *config* asks of the oracle."""
    asked = {
        "suites": config.suites,
        "send_datagram_bytes": config.max_datagram_bytes,
        "handshake_timeout_ns": config.handshake_timeout_ns,
        "keepalive_ns": config.keepalive_ns or 0,
        "key_update_packets": config.update_after_packets,
        "datagram_queue": config.datagrams_queued_max,
        "max_half_open": config.unfinished_max,
        "ecn": config.mark_ect0,
    }
    return core_params(config.parameters, **{**asked, **choices})


def mixed(
    core_is_client: bool,
    path: Path | None = None,
    client_config: Config | None = None,
    server_config: Config | None = None,
    seed: int = 0,
    **choices: Any,
) -> Pair:
    """Return a pair of which one end is the core; *choices* are the core's alone."""
    client_config, server_config = client_config or Config(), server_config or Config()
    client: Any
    server: Any
    if core_is_client:
        params = params_of(client_config, **choices)
        client = CoreEnd.client(params, PIN, entropy(f"core {seed}"), START_NS)
        server = oracle.server(server_config)
    else:
        client = oracle.client(client_config)
        client.connect(START_NS, "right")
        params = params_of(server_config, **choices)
        server = CoreEnd.server(params, SEED, entropy(f"core {seed}"))
    link = VirtualLink(client, server, path or Path(), seed, START_NS)
    return Pair(client, server, link, [], [])


def core_of(pair: Pair) -> CoreEnd:
    """Return the end that is the core."""
    return pair.client if isinstance(pair.client, CoreEnd) else pair.server


def oracle_of(pair: Pair) -> Any:
    """Return the end that is the oracle."""
    return pair.server if isinstance(pair.client, CoreEnd) else pair.client


def core_events(pair: Pair) -> list[Event]:
    """Return what the core told its application."""
    return pair.client_events if isinstance(pair.client, CoreEnd) else pair.server_events


def oracle_events(pair: Pair) -> list[Event]:
    """Return what the oracle told its application."""
    return pair.server_events if isinstance(pair.client, CoreEnd) else pair.client_events


def restarted_core(**choices: Any) -> Endpoint:
    """Return a core server that knows no connection but has the same identity."""
    return Endpoint(core_params(**choices), entropy("restarted"), SEED)


def blob(size: int, name: str = "blob") -> bytes:
    """Return fixed bytes that look random."""
    return hashlib.shake_256(name.encode()).digest(size)


def stream_bytes(events: list[Event]) -> dict[int, bytes]:
    """Return what came on each stream."""
    out: dict[int, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, StreamData):
            out[event.stream_id] += event.data
    return dict(out)


def ended(events: list[Event]) -> set[int]:
    """Return the streams that came to their end."""
    return {e.stream_id for e in events if isinstance(e, StreamData) and e.fin}


def messages(events: list[Event]) -> list[bytes]:
    """Return the messages that came."""
    return [e.data for e in events if isinstance(e, MessageReceived)]


def datagrams(events: list[Event]) -> list[bytes]:
    """Return the datagrams that came."""
    return [e.data for e in events if isinstance(e, DatagramReceived)]


def closed(events: list[Event]) -> list[Closed]:
    """Return how the connection ended."""
    return [e for e in events if isinstance(e, Closed)]

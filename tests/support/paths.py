"""Paths and payloads that the simulation tests share."""

from random import Random

from cython_ext.core import Connection, ConnectionState, Params
from quantum.testing import Impairment, Pair, Peer

MS = 1_000_000
SECOND = 1_000 * MS
MBIT = 1_000_000


def path(rtt_ms: float = 50, *, queue_ms: float | None = None, **values: object) -> Impairment:
    """Return a path of 100 Mbit/s and *rtt_ms*, its queue one round trip deep unless said."""
    queue = 100 * MBIT // 8 * (rtt_ms if queue_ms is None else queue_ms) / 1_000
    defaults: dict[str, object] = {
        "delay_ns": int(rtt_ms * MS / 2),
        "rate_bps": 100 * MBIT,
        "queue_bytes": max(int(queue), 64 * 1024),
    }
    return Impairment(**{**defaults, **values})  # type: ignore[arg-type]


def payload(size: int, seed: object = 0) -> bytes:
    """Return *size* random bytes."""
    return Random(f"payload {seed}").randbytes(size)


def established(impairment: Impairment | None = None, seed: int = 0, **values: int) -> Pair:
    """Return a connected pair; *values* are parameters of both ends."""
    params = Params(**values)  # type: ignore[arg-type]
    pair = Pair(impairment or path(), seed=seed, client_params=params, server_params=params)
    return pair.connect()


def probe_timeout_ns(connection: Connection, max_ack_delay_ns: int = 25 * MS) -> int:
    """Return the probe timeout of section 7 without back-off."""
    stats = connection.stats()
    spread = max(4 * stats["rtt_variation_ns"], MS)
    return stats["rtt_smoothed_ns"] + spread + max_ack_delay_ns


def is_closed(peer: Peer) -> bool:
    """Tell whether the peer's connection is over."""
    return peer.open.state == ConnectionState.CLOSED

"""A real gateway process for tests of the client kit, with the ways into it."""

from collections.abc import Mapping
from typing import Any

from gateway.demo.process import GatewayProcess
from gateway.sdk import ClientConfig, connect
from gateway.sdk.connect import Connecting

PASSWORD = "quantum-demo"
QUICK = ClientConfig(backoff_max_s=0.2, ping_interval_s=0.2, dead_after_s=2.0)
TRANSPORTS = ["quantum", "websocket"]


def dial(
    gateway: GatewayProcess, transport: str, user: str = "alice", **options: Any
) -> Connecting:
    """Return a client about to connect straight to *gateway*."""
    settings: Mapping[str, Any] = {"config": QUICK, "login": (user, PASSWORD), **options}
    return connect(gateway.urls[transport], **settings)

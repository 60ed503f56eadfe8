"""The doors, by URL scheme."""

from gateway.sdk.door import Door
from svckit.registry import Registry

DOORS: Registry[Door] = Registry(
    "door",
    "quantum.doors",
    {
        "quantum": "gateway.sdk.doors.quantum:QuantumDoor",
        "ws": "gateway.sdk.doors.websocket:WebSocketDoor",
        "wss": "gateway.sdk.doors.websocket:WebSocketDoor",
    },
)

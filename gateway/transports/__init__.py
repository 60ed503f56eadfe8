"""The transports, by name."""

from gateway.transport import Transport
from svckit.registry import Registry

TRANSPORTS: Registry[Transport] = Registry(
    "transport",
    "quantum.transports",
    {
        "http": "gateway.transports.http:HttpTransport",
        "quantum": "gateway.transports.quantum:QuantumTransport",
        "websocket": "gateway.transports.websocket:WebSocketTransport",
    },
)

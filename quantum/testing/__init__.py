"""The public test kit: networks that misbehave on purpose, in virtual time and on real sockets."""

from quantum.testing.network import (
    Endpoint,
    Impairment,
    Link,
    LinkStats,
    Network,
    Node,
    TrainNode,
)

__all__ = [
    "Endpoint",
    "Impairment",
    "Link",
    "LinkStats",
    "Network",
    "Node",
    "TrainNode",
]

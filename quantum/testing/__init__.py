"""The public test kit: networks that misbehave on purpose, in virtual time and on real sockets."""

from quantum.testing.network import (
    Capable,
    Congested,
    Endpoint,
    Impairment,
    Link,
    LinkStats,
    Network,
    Node,
    TrainNode,
)
from quantum.testing.pair import Pair, Peer, Stalled
from quantum.testing.proxy import TcpCounts, TcpProxy, UdpCounts, UdpProxy
from quantum.testing.stream_link import StreamLink

__all__ = [
    "Capable",
    "Congested",
    "Endpoint",
    "Impairment",
    "Link",
    "LinkStats",
    "Network",
    "Node",
    "Pair",
    "Peer",
    "Stalled",
    "StreamLink",
    "TcpCounts",
    "TcpProxy",
    "TrainNode",
    "UdpCounts",
    "UdpProxy",
]

"""The impairment proxies on real sockets, both under one name."""

from quantum.testing.tcp_proxy import TcpCounts, TcpProxy
from quantum.testing.udp_proxy import UdpCounts, UdpProxy

__all__ = ["TcpCounts", "TcpProxy", "UdpCounts", "UdpProxy"]

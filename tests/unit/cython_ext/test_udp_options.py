"""Socket options: what is asked for is set, and what was granted is told."""

import socket

import pytest

from cython_ext.udp import configure, open_socket

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
UDP_GRO = 104


def test_a_socket_is_bound_non_blocking_and_never_fragments() -> None:
    sock, abilities = open_socket("127.0.0.1")
    with sock:
        assert sock.getsockname()[1] != 0
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_PROBE
        assert abilities.dont_fragment
        assert abilities.ecn


def test_the_buffers_reported_are_the_buffers_granted() -> None:
    sock, abilities = open_socket("127.0.0.1", buffer_bytes=300_000)
    with sock:
        booked = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert abilities.receive_buffer_bytes == booked // 2 >= 200_000
        assert abilities.send_buffer_bytes > 0


def test_offload_can_be_declined() -> None:
    sock, abilities = open_socket("127.0.0.1", gro=False, gso=False)
    with sock:
        assert not abilities.gro
        assert not abilities.gso
        assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0


def test_two_sockets_share_a_port_only_when_both_ask() -> None:
    first, _ = open_socket("127.0.0.1", reuse_port=True)
    with first:
        port = first.getsockname()[1]
        second, _ = open_socket("127.0.0.1", port, reuse_port=True)
        second.close()
        with pytest.raises(OSError, match="in use"):
            open_socket("127.0.0.1", port)


def test_an_ipv6_socket_takes_ipv4_peers_unless_told_not_to() -> None:
    for dual_stack in (True, False):
        sock, _ = open_socket("::", dual_stack=dual_stack)
        with sock:
            only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            assert bool(only) is not dual_stack


def test_a_name_is_not_resolved() -> None:
    with pytest.raises(OSError, match="resolve names first"):
        open_socket("localhost")


def test_only_udp_sockets_are_configured() -> None:
    with socket.socket() as tcp, pytest.raises(ValueError, match="UDP"):
        configure(tcp)

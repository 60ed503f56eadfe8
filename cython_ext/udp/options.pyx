"""Socket options for UDP at speed: what to ask of the kernel, and what it granted.

Knows option names and their order; knows nothing of batches, packets or event loops. Whatever the
kernel lacks is reported, never fatal: the caller runs on with less.
"""

import socket
from typing import NamedTuple

from cython_ext.abi.posix cimport (
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, IPV6_RECVTCLASS,
    IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IP_RECVTOS, SOL_SOCKET, SO_RCVBUF, SO_RCVBUFFORCE,
    SO_SNDBUF, SO_SNDBUFFORCE, UDP_GRO, UDP_SEGMENT, getsockopt, setsockopt, socklen_t,
)

# What quic-go asks for; at 1 Gbit/s it holds some 50 ms, which is what a garbage collection costs.
BUFFER_BYTES = 7 * 1024 * 1024


class SocketAbilities(NamedTuple):
    """What the kernel granted on one socket."""

    receive_buffer_bytes: int
    send_buffer_bytes: int
    gro: bool
    gso: bool
    ecn: bool
    dont_fragment: bool


def open_socket(
    host,
    port=0,
    *,
    buffer_bytes=BUFFER_BYTES,
    reuse_port=False,
    dual_stack=True,
    gro=True,
    gso=True,
):
    """Return a bound, non-blocking UDP socket and its SocketAbilities.

    Args:
        host: an IP literal; ``"::"`` with *dual_stack* takes IPv4 peers too.
        port: 0 lets the system choose.
        buffer_bytes: asked for in each direction; too little loses packets while Python is busy.
        reuse_port: let several sockets share the port (each must ask before it binds).
        dual_stack: an IPv6 socket also speaks to IPv4 peers.
        gro: ask the kernel to join what arrives; readers must then take 64-KiB trains.
        gso: ask whether the kernel cuts runs on sending.

    Raises:
        OSError: the address cannot be bound, or the host is not an IP literal.
    """
    try:
        info = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )
    except socket.gaierror as error:
        raise OSError(f"{host!r} is not an IP address; resolve names first") from error
    family, kind, protocol, _, address = info[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual_stack))
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        abilities = configure(sock, buffer_bytes=buffer_bytes, gro=gro, gso=gso)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock, abilities


def configure(sock, *, buffer_bytes=BUFFER_BYTES, gro=True, gso=True):
    """Set every option on an existing UDP socket and return its SocketAbilities.

    The socket is made non-blocking. For the arguments see `open_socket`.

    Raises:
        ValueError: *sock* is not a UDP socket over IPv4 or IPv6.
    """
    cdef int fd = sock.fileno()
    cdef bint is_v6 = sock.family == socket.AF_INET6
    cdef bint ecn
    cdef bint dont_fragment
    if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError("only UDP sockets over IPv4 or IPv6 can be configured")
    sock.setblocking(False)
    receive = _grow(fd, SO_RCVBUF, SO_RCVBUFFORCE, buffer_bytes)
    send = _grow(fd, SO_SNDBUF, SO_SNDBUFFORCE, buffer_bytes)
    # A dual-stack socket needs both levels: packets of mapped peers are IPv4 packets.
    ecn = _set(fd, IPPROTO_IP, IP_RECVTOS, 1)
    # PROBE sets DF like DO, but leaves the size to us: a forged "fragmentation needed" message
    # cannot shrink the path.
    dont_fragment = _set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    if is_v6:
        ecn = _set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
        dont_fragment = _set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
    return SocketAbilities(
        receive,
        send,
        bool(_set(fd, IPPROTO_UDP, UDP_GRO, 1 if gro else 0) and gro),
        # Zero changes nothing; the answer tells whether the kernel knows the option.
        bool(gso and _set(fd, IPPROTO_UDP, UDP_SEGMENT, 0)),
        ecn,
        dont_fragment,
    )


cdef bint _set(int fd, int level, int option, int value) noexcept:
    return setsockopt(fd, level, option, &value, sizeof(int)) == 0


cdef int _grow(int fd, int option, int force, int wanted) noexcept:
    """Ask for *wanted* bytes and return what was granted, in the same measure.

    The kernel books twice what is asked, for its own overhead, and reports the double.
    """
    cdef int granted = 0
    cdef socklen_t size = sizeof(int)
    getsockopt(fd, SOL_SOCKET, option, &granted, &size)
    if granted // 2 >= wanted:
        return granted // 2
    _set(fd, SOL_SOCKET, option, wanted)
    getsockopt(fd, SOL_SOCKET, option, &granted, &size)
    # Beyond the limit of net.core.*mem_max only a privileged process gets more.
    if granted // 2 < wanted and _set(fd, SOL_SOCKET, force, wanted):
        getsockopt(fd, SOL_SOCKET, option, &granted, &size)
    return granted // 2

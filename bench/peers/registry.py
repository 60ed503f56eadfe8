"""PEERS: the one list of what is compared, by name. A new peer is an entry here and a program."""

from functools import partial

from bench.peers.pins import go_pins, rust_pins
from bench.peers.program import TASKS, NativeProgram, Peer, PythonProgram

_EVERY = frozenset(TASKS)
# KCP has no handshake, and a conversation that says nothing does not exist.
_NO_HANDSHAKE = _EVERY - {"handshake", "hold"}

_UNORDERED = "Messages in real time go as streams of one message each."
_ONE_STREAM = "All messages are ordered on the one stream."
_KCP_WINDOW = "Congestion control off and the window fitted to the path, as its users run it."


def _go(file: str, *modules: str, arguments: tuple[str, ...] = ()) -> NativeProgram:
    return NativeProgram(
        file,
        "go",
        "bench/peers/go",
        ("go", "build", "-trimpath", "-o", "{bin}/", "./..."),
        partial(go_pins, *modules),
        arguments,
    )


def _rust(file: str, folder: str, *crates: str) -> NativeProgram:
    places = ("--target-dir", "{cache}/rust", "--root", "{bin}/..")
    return NativeProgram(
        file,
        "cargo",
        "bench/peers/rust",
        ("cargo", "install", "--locked", "--no-track", "--force", "--path", folder, *places),
        partial(rust_pins, *crates),
    )


_QUIC_GO = _go("peer-quic-go", "github.com/quic-go/quic-go")
_KCP_GO = "github.com/xtaci/kcp-go/v5"
_QUINN = _rust("peer-quinn", "quinn", "quinn", "quinn-proto", "quinn-udp")
_IROH = _rust("peer-iroh", "iroh", "iroh", "noq")

_LIST = (
    Peer(
        "quantum",
        "Quantum (asyncio)",
        PythonProgram("bench.peers.quantum"),
        _EVERY,
        takes_profile=True,
    ),
    Peer(
        "quantum-uvloop",
        "Quantum (uvloop)",
        PythonProgram("bench.peers.quantum", ("uvloop",), ("--loop", "uvloop"), extra="fast"),
        _EVERY,
        takes_profile=True,
    ),
    Peer(
        "tcp-cubic",
        "TCP CUBIC (asyncio)",
        PythonProgram("bench.peers.tcp"),
        _EVERY,
        congestion="cubic",
        protocol="tcp",
        encrypted=False,
    ),
    Peer(
        "tcp-bbr",
        "TCP BBR (asyncio)",
        PythonProgram("bench.peers.tcp"),
        _EVERY,
        congestion="bbr",
        protocol="tcp",
        encrypted=False,
        notes="The kernel's BBR is version 1.",
    ),
    Peer(
        "tls",
        "TLS 1.3 over TCP (asyncio)",
        PythonProgram("bench.peers.tls"),
        _EVERY,
        protocol="tcp",
    ),
    Peer(
        "tls-uvloop",
        "TLS 1.3 over TCP (uvloop)",
        PythonProgram("bench.peers.tls", ("uvloop",), ("--loop", "uvloop"), extra="fast"),
        _EVERY,
        protocol="tcp",
    ),
    Peer(
        "quic-go",
        "quic-go",
        _QUIC_GO,
        _EVERY,
        full_packet=(1423, 1480),
        notes=f"CUBIC is its only controller, AES-128-GCM Go's choice. {_UNORDERED}",
    ),
    Peer(
        "kcp-go",
        "kcp-go",
        _go("peer-kcp-go", _KCP_GO),
        _NO_HANDSHAKE,
        takes_profile=True,
        full_packet=(1420, 1500),
        notes=f"AES-256-GCM under a shared key, no handshake. {_KCP_WINDOW} {_ONE_STREAM}",
    ),
    Peer(
        "kcp-go-control",
        "kcp-go (own control)",
        _go("peer-kcp-go", _KCP_GO),
        _NO_HANDSHAKE,
        congestion="kcp",
        takes_profile=True,
        full_packet=(1420, 1500),
        notes=f"As kcp-go, with KCP's own congestion control. {_ONE_STREAM}",
    ),
    Peer(
        "kcp-go-fec",
        "kcp-go (FEC 10+3)",
        _go("peer-kcp-go", _KCP_GO, arguments=("--fec", "10+3")),
        _NO_HANDSHAKE,
        takes_profile=True,
        full_packet=(1412, 1500),
        notes=f"As kcp-go, with three packets of parity after every ten. {_ONE_STREAM}",
    ),
    Peer(
        "tls-go",
        "TLS 1.3 over TCP (Go)",
        _go("peer-tls-go"),
        _EVERY,
        protocol="tcp",
        notes="AES-128-GCM is Go's choice, the congestion control the system's.",
    ),
    Peer(
        "quinn",
        "quinn (CUBIC)",
        _QUINN,
        _EVERY,
        congestion="cubic",
        full_packet=(1417, 1480),
        notes=_UNORDERED,
    ),
    Peer(
        "quinn-bbr",
        "quinn (BBR)",
        _QUINN,
        _EVERY,
        congestion="bbr",
        full_packet=(1417, 1480),
        notes=f"Its BBR is version 1 and called experimental. {_UNORDERED}",
    ),
    Peer(
        "iroh",
        "iroh (CUBIC)",
        _IROH,
        _EVERY,
        congestion="cubic",
        full_packet=(1417, 1480),
        notes=f"Direct addresses, no relay; windows of 4 MiB. {_UNORDERED}",
    ),
    Peer(
        "iroh-bbr",
        "iroh (BBR)",
        _IROH,
        _EVERY,
        congestion="bbr",
        full_packet=(1417, 1480),
        notes=f"Direct addresses, no relay; windows of 4 MiB; BBR version 3. {_UNORDERED}",
    ),
    Peer(
        "aioquic",
        "aioquic (asyncio)",
        PythonProgram("bench.peers.aioquic", ("aioquic",)),
        _EVERY,
        congestion="cubic",
        takes_profile=True,
        full_packet=(1417, 1480),
        notes=_UNORDERED,
    ),
    Peer(
        "qh3",
        "qh3 (asyncio)",
        PythonProgram("bench.peers.qh3", ("qh3",)),
        _EVERY,
        takes_profile=True,
        full_packet=(1417, 1480),
        notes=_UNORDERED,
    ),
    Peer(
        "qh3-uvloop",
        "qh3 (uvloop)",
        PythonProgram("bench.peers.qh3", ("qh3", "uvloop"), ("--loop", "uvloop")),
        _EVERY,
        takes_profile=True,
        full_packet=(1417, 1480),
        notes=_UNORDERED,
    ),
    Peer(
        "enet",
        "ENet (pyenet)",
        # The package asks for a Cython that only its own build would need.
        PythonProgram(
            "bench.peers.enet", ("pyenet",), install="pip install --no-deps 'pyenet~=1.3.17'"
        ),
        # At most 4,095 peers.
        _EVERY - {"hold"},
        takes_profile=True,
        full_packet=(1372, 1428),
        encrypted=False,
        notes="At most 64 KiB under way. Messages in real time are dealt to 254 channels.",
    ),
    Peer(
        "kcp",
        "KCP (package kcp)",
        PythonProgram("bench.peers.kcp", ("kcp",)),
        _NO_HANDSHAKE,
        takes_profile=True,
        full_packet=(1448, 1500),
        encrypted=False,
        notes=f"No handshake. {_KCP_WINDOW} {_ONE_STREAM}",
    ),
)

PEERS: dict[str, Peer] = {peer.name: peer for peer in _LIST}

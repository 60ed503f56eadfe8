"""PEERS: the one list of what is compared, by name. A new peer is an entry here and a program."""

from bench.peers.program import TASKS, Peer, PythonProgram

_EVERY = frozenset(TASKS)

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
)

PEERS: dict[str, Peer] = {peer.name: peer for peer in _LIST}

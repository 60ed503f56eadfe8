"""PEERS: the one registration of what can be measured; imported when asked for."""

from importlib import import_module
from typing import cast

from quantum.perf.peer import Peer

PEERS = {
    "quantum": "quantum.perf.peers.quantum:Quantum",
    "tcp": "quantum.perf.peers.tcp:Tcp",
    "tls": "quantum.perf.peers.tcp:Tls",
    "aioquic": "quantum.perf.peers.quic:Quic",
}


def load_peer(name: str) -> Peer:
    """Return the peer called *name*.

    Raises:
        KeyError: nobody is called so.
        ImportError: it needs a package that is not installed.
    """
    module, _, attribute = PEERS[name].partition(":")
    return cast(Peer, getattr(import_module(module), attribute)())

"""Sealing packets and deriving keys; knows nothing of connections."""

from cython_ext.crypto.aead import PacketKey
from cython_ext.crypto.keys import expand

__all__ = ["PacketKey", "expand"]

"""Batched UDP: socket options, and whole trains of datagrams per system call.

The batches are meant for `cython_ext.driver`, which uses them through their .pxd.
"""

from cython_ext.udp.batch import RecvBatch, SendBatch
from cython_ext.udp.options import BUFFER_BYTES, SocketAbilities, configure, open_socket

__all__ = [
    "BUFFER_BYTES",
    "RecvBatch",
    "SendBatch",
    "SocketAbilities",
    "configure",
    "open_socket",
]

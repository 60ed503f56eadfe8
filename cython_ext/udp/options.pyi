import socket
from typing import NamedTuple

BUFFER_BYTES: int

class SocketAbilities(NamedTuple):
    receive_buffer_bytes: int
    send_buffer_bytes: int
    gro: bool
    gso: bool
    ecn: bool
    dont_fragment: bool

def open_socket(
    host: str,
    port: int = 0,
    *,
    buffer_bytes: int = ...,
    reuse_port: bool = False,
    dual_stack: bool = True,
    gro: bool = True,
    gso: bool = True,
) -> tuple[socket.socket, SocketAbilities]: ...
def configure(
    sock: socket.socket, *, buffer_bytes: int = ..., gro: bool = True, gso: bool = True
) -> SocketAbilities: ...

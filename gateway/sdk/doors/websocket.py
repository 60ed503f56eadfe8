"""WebSocket: one envelope per message. Compression is off; liveness is the client's own pings."""

import asyncio
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from gateway.messages import MAX_MESSAGE_BYTES
from gateway.sdk.address import Address
from gateway.sdk.door import LinkStats
from gateway.sdk.errors import ConnectFailed, DoorClosed

_CLOSE_S = 2.0


class WebSocketDoor:
    """One WebSocket."""

    name = "websocket"

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._bytes_sent = 0
        self._bytes_received = 0

    @classmethod
    async def open(cls, address: Address, timeout_s: float) -> "WebSocketDoor":
        """Connect. Raises `ConnectFailed` with the reason."""
        try:
            socket = await connect(
                address.url,
                open_timeout=timeout_s,
                close_timeout=_CLOSE_S,
                ping_interval=None,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=64,
                proxy=None,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            reason = f"it answered HTTP {status} instead of opening a WebSocket"
            raise ConnectFailed(f"cannot reach the gateway at {address.url}: {reason}") from error
        except (OSError, TimeoutError, WebSocketException) as error:
            reason = str(error) or f"no answer within {timeout_s:g} s"
            raise ConnectFailed(f"cannot reach the gateway at {address.url}: {reason}") from error
        return cls(socket)

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send one frame per message; waits for space. Raises `DoorClosed`."""
        try:
            for item in messages:
                is_text = item[:1] == b"{"
                await self._socket.send(item, text=is_text)
                self._bytes_sent += len(item)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def receive(self) -> list[bytes]:
        """Return the next message. Raises `DoorClosed`."""
        try:
            data = await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            raise _closed(error) from error
        self._bytes_received += len(data)
        return [data]

    async def close(self, code: int, reason: str) -> None:
        """Close with a closing handshake of at most 2 s."""
        await self._socket.close(code, reason[:100])

    def abort(self) -> None:
        """Drop the connection at once."""
        transport: asyncio.Transport = self._socket.transport
        transport.abort()

    def stats(self) -> LinkStats:
        """Return bytes; TCP tells nothing else."""
        return LinkStats(bytes_sent=self._bytes_sent, bytes_received=self._bytes_received)


def _closed(error: ConnectionClosed) -> DoorClosed:
    if error.rcvd is None:
        return DoorClosed()
    return DoorClosed(error.rcvd.code, error.rcvd.reason)

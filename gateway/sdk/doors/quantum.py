"""Quantum: one bidirectional stream, each envelope with its length in front."""

import asyncio
from collections.abc import Sequence

import quantum
from gateway.close_codes import CloseCode
from gateway.codec import DecodeError, FrameDecoder, frame
from gateway.sdk.address import Address
from gateway.sdk.door import LinkStats
from gateway.sdk.errors import ConnectFailed, DoorClosed

_READ_BYTES = 256 << 10
_CLOSE_S = 2.0


class QuantumDoor:
    """One connection and its only stream."""

    name = "quantum"

    def __init__(self, connection: quantum.Connection, stream: quantum.Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._decoder = FrameDecoder()

    @classmethod
    async def open(cls, address: Address, timeout_s: float) -> "QuantumDoor":
        """Connect. Raises `ConnectFailed` with the reason."""
        try:
            connection = await quantum.connect(
                address.authority, pin=address.pin, timeout=timeout_s
            )
            return cls(connection, await connection.open_stream())
        except (quantum.QuantumError, OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {timeout_s:g} s"
            raise ConnectFailed(f"cannot reach the gateway at {address.url}: {reason}") from error

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send in one write; waits for space. Raises `DoorClosed`."""
        try:
            await self._stream.write(b"".join([frame(item) for item in messages]))
        except quantum.QuantumError as error:
            raise _closed(error) from error

    async def receive(self) -> list[bytes]:
        """Return the next messages. Raises `DoorClosed`."""
        while True:
            try:
                data = await self._stream.read(_READ_BYTES)
                messages = self._decoder.feed(data)
            except quantum.QuantumError as error:
                raise _closed(error) from error
            except DecodeError as error:
                raise DoorClosed(reason=error.reason) from None
            if messages:
                return messages
            if not data:
                raise await self._ended()

    async def close(self, code: int, reason: str) -> None:
        """Close gracefully, or cut after 2 s."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.close(code, reason)
        except (TimeoutError, quantum.QuantumError):
            pass
        finally:
            # Lets go of the socket even where the end was not acknowledged.
            await self._connection.__aexit__(DoorClosed, None, None)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._connection.abort(CloseCode.NORMAL, "")

    def stats(self) -> LinkStats:
        """Return the transport's counters."""
        seen = self._connection.stats()
        return LinkStats(
            seen.rtt_ns,
            seen.packets_sent,
            seen.packets_received,
            seen.packets_lost,
            seen.packets_recovered,
            seen.bytes_sent,
            seen.bytes_received,
            seen.bytes_retransmitted,
        )

    async def _ended(self) -> DoorClosed:
        """Return why the stream ended: the connection's close, which may be just behind it."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.wait_closed()
        except quantum.QuantumError as error:
            return _closed(error)
        except TimeoutError:
            pass
        return DoorClosed(reason="the gateway ended the stream")


def _closed(error: Exception) -> DoorClosed:
    if isinstance(error, quantum.ConnectionClosed):
        return DoorClosed(error.code, error.reason)
    return DoorClosed(reason=str(error))

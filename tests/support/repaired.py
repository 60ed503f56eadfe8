"""What a repaired conversation of the vectors delivered, whatever came first."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from interop.reference.events import DatagramReceived, Event, MessageReceived, StreamData

Delivery = tuple[list[bytes], list[bytes], dict[int, bytes], set[int]]


def delivered(events: Sequence[Event]) -> Delivery:
    """Return messages, datagrams, the bytes of streams, and the streams that ended."""
    streams: dict[int, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, StreamData):
            streams[event.stream_id] += event.data
    return (
        sorted(event.data for event in events if isinstance(event, MessageReceived)),
        sorted(event.data for event in events if isinstance(event, DatagramReceived)),
        dict(streams),
        {event.stream_id for event in events if isinstance(event, StreamData) and event.fin},
    )


def expected_delivery(vector: dict[str, Any]) -> Delivery:
    """Return the same of what a vector says."""
    told = vector["delivered"]
    events: list[Event] = [
        StreamData(row["stream_id"], bytes.fromhex(row["data"]), row["fin"])
        for row in told["streams"]
    ]
    events += [MessageReceived(0, bytes.fromhex(data)) for data in told["messages"]]
    events += [DatagramReceived(bytes.fromhex(data)) for data in told["datagrams"]]
    return delivered(events)

"""A channel as a program reads it: publications in order, with what was missed said honestly."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from gateway.messages import Envelope, Message, Recovered, Subscribed
from gateway.sdk.errors import SdkError
from gateway.sdk.events import Feed, Publication


class Channel:
    """A subscription: iterate over it; close it to stop.

    ``is_whole`` turns False when the gateway could not recover what was published while this
    client was away, or dropped messages for it.
    """

    def __init__(
        self, name: str, limit: int, unsubscribe: Callable[["Channel"], Awaitable[None]]
    ) -> None:
        self.name = name
        self.offset = 0
        self.epoch = ""
        self.is_whole = True
        self._feed: Feed[Publication] = Feed(limit)
        self._unsubscribe = unsubscribe

    def __aiter__(self) -> AsyncIterator[Publication]:
        return self

    async def __anext__(self) -> Publication:
        """Return the next publication; ends when the channel is closed."""
        item = await self._feed.__anext__()
        missed = self._feed.take_dropped()
        return replace(item, missed=missed) if missed else item

    async def close(self) -> None:
        """Stop listening."""
        self._feed.close()
        await self._unsubscribe(self)

    # For the client

    def on_subscribed(self, body: Subscribed) -> None:
        """Note where the channel stands; what is between must have been recovered."""
        if self.epoch and not body.recovered:
            self.is_whole = False
            self.offset = body.offset
        elif not self.epoch:
            self.offset = max(self.offset, body.offset)
        self.epoch = body.epoch

    def on_recovered(self, body: Recovered) -> None:
        """Note what became of the channel in a resumed session."""
        if not body.recovered:
            self.is_whole = False
            self.offset = body.offset
        self.epoch = body.epoch or self.epoch

    def on_message(self, envelope: Envelope, body: Message) -> None:
        """Take in a publication, unless it is one already seen."""
        if envelope.epoch and self.epoch and envelope.epoch != self.epoch:
            self.epoch, self.offset = envelope.epoch, 0
            self.is_whole = False
        if envelope.offset:
            if envelope.offset <= self.offset:
                return
            self.offset = envelope.offset
        self._feed.put(
            Publication(self.name, body.value, envelope.payload, envelope.offset, body.sender)
        )

    def on_dropped(self) -> None:
        """Note that the gateway dropped messages for this client."""
        self.is_whole = False

    def end(self, error: SdkError) -> None:
        """End: the client is gone for good."""
        self._feed.close(error)

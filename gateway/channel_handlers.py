"""Subscribe, unsubscribe, publish: channels that the hub keeps.

A document's channel is handed to the document handlers; ``user:<id>`` is that user's own; names
that begin with ``$`` are the gateway's.
"""

from typing import Protocol, cast

from gateway import messages as m
from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.hub import Hub
from gateway.middleware import Handler

_MAX_NAME = 255
_USER_PREFIX = "user:"


class DocumentChannels(Protocol):
    """What channels need of documents."""

    async def subscribe(self, client: Client, request_id: int, body: m.Subscribe) -> None:
        """Listen to a document, reply, and let its events follow."""
        ...

    async def unsubscribe(self, client: Client, document: str) -> None:
        """Stop listening to a document."""
        ...


class ChannelHandlers:
    """The handlers of channels."""

    def __init__(self, hub: Hub, documents: DocumentChannels) -> None:
        self._hub = hub
        self._documents = documents

    def handlers(self) -> dict[m.Kind, Handler]:
        """Return the handler of each kind."""
        return {
            m.Kind.SUBSCRIBE: self.subscribe,
            m.Kind.UNSUBSCRIBE: self.unsubscribe,
            m.Kind.PUBLISH: self.publish,
        }

    async def subscribe(self, client: Client, envelope: m.Envelope) -> None:
        """Listen to a channel; what was missed follows the reply."""
        body = cast(m.Subscribe, envelope.body)
        if m.document_of(body.channel) is not None:
            await self._documents.subscribe(client, envelope.id, body)
            return
        check_channel(client, body.channel, publishing=False)
        position = m.Position(body.channel, body.offset, body.epoch) if body.recover else None
        outcome, missed = self._hub.join(client, body.channel, position)
        client.reply(
            envelope.id,
            m.Subscribed(outcome.channel, outcome.offset, outcome.epoch, outcome.recovered),
        )
        for message in missed:
            client.push(message)

    async def unsubscribe(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Stop listening to a channel."""
        body = cast(m.Unsubscribe, envelope.body)
        document = m.document_of(body.channel)
        if document is not None:
            await self._documents.unsubscribe(client, document)
        else:
            self._hub.leave(client, body.channel)
        return m.Done()

    async def publish(self, client: Client, envelope: m.Envelope) -> m.Body:
        """Send to everybody who listens."""
        body = cast(m.Publish, envelope.body)
        check_channel(client, body.channel, publishing=True)
        assert client.identity is not None
        offset, epoch, subscribers = self._hub.publish(
            body.channel,
            value=body.value,
            payload=envelope.payload,
            sender=client.identity.user_id,
            key=body.key,
        )
        return m.Published(body.channel, offset, epoch, subscribers)


def check_channel(client: Client, name: str, *, publishing: bool) -> None:
    """Refuse a channel that this client may not use. Raises `GatewayError`."""
    if len(name) > _MAX_NAME or not name.isprintable():
        raise GatewayError(
            Code.INVALID, f"a channel's name has at most {_MAX_NAME} printable characters"
        )
    if m.document_of(name) is not None:
        raise GatewayError(Code.INVALID, "a document is changed by submit, not by publish")
    assert client.identity is not None
    if client.identity.is_admin:
        return
    if name.startswith("$"):
        raise GatewayError(Code.FORBIDDEN, "channels that begin with '$' are the gateway's own")
    is_private = name.startswith(_USER_PREFIX) and not publishing
    if is_private and name != _USER_PREFIX + client.identity.user_id:
        raise GatewayError(Code.FORBIDDEN, f"{name} is another user's channel")

"""Who is connected, and who listens to which channel: fan-out without copies.

A publication gets the channel's next offset, is encoded once per codec, and its bytes are put in
each listener's outbox; nobody waits for anybody. A channel keeps its newest publications so that a
client that was away can recover; when it cannot, the answer says so. Channels of documents are the
state service's and do not pass through here.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.client import Client, Encoded
from gateway.close_codes import CloseCode
from gateway.errors import Code, GatewayError
from gateway.messages import Envelope, Json, Message, Position, Recovered
from gateway.outbox import Policy
from svckit.clock import Clock


@dataclass(frozen=True, slots=True)
class HubLimits:
    """The bounds of channels."""

    max_channels: int = 10_000
    """Channels in all; idle ones are forgotten first."""
    max_channels_per_client: int = 128
    history_messages: int = 256
    """Publications that a channel keeps for recovery."""
    history_bytes: int = 1 << 20
    history_s: float = 300.0
    """Seconds for which a publication can be recovered, and an idle channel is kept."""


class _Channel:
    __slots__ = ("epoch", "history", "history_bytes", "listeners", "offset", "touched_ns")

    def __init__(self, epoch: str, now_ns: int) -> None:
        self.epoch = epoch
        self.offset = 0
        self.touched_ns = now_ns
        self.listeners: dict[Client, Policy | None] = {}
        self.history: deque[tuple[int, int, Encoded, int]] = deque()
        self.history_bytes = 0


class Hub:
    """The clients of this process and their channels."""

    def __init__(self, clock: Clock, epochs: Callable[[], str], limits: HubLimits) -> None:
        """*epochs* names the life of a channel: a new one never repeats."""
        self._clock = clock
        self._epochs = epochs
        self._limits = limits
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        self._clients: dict[str, Client] = {}
        self._by_session: dict[str, Client] = {}
        self._by_user: dict[str, set[Client]] = {}
        self.published = 0
        self.delivered = 0

    # Clients

    def add(self, client: Client) -> None:
        """Take in a new connection."""
        self._clients[client.id] = client

    def bind(self, client: Client) -> Client | None:
        """Index a client that has logged in; returns the one that held its session before."""
        assert client.identity is not None
        previous = self._by_session.get(client.session_id)
        self._by_session[client.session_id] = client
        self._by_user.setdefault(client.identity.user_id, set()).add(client)
        return previous if previous is not client else None

    def unbind(self, client: Client) -> None:
        """Forget a client's user and session, and its channels."""
        for name in list(client.channels):
            self.leave(client, name)
        if self._by_session.get(client.session_id) is client:
            del self._by_session[client.session_id]
        if client.identity is not None:
            mine = self._by_user.get(client.identity.user_id)
            if mine is not None:
                mine.discard(client)
                if not mine:
                    del self._by_user[client.identity.user_id]

    def remove(self, client: Client) -> None:
        """Forget a connection that has ended."""
        self.unbind(client)
        self._clients.pop(client.id, None)

    def of_user(self, user_id: str) -> list[Client]:
        """Return the clients of a user."""
        return list(self._by_user.get(user_id, ()))

    def of_session(self, session_id: str) -> Client | None:
        """Return the client that has a session."""
        return self._by_session.get(session_id)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def users(self) -> int:
        """How many users are here."""
        return len(self._by_user)

    @property
    def channels(self) -> int:
        """How many channels are known."""
        return len(self._channels)

    def overdue(self) -> list[tuple[Client, CloseCode]]:
        """Return the clients that broke a deadline, with the code to close them with."""
        now_ns = self._clock.monotonic_ns()
        found = ((client, client.overdue(now_ns)) for client in self._clients.values())
        return [(client, code) for client, code in found if code is not None]

    # Channels

    def join(
        self,
        client: Client,
        name: str,
        position: Position | None = None,
        *,
        policy: Policy | None = None,
    ) -> tuple[Recovered, list[Encoded]]:
        """Let *client* listen to a channel; returns where it stands and what it missed.

        The caller sends its reply and then what was missed before it awaits anything, so that
        nothing can come between. Raises `GatewayError` at the client's bound.
        """
        if (
            name not in client.channels
            and len(client.channels) >= self._limits.max_channels_per_client
        ):
            raise GatewayError(
                Code.LIMIT_REACHED,
                f"a client may listen to {self._limits.max_channels_per_client} channels; "
                "unsubscribe from one first",
            )
        channel = self._open(name)
        missed: list[Encoded] = []
        recovered = False
        if position is not None:
            missed, recovered = self._missed(channel, position)
        channel.listeners[client] = policy
        client.channels.add(name)
        return Recovered(name, channel.offset, channel.epoch, recovered), missed

    def leave(self, client: Client, name: str) -> None:
        """Stop *client* listening; leaving twice is no error."""
        client.channels.discard(name)
        channel = self._channels.get(name)
        if channel is not None:
            channel.listeners.pop(client, None)
            channel.touched_ns = self._clock.monotonic_ns()

    def publish(
        self,
        name: str,
        *,
        value: Json = None,
        payload: bytes = b"",
        sender: str = "",
        key: str = "",
    ) -> tuple[int, str, int]:
        """Send to everybody who listens to *name*; returns offset, epoch and how many they are."""
        channel = self._open(name)
        channel.offset += 1
        envelope = Envelope(
            Message(value=value, sender=sender),
            channel=name,
            offset=channel.offset,
            epoch=channel.epoch,
            payload=payload,
        )
        encoded = Encoded(envelope, key=key)
        self._remember(channel, encoded, len(payload) + 64)
        self.published += 1
        self.delivered += len(channel.listeners)
        for client, policy in list(channel.listeners.items()):
            client.push(encoded, policy)
        return channel.offset, channel.epoch, len(channel.listeners)

    def listeners(self, name: str) -> int:
        """Return how many clients listen to a channel."""
        channel = self._channels.get(name)
        return len(channel.listeners) if channel is not None else 0

    def sweep(self) -> None:
        """Forget what is too old to be recovered, and channels that nobody listens to."""
        now_ns = self._clock.monotonic_ns()
        oldest_ns = now_ns - int(self._limits.history_s * 1e9)
        for name, channel in list(self._channels.items()):
            while channel.history and channel.history[0][1] < oldest_ns:
                channel.history_bytes -= channel.history.popleft()[3]
            if not channel.listeners and channel.touched_ns < oldest_ns:
                del self._channels[name]

    def _open(self, name: str) -> _Channel:
        now_ns = self._clock.monotonic_ns()
        channel = self._channels.get(name)
        if channel is None:
            if len(self._channels) >= self._limits.max_channels and not self._evict():
                raise GatewayError(
                    Code.LIMIT_REACHED, "there are too many channels in use; try again later"
                )
            channel = self._channels[name] = _Channel(self._epochs(), now_ns)
        else:
            self._channels.move_to_end(name)
        channel.touched_ns = now_ns
        return channel

    def _evict(self) -> bool:
        """Forget the channel that was idle longest; a later recovery then says so honestly."""
        for name, channel in self._channels.items():
            if not channel.listeners:
                del self._channels[name]
                return True
        return False

    def _remember(self, channel: _Channel, encoded: Encoded, size: int) -> None:
        history = channel.history
        history.append((channel.offset, self._clock.monotonic_ns(), encoded, size))
        channel.history_bytes += size
        limits = self._limits
        while (
            len(history) > limits.history_messages or channel.history_bytes > limits.history_bytes
        ):
            channel.history_bytes -= history.popleft()[3]

    def _missed(self, channel: _Channel, position: Position) -> tuple[list[Encoded], bool]:
        if position.epoch != channel.epoch or position.offset > channel.offset:
            return [], False
        missed = [item[2] for item in channel.history if item[0] > position.offset]
        is_whole = len(missed) == channel.offset - position.offset
        return (missed, True) if is_whole else ([], False)

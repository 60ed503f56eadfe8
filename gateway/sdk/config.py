"""The knobs of a client, with defaults for people editing over the internet."""

from dataclasses import dataclass, fields

from gateway.sdk.errors import InvalidCall


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How patient, how eager and how large a client is.

    Raises:
        InvalidCall: a value is not positive where it must be; the message names it.
    """

    connect_timeout_s: float = 10.0
    """For one attempt: transport, greeting and login. Too short fails on slow links."""
    request_timeout_s: float = 15.0
    """Until an answer is given up, reconnects included. Too short gives up what would be done."""
    ping_interval_s: float = 1.0
    """Between pings. Too long notices a dead gateway late; too short wakes a phone too often."""
    dead_after_s: float = 5.0
    """Silence after which the gateway counts as dead. Too short reconnects on a bad link."""
    backoff_min_s: float = 0.1
    """The longest first pause before reconnecting; pauses are random from 0 to their bound."""
    backoff_max_s: float = 5.0
    """The longest pause. Too long returns late; too short storms a gateway that comes back."""
    accepted_acks: bool = True
    """Ask for the *accepted* acknowledgement as well; without it `Edit.accepted` waits for the
    durable one, and each edit costs a message less."""
    window_operations: int = 512
    """Edits of one document under way at once. Too few waits on the round trip."""
    window_bytes: int = 512 * 1024
    """Their bytes."""
    max_pending: int = 20_000
    """Edits of one document that may wait for the gateway; above it editing raises."""
    max_held: int = 50_000
    """Remote operations a holding document keeps unapplied; the rest is fetched later."""
    max_events: int = 4096
    """Unread events that an iterator keeps; above it the oldest go and it is told."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            is_size = not isinstance(value, bool) and not item.name.startswith("backoff")
            if is_size and not value > 0:
                raise InvalidCall(f"{item.name} must be above 0, not {value!r}")
        if not 0 <= self.backoff_min_s <= self.backoff_max_s:
            raise InvalidCall("backoff_min_s must be from 0 to backoff_max_s")

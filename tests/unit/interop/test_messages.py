"""Messages that are given up, between two oracles and at the receiver alone."""

from collections.abc import Callable

import pytest

from interop.reference import Config
from interop.reference.errors import Code, ViolationError
from interop.reference.events import Event, MessageReceived
from interop.reference.frames import MaxMessageData, Message, MessageExpired, MessagePart
from interop.reference.hello import Parameters
from interop.reference.messages import Messages
from tests.support.oracle import pair

LIMITS = Parameters(max_message_data=2001, max_message_bytes=1000)


def receiver() -> tuple[Messages, list[Event]]:
    events: list[Event] = []
    return Messages(LIMITS, events.append), events


def test_a_message_given_up_is_not_delivered_and_its_id_not_missed() -> None:
    messages, events = receiver()
    messages.handle_part(MessagePart(0, 10, 0, b"12345"))
    messages.handle_expired(MessageExpired(0, 10))
    assert messages.incoming == {}
    assert messages.lowest_missing == 1
    messages.handle_part(MessagePart(0, 10, 5, b"67890"))
    messages.handle_message(Message(0, b"1234567890"))
    assert events == []


def test_a_message_given_up_counts_once_in_flow_control() -> None:
    messages, _ = receiver()
    messages.handle_part(MessagePart(0, 1000, 0, b"x"))
    messages.handle_expired(MessageExpired(0, 1000))
    messages.handle_expired(MessageExpired(0, 1000))
    messages.handle_expired(MessageExpired(1, 999))
    assert messages.credit_counted == messages.credit_consumed == 2001
    with pytest.raises(ViolationError) as caught:
        messages.handle_expired(MessageExpired(2, 0))
    assert caught.value.code is Code.MESSAGE_LIMIT


def test_a_delivered_message_stays_delivered_whatever_comes() -> None:
    messages, events = receiver()
    messages.handle_message(Message(0, b"whole"))
    messages.handle_expired(MessageExpired(0, 5000))
    assert events == [MessageReceived(0, b"whole")]
    assert messages.credit_counted == 6


@pytest.mark.parametrize(
    ("before", "frame"),
    [
        (None, MessageExpired(0, 1001)),
        (None, MessageExpired(65536, 0)),
        (MessagePart(0, 10, 0, b"1"), MessageExpired(0, 11)),
    ],
)
def test_an_impossible_size_closes(before: MessagePart | None, frame: MessageExpired) -> None:
    messages, _ = receiver()
    if before is not None:
        messages.handle_part(before)
    with pytest.raises(ViolationError) as caught:
        messages.handle_expired(frame)
    assert caught.value.code is Code.MESSAGE_LIMIT


def sender(limit: int = 2001) -> Messages:
    messages = Messages(Parameters(), lambda event: None)
    messages.handle_parameters(Parameters(max_message_data=limit, max_message_bytes=1000))
    return messages


def take(messages: Messages) -> Message | MessagePart | MessageExpired | None:
    return messages.take_data(1100, 1100)


def test_a_message_given_up_before_it_was_sent_costs_its_credit() -> None:
    messages = sender(1001)
    first, second = messages.send(bytes(1000)), messages.send(b"x")
    messages.expire(first)
    assert take(messages) == MessageExpired(first, 1000)
    assert take(messages) is None
    messages.handle_limit(MaxMessageData(2001))
    assert take(messages) == Message(second, b"x")


def test_ids_are_first_sent_in_their_order_even_when_a_later_one_would_fit() -> None:
    messages = sender(500)
    messages.send(bytes(600))
    messages.send(b"small")
    assert take(messages) is None


def test_an_expiry_is_repeated_until_it_or_the_message_is_acknowledged() -> None:
    def lost_again(messages: Messages) -> MessageExpired:
        frame = take(messages)
        assert isinstance(frame, MessageExpired)
        messages.handle_lost(frame)
        return frame

    ends: list[Callable[[Messages, MessageExpired], None]] = [
        lambda messages, frame: messages.handle_acked(frame),
        lambda messages, frame: messages.handle_acked(Message(0, b"late")),
    ]
    for end in ends:
        messages = sender()
        messages.send(b"late")
        assert take(messages) == Message(0, b"late")
        messages.expire(0)
        end(messages, lost_again(messages))
        assert take(messages) is None
        assert not messages.outgoing
        messages.expire(0)
        assert not messages.outgoing


@pytest.mark.parametrize("seed", range(3))
def test_messages_that_are_given_up_on_a_bad_link_do_not_stop_the_others(seed: int) -> None:
    both = pair(client_config=Config(), seed=seed)
    both.establish()
    both.link.drop = lambda side, data: side == "left"
    for number in range(200):
        both.client.send_message(bytes([number]) * 3000)
    both.run_for(0.2)
    for number in range(0, 200, 2):
        both.client.expire_message(number)
    lost = iter(range(10**9))
    both.link.drop = lambda side, data: next(lost) % 5 == seed
    both.run_until(lambda: both.client.is_flushed, 120)
    arrived = [e.data for e in both.server_events if isinstance(e, MessageReceived)]
    assert arrived
    assert len(set(arrived)) == len(arrived)
    assert {bytes([n]) * 3000 for n in range(1, 200, 2)} <= set(arrived)
    assert both.server.messages.lowest_missing == 200
    assert both.server.messages.incoming == {}

"""Queues of subscribers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from statesync.api import Event, EventType, Lock
from statesync.fanout import Fanout, Outlet


def applied(version: int) -> Event:
    return Event(EventType.OPERATION_APPLIED, "d", version)


def joined(user: str) -> Event:
    return Event(EventType.USER_JOINED, "d", 0, user_id=user)


def outlet(limit: int = 4, version: int = 0) -> Outlet:
    made = Outlet(version, limit, "anna")
    made.caught_up(version)
    return made


@given(st.lists(st.integers(0, 9), max_size=80), st.integers(1, 5))
def test_a_reader_of_any_speed_gets_every_operation_once_and_in_order(
    script: list[int], limit: int
) -> None:
    fanout, reader, got = Fanout(0), outlet(limit), list[int]()
    fanout.add(reader)

    def read_all() -> None:
        while True:
            if reader.lagging:
                got.extend(range(reader.version + 1, fanout.version + 1))
                reader.caught_up(fanout.version)
            event = reader.pop()
            if event is None:
                return
            got.append(event.version)

    for count in script:
        for _ in range(count):
            fanout.publish(applied(fanout.version + 1))
        if count % 3 == 0:
            read_all()
        assert len(reader) <= limit
    read_all()
    assert got == list(range(1, sum(script) + 1))


def test_an_overflow_drops_the_queue_and_not_the_other_events() -> None:
    reader = outlet(limit=2)
    reader.push(applied(1))
    reader.push(joined("ben"))
    reader.push(applied(2))
    reader.push(applied(3))
    assert (reader.lagging, reader.overflows, reader.version) == (True, 1, 0)
    event = reader.pop()
    assert event is not None
    assert event.type is EventType.USER_JOINED
    assert reader.pop() is None
    reader.caught_up(3)
    reader.push(applied(4))
    event = reader.pop()
    assert event is not None
    assert event.version == 4


def test_of_events_about_one_thing_the_last_waits() -> None:
    reader = outlet()
    lock = Lock("d", ("a",), "ben", "", 1, 0, 0)
    held = Event(EventType.LOCK_ACQUIRED, "d", 0, lock=lock)
    elsewhere = replace(held, lock=replace(lock, target=("b",)))
    free = replace(held, type=EventType.LOCK_RELEASED)
    for event in (joined("ben"), held, joined("eve"), elsewhere, free):
        reader.push(event)
    gone = replace(joined("ben"), type=EventType.USER_LEFT)
    reader.push(gone)
    assert [reader.pop() for _ in range(4)] == [joined("eve"), elsewhere, free, gone]
    assert len(reader) == 0


def test_events_that_all_count_are_bounded_and_counted() -> None:
    reader = outlet(limit=3)
    for number in range(10):
        reader.push(Event(EventType.CONFLICT_DETECTED, "d", number))
    assert (len(reader), reader.dropped) == (3, 7)
    event = reader.pop()
    assert event is not None
    assert event.version == 7


def test_a_user_is_there_as_long_as_one_outlet_is() -> None:
    fanout, first, second = Fanout(5), outlet(), outlet()
    assert fanout.add(first)
    assert not fanout.add(second)
    assert fanout.users == ("anna",)
    assert not fanout.remove(first)
    assert not fanout.remove(first)
    assert fanout.remove(second)
    assert (fanout.users, len(fanout)) == ((), 0)

"""The outbox: order, bounds and policies."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import Item, Outbox, Policy


def drain(outbox: Outbox) -> list[bytes]:
    found = []
    while batch := outbox.take(1 << 20):
        found += batch
    return found


def test_items_leave_in_the_order_in_which_they_came() -> None:
    outbox = Outbox()
    for n in range(10):
        assert outbox.put(Item(b"%d" % n, "c" if n % 2 else ""))
    assert drain(outbox) == [b"%d" % n for n in range(10)]
    assert outbox.queued_bytes == 0


def test_a_full_outbox_disconnects_by_default() -> None:
    outbox = Outbox(max_messages=2)
    assert outbox.put(Item(b"a", "c"))
    assert outbox.put(Item(b"b", "c"))
    assert not outbox.put(Item(b"c", "c"))
    assert drain(outbox) == [b"a", b"b"]


def test_the_oldest_push_is_dropped_and_its_channel_remembered() -> None:
    outbox = Outbox(max_messages=3)
    outbox.put(Item(b"reply"))
    outbox.put(Item(b"old", "c"))
    outbox.put(Item(b"new", "d"))
    assert outbox.put(Item(b"newest", "d"), Policy.DROP_OLDEST)
    assert outbox.take_lossy() == ["c"]
    assert outbox.take_lossy() == []
    assert drain(outbox) == [b"reply", b"new", b"newest"]
    assert outbox.dropped == 1


def test_a_reply_is_never_dropped() -> None:
    outbox = Outbox(max_messages=2)
    outbox.put(Item(b"one"))
    outbox.put(Item(b"two"))
    assert not outbox.put(Item(b"push", "c"), Policy.DROP_OLDEST)
    assert drain(outbox) == [b"one", b"two"]


def test_a_newer_push_replaces_an_unsent_one_with_its_key() -> None:
    outbox = Outbox()
    outbox.put(Item(b"x=1", "c", "x"), Policy.COALESCE)
    outbox.put(Item(b"y=1", "c", "y"), Policy.COALESCE)
    outbox.put(Item(b"x=2", "c", "x"), Policy.COALESCE)
    assert drain(outbox) == [b"y=1", b"x=2"]
    assert outbox.coalesced == 1


def test_the_same_key_in_another_channel_is_another_key() -> None:
    outbox = Outbox()
    outbox.put(Item(b"a", "c", "k"), Policy.COALESCE)
    outbox.put(Item(b"b", "d", "k"), Policy.COALESCE)
    assert drain(outbox) == [b"a", b"b"]


def test_one_message_above_the_bound_still_goes_out() -> None:
    outbox = Outbox(max_bytes=10)
    assert outbox.put(Item(b"x" * 50))
    assert not outbox.put(Item(b"y"))
    assert outbox.take(5) == [b"x" * 50]


def test_it_is_busy_above_half() -> None:
    outbox = Outbox(max_messages=4)
    outbox.put(Item(b"a"))
    outbox.put(Item(b"b"))
    assert not outbox.is_busy
    outbox.put(Item(b"c"))
    assert outbox.is_busy


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=20),
            st.sampled_from(["", "c", "d"]),
            st.sampled_from(["", "k", "l"]),
            st.sampled_from(Policy),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_the_bounds_hold_whatever_comes(
    steps: list[tuple[bytes, str, str, Policy, bool]],
) -> None:
    outbox = Outbox(max_messages=5, max_bytes=60)
    taken = []
    for data, channel, key, policy, must_take in steps:
        outbox.put(Item(data, channel, key if channel else ""), policy)
        assert len(outbox) <= 5
        assert outbox.queued_bytes <= 60
        if must_take:
            taken += outbox.take(30)
    taken += drain(outbox)
    assert outbox.queued_bytes == 0
    assert len(outbox._pushes) == 0
    assert not outbox._keys

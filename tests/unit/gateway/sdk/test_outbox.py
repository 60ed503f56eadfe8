import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.messages import Ack, Submit
from gateway.sdk import EditRefused, TooManyPending
from gateway.sdk.outbox import Edit, Outbox


def edit(box: Outbox) -> Edit:
    made = Edit(Submit("d", "text", "c", box.next_seq, update=b"x"))
    box.add(made)
    return made


def ack(client_seq: int) -> Ack:
    return Ack("d", "c", client_seq, "durable", version=client_seq)


def test_edits_leave_in_order_within_the_window() -> None:
    box = Outbox(10, 2, 1 << 20)
    first, second, third = edit(box), edit(box), edit(box)
    assert [box.take(), box.take(), box.take()] == [first, second, None]
    assert box.settle(ack(1))
    assert box.take() is third


def test_the_window_counts_bytes_but_lets_one_pass() -> None:
    box = Outbox(10, 10, 1)
    first = edit(box)
    edit(box)
    assert box.take() is first
    assert box.take() is None


def test_a_lost_connection_sends_everything_that_is_not_durable_again() -> None:
    box = Outbox(10, 10, 1 << 20)
    edits = [edit(box) for _ in range(3)]
    while box.take():
        pass
    box.settle(ack(1))
    box.rewind()
    assert [box.take(), box.take(), box.take()] == [edits[1], edits[2], None]
    assert box.resent == 2


def test_an_acknowledgement_out_of_order_keeps_the_earlier_edit() -> None:
    box = Outbox(10, 10, 1 << 20)
    first, second = edit(box), edit(box)
    box.take()
    box.take()
    assert box.settle(ack(2))
    assert second.is_durable
    assert box.pending() == (first, second)
    assert box.settle(ack(1))
    assert len(box) == 0


def test_an_edit_is_settled_once() -> None:
    box = Outbox(10, 10, 1 << 20)
    edit(box)
    box.take()
    assert box.settle(ack(1))
    assert not box.settle(ack(1))
    assert not box.settle(ack(7))


def test_a_full_outbox_says_what_to_await() -> None:
    box = Outbox(1, 10, 1 << 20)
    edit(box)
    with pytest.raises(TooManyPending, match=r"await document\.room"):
        box.check_room()


async def test_refused_edits_fail_and_their_sequences_are_used_again() -> None:
    box = Outbox(10, 10, 1 << 20)
    first, second, third = edit(box), edit(box), edit(box)
    while box.take():
        pass
    error = EditRefused("forbidden", "no")
    assert box.drop_from(2, error) == [second, third]
    assert box.next_seq == 2
    with pytest.raises(EditRefused):
        await third.durable()
    assert box.pending() == (first,)
    again = edit(box)
    assert box.take() is again


@given(st.lists(st.sampled_from(["add", "take", "settle", "rewind"]), max_size=80))
def test_every_edit_is_sent_in_order_and_forgotten_only_when_durable(steps: list[str]) -> None:
    box = Outbox(100, 4, 1 << 20)
    sent: list[int] = []
    durable = 0
    for step in steps:
        if step == "add":
            edit(box)
        elif step == "take" and (taken := box.take()) is not None:
            assert taken.client_seq == (sent[-1] + 1 if sent else durable + 1)
            sent.append(taken.client_seq)
        elif step == "settle" and sent:
            durable += 1
            assert box.settle(ack(durable))
            sent.remove(durable)
        elif step == "rewind":
            box.rewind()
            sent.clear()
        expected = range(durable + 1, box.next_seq)
        assert [item.client_seq for item in box.pending()] == list(expected)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.messages import Operation, Snapshot, Submit
from gateway.sdk import InvalidCall
from gateway.sdk.replica import Patch, TextReplica, TreeReplica

CHARACTERS = "ab\u00e9\u65e5\U0001f600\U0001f468\u200d"


def operation(update: bytes, version: int = 1) -> Operation:
    return Operation("d", "text", client="c", client_seq=version, update=update, version=version)


def test_positions_are_code_points_with_emoji_included() -> None:
    replica = TextReplica(Snapshot())
    replica.patch([(0, 0, "a\U0001f600b\u00e9c")])
    replica.patch([(2, 0, "X")])
    replica.patch([(1, 1, "")])
    assert replica.text == "aXb\u00e9c"


def test_several_patches_travel_as_one_update() -> None:
    one, other = TextReplica(Snapshot()), TextReplica(Snapshot())
    update = one.patch([(0, 0, "hello"), (5, 0, " w\u00f6rld"), (0, 1, "J")])
    other.apply(operation(update), is_echo=False)
    assert one.text == other.text == "Jello w\u00f6rld"


@given(st.data())
def test_any_edits_leave_both_copies_as_a_string_would_be(data: st.DataObject) -> None:
    one, other = TextReplica(Snapshot()), TextReplica(Snapshot())
    text = ""
    for version in range(1, data.draw(st.integers(1, 6)) + 1):
        patches: list[Patch] = []
        for _ in range(data.draw(st.integers(1, 3))):
            position = data.draw(st.integers(0, len(text)))
            deleted = data.draw(st.integers(0, len(text) - position))
            inserted = data.draw(st.text(CHARACTERS, max_size=4))
            patches.append((position, deleted, inserted))
            text = text[:position] + inserted + text[position + deleted :]
        other.apply(operation(one.patch(patches), version), is_echo=False)
    assert one.text == text
    assert other.text == text


@pytest.mark.parametrize("patch", [(4, 0, "x"), (-1, 0, "x"), (0, 4, ""), (2, 2, "")])
def test_a_patch_outside_the_text_changes_nothing(patch: Patch) -> None:
    replica = TextReplica(Snapshot())
    replica.patch([(0, 0, "abc")])
    with pytest.raises(InvalidCall, match="3 characters"):
        replica.patch([(0, 0, ""), patch])
    assert replica.text == "abc"


def test_half_a_surrogate_pair_is_refused_in_words() -> None:
    with pytest.raises(InvalidCall, match="surrogate"):
        TextReplica(Snapshot()).patch([(0, 0, "\ud83d")])


def test_a_hostile_update_is_counted_and_changes_nothing() -> None:
    replica = TextReplica(Snapshot())
    replica.patch([(0, 0, "abc")])
    replica.apply(operation(b"\xff\xff\xff"), is_echo=False)
    assert (replica.text, replica.updates_unfit) == ("abc", 1)


def test_a_structured_document_shows_edits_under_way_over_the_log() -> None:
    replica = TreeReplica(Snapshot(0, {"box": {"x": 1}}))
    mine = Submit("d", "move", "me", 1, target=("box",), value={"x": 5})
    assert replica.content([mine]) == {"box": {"x": 5}}
    theirs = Operation("d", "update", "c", 1, target=("box", "y"), value=2, version=1)
    replica.apply(theirs, is_echo=False)
    assert replica.content([mine]) == {"box": {"x": 5, "y": 2}}
    echo = Operation("d", "move", "me", 1, target=("box",), value={"x": 5}, version=2, altered=True)
    replica.apply(echo, is_echo=True)
    assert replica.content([]) == {"box": {"x": 1, "y": 2}}


def test_an_edit_that_cannot_fit_is_refused_in_words() -> None:
    replica = TreeReplica(Snapshot(0, {"box": {"x": 1}}))
    with pytest.raises(InvalidCall):
        replica.check(Submit("d", "move", "me", 1, target=("box",), value={"speed": 1}), [])

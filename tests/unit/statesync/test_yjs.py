"""Reading Yjs updates: what pycrdt writes is understood, what is hostile is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from statesync.api import InvalidOperation
from statesync.strategies.text import TextContent, TextStrategy, plain_text
from statesync.yjs import MalformedUpdate, read_state_vector, read_update

edits = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1), st.integers(0, 3), st.text(max_size=4)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=80)
@given(edits)
def test_every_update_of_an_editor_is_founded_where_it_was_made(
    script: list[tuple[int, float, int, str]],
) -> None:
    replicas = [TextContent(client_id=1), TextContent(client_id=2**40)]
    server, model = TextContent(), ""
    for who, place, deleted, inserted in script:
        replica = replicas[who]
        replica.apply(server.encode())
        assert replica.text() == server.text() == model
        position = int(place * len(model))
        deleted = min(deleted, len(model) - position)
        server.apply(replica.edit(position, deleted, inserted))
        model = model[:position] + inserted + model[position + deleted :]
    assert plain_text(server.encode()) == model
    assert server._clocks == read_state_vector(server.state_vector())


@given(edits, st.randoms())
def test_updates_in_any_order_are_refused_until_they_are_founded(
    script: list[tuple[int, float, int, str]], dice: "object"
) -> None:
    author, updates = TextContent(), []
    for _, place, deleted, inserted in script:
        position = int(place * len(author.text()))
        deleted = min(deleted, len(author.text()) - position)
        updates.append(author.edit(position, deleted, inserted))
    waiting = list(updates)
    dice.shuffle(waiting)  # type: ignore[attr-defined]
    server = TextContent()
    while waiting:
        refused = []
        for update in waiting:
            try:
                server.apply(update)
            except InvalidOperation:
                refused.append(update)
            # What is taken in survives being written down, which is the point of refusing.
            assert plain_text(server.encode()) == server.text()
        assert len(refused) < len(waiting)
        waiting = refused
    assert server.text() == author.text()


def test_shared_types_other_than_text_are_understood() -> None:
    doc: Doc[object] = Doc()
    doc["map"] = Map({"a": 1, "b": [1, {"c": None}], "d": 2.5, "e": True, "f": "ü😀"})
    doc["list"] = Array([1, "two", b"three", Map({"deep": Text("x")})])
    doc["text"] = text = Text("bold")
    text.format(0, 2, {"bold": True})
    text.insert_embed(2, {"image": "x"})
    del doc["map"]["a"]  # type: ignore[attr-defined]
    update = doc.get_update()
    extent = read_update(update)
    assert not extent.missing_from({})
    clocks: dict[int, int] = {}
    extent.advance(clocks)
    assert clocks == read_state_vector(doc.get_state())


@given(st.binary(max_size=80))
def test_no_bytes_crash_the_reader_or_the_text(junk: bytes) -> None:
    try:
        read_update(junk)
    except MalformedUpdate:
        pass
    content = TextContent()
    try:
        content.apply(junk)
    except InvalidOperation:
        assert content.encode() == b"\0\0"


@given(st.data())
def test_a_damaged_update_is_refused_or_harmless(data: st.DataObject) -> None:
    author = TextContent(client_id=7)
    update = author.edit(0, 0, "hello 😀 world")
    later = author.edit(2, 5, "x")
    victim = bytearray(data.draw(st.sampled_from([update, later])))
    place = data.draw(st.integers(0, len(victim) - 1))
    victim[place] ^= data.draw(st.integers(1, 255))
    content = TextContent()
    if victim[1:] != update[1:]:
        content.apply(update)
    before = content.text()
    try:
        content.apply(bytes(victim))
    except InvalidOperation:
        assert content.text() == before
    assert plain_text(content.encode()) == content.text()


@pytest.mark.parametrize(
    "junk", [b"", b"\1", b"\xff" * 12, b"\0\0\0", b"\1\1\1\0\x8b\1\0", b"\1\1\1\0\x07\1\1t\x09\0"]
)
def test_what_is_no_update_is_refused(junk: bytes) -> None:
    with pytest.raises(MalformedUpdate):
        read_update(junk)


def test_an_edit_outside_the_text_is_refused() -> None:
    content = TextContent(TextStrategy().initial("abc"))
    for position, deleted in ((-1, 0), (0, -1), (4, 0), (2, 2)):
        with pytest.raises(InvalidOperation, match="3 characters"):
            content.edit(position, deleted, "x")
    with pytest.raises(InvalidOperation, match="surrogate"):
        TextStrategy().initial("\ud800")


def test_an_update_says_only_what_changed() -> None:
    author = TextContent()
    author.edit(0, 0, "x" * 1000)
    for _ in range(500):
        author.edit(0, 2, "y")
    assert len(author.edit(0, 1, "z")) < 60


def test_another_replica_is_brought_up_to_date_by_its_state_vector() -> None:
    author, reader = TextContent(), TextContent()
    reader.apply(author.edit(0, 0, "one "))
    author.edit(4, 0, "two")
    reader.apply(author.missing_for(reader.state_vector()))
    assert reader.text() == "one two"
    with pytest.raises(InvalidOperation, match="state vector"):
        author.missing_for(b"\xff\xff")

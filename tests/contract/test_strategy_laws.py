"""Every strategy keeps the laws that it declares."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statesync.api import Stamp
from statesync.strategies import STRATEGIES
from statesync.strategies.text import TextContent
from statesync.strategy import (
    ASSOCIATIVE,
    COMMUTATIVE,
    IDEMPOTENT,
    ConflictStrategy,
    ContentStrategy,
    Merged,
    Strategy,
    Write,
)
from statesync.tree import MISSING, Value, same

LAWS = {COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT}
ALL = [STRATEGIES.load(name)() for name in STRATEGIES]
DECIDING = [s for s in ALL if isinstance(s, ConflictStrategy) and s.laws]
CONTENT = [s for s in ALL if isinstance(s, ContentStrategy)]

leaves = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "b"])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=8,
)
values = trees | st.just(MISSING)
# Few stamps, so that ties happen.
stamps = st.builds(Stamp, st.integers(0, 2), st.integers(0, 1), st.sampled_from("ab"))
writes = st.builds(Write, values, stamps)


def declaring(law: str) -> list[ConflictStrategy]:
    return [s for s in DECIDING if law in s.laws]


def merged(strategy: ConflictStrategy, base: Value, left: Write, right: Write) -> Merged:
    found = strategy.merge(base, left, right)
    assert found is not None
    return found


def lost(found: Merged) -> list[tuple[object, ...]]:
    return sorted(((w.path, w.stamp, repr(w.value)) for w in found.lost), key=repr)


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: type(s).__name__)
def test_only_known_laws_are_declared(strategy: Strategy) -> None:
    assert strategy.laws <= LAWS
    assert isinstance(strategy, ConflictStrategy) is not isinstance(strategy, ContentStrategy)


@pytest.mark.parametrize("strategy", declaring(COMMUTATIVE), ids=lambda s: type(s).__name__)
@given(base=values, left=writes, right=writes)
def test_the_order_of_the_sides_does_not_matter(
    strategy: ConflictStrategy, base: Value, left: Write, right: Write
) -> None:
    one, other = merged(strategy, base, left, right), merged(strategy, base, right, left)
    assert same(one.value, other.value)
    assert one.stamp == other.stamp
    assert lost(one) == lost(other)


@pytest.mark.parametrize("strategy", declaring(ASSOCIATIVE), ids=lambda s: type(s).__name__)
@given(base=values, sides=st.tuples(writes, writes, writes))
def test_it_does_not_matter_which_two_meet_first(
    strategy: ConflictStrategy, base: Value, sides: tuple[Write, Write, Write]
) -> None:
    a, b, c = sides
    ab, bc = merged(strategy, base, a, b), merged(strategy, base, b, c)
    one = merged(strategy, base, Write(ab.value, ab.stamp), c)
    other = merged(strategy, base, a, Write(bc.value, bc.stamp))
    assert same(one.value, other.value)


@pytest.mark.parametrize("strategy", declaring(IDEMPOTENT), ids=lambda s: type(s).__name__)
@given(base=values, side=writes)
def test_equal_sides_lose_nothing(strategy: ConflictStrategy, base: Value, side: Write) -> None:
    found = merged(strategy, base, side, side)
    assert same(found.value, side.value)
    assert found.lost == ()


@pytest.mark.parametrize("strategy", DECIDING, ids=lambda s: type(s).__name__)
@given(base=values, left=writes, right=writes)
def test_a_side_that_changed_nothing_costs_the_other_nothing(
    strategy: ConflictStrategy, base: Value, left: Write, right: Write
) -> None:
    found = merged(strategy, base, Write(base, right.stamp), left)
    if same(found.value, left.value):
        assert found.lost == ()
    else:
        assert [(w.path, w.stamp) for w in found.lost] == [((), left.stamp)]


@pytest.mark.parametrize("strategy", DECIDING, ids=lambda s: type(s).__name__)
@given(base=values, left=writes, right=writes)
def test_what_does_not_stand_is_reported(
    strategy: ConflictStrategy, base: Value, left: Write, right: Write
) -> None:
    found = merged(strategy, base, left, right)
    for side in (left, right):
        stands = same(found.value, side.value) or same(side.value, base)
        is_merged = isinstance(found.value, dict)
        assert stands or is_merged or found.lost


@pytest.mark.parametrize("strategy", CONTENT, ids=lambda s: type(s).__name__)
@settings(max_examples=60)
@given(data=st.data())
def test_content_converges_in_every_order(strategy: ContentStrategy, data: st.DataObject) -> None:
    start = strategy.initial("start 😀")
    updates: list[bytes] = []
    for _ in range(data.draw(st.integers(2, 3))):
        replica = strategy.open(start)
        assert isinstance(replica, TextContent)
        length = len(replica.text())
        position = data.draw(st.integers(0, length))
        deleted = data.draw(st.integers(0, length - position))
        updates.append(replica.edit(position, deleted, data.draw(st.text(max_size=4))))
    texts = set()
    for order in (updates, updates[::-1], updates + updates):
        content = strategy.open(start)
        for update in order:
            content.apply(update)
        again = strategy.open(content.encode())
        assert again.text() == content.text()
        texts.add(content.text())
    assert len(texts) == 1

"""The replica: its past, its plans, and its agreement with another that applies the same log."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statesync.api import (
    Change,
    InvalidOperation,
    JsonValue,
    Operation,
    OperationStatus,
    OperationType,
    Stamp,
)
from statesync.document import HistoryTooShort, Replica, VersionSkipped
from statesync.strategies.last_writer_wins import LastWriterWins
from statesync.strategies.manual import Manual
from statesync.strategies.merge import Merge
from statesync.strategy import ConflictStrategy
from statesync.tree import MISSING, copied_json

keys = st.sampled_from(["a", "b", "c"])
leaves = st.none() | st.booleans() | st.integers(0, 3)
objects = st.recursive(
    st.dictionaries(keys, leaves, max_size=2),
    lambda inner: st.dictionaries(keys, leaves | inner, max_size=3),
    max_leaves=6,
)
paths = st.lists(keys, min_size=1, max_size=3).map(tuple)
numbers = st.integers(0, 3)
edits = st.one_of(
    st.tuples(st.just(OperationType.CREATE), paths, leaves | objects),
    st.tuples(st.just(OperationType.UPDATE), paths, leaves | objects),
    st.tuples(st.just(OperationType.UPDATE), st.just(()), objects),
    st.tuples(st.just(OperationType.DELETE), paths, st.none()),
    st.tuples(st.just(OperationType.MOVE), paths, st.fixed_dictionaries({"x": numbers})),
    st.tuples(st.just(OperationType.STYLE), paths, st.dictionaries(keys, leaves, min_size=1)),
)
scripts = st.lists(st.tuples(edits, st.integers(0, 5), st.integers(0, 4)), max_size=25)


def edit(
    kind: OperationType, target: tuple[str, ...], payload: JsonValue, **more: int
) -> Operation:
    return Operation("d", "c", 1, kind, target, payload, **more)  # type: ignore[arg-type]


def play(
    start: JsonValue,
    script: list[tuple[tuple[OperationType, tuple[str, ...], JsonValue], int, int]],
    strategy: ConflictStrategy,
) -> tuple[Replica, list[Operation], list[JsonValue]]:
    """Return a replica that took what of *script* is legal, its log, and each version's content."""
    replica, log = Replica(copied_json(start)), list[Operation]()
    contents: list[JsonValue] = [copied_json(start)]
    for (kind, target, payload), lag, wall in script:
        base = max(0, replica.version - lag)
        made = replace(
            edit(kind, target, payload, base_version=base), stamp=Stamp(wall, len(log), "n")
        )
        before = replica.value()
        try:
            plan = replica.plan(made, strategy)
            assert replica.value() == before
            made = replace(
                made, version=replica.version + 1, status=plan.status, effect=plan.effect
            )
            replica.apply(made)
        except InvalidOperation:
            assert replica.value() == before
            continue
        log.append(made)
        value = replica.value()
        assert not isinstance(value, bytes)
        contents.append(value)
    return replica, log, contents


@pytest.mark.parametrize(
    "strategy", [LastWriterWins(), Merge(), Manual()], ids=lambda s: type(s).__name__
)
@settings(max_examples=120)
@given(start=objects, script=scripts)
def test_replicas_of_one_log_are_equal_and_remember_every_version(
    strategy: ConflictStrategy, start: JsonValue, script: list[object]
) -> None:
    replica, log, contents = play(start, script, strategy)  # type: ignore[arg-type]
    other = Replica(copied_json(start))
    for operation in log:
        other.apply(operation)
    assert other.value() == replica.value() == contents[-1]
    for version, content in enumerate(contents):
        assert replica.value_at((), version) == content
        for path in (("a",), ("b", "a"), ("c", "c", "c")):
            expected: object = content
            for key in path:
                expected = expected.get(key, MISSING) if isinstance(expected, dict) else MISSING
            assert replica.value_at(path, version) == expected
        assert replica.since(version) == tuple(log[version:])


@given(start=objects, script=scripts)
def test_a_conflict_that_waits_changes_nothing(start: JsonValue, script: list[object]) -> None:
    _, log, contents = play(start, script, Manual())  # type: ignore[arg-type]
    for operation, before, after in zip(log, contents[:-1], contents[1:], strict=True):
        if operation.status is OperationStatus.CONFLICT:
            assert before == after
        else:
            assert operation.status is OperationStatus.APPLIED


def test_an_operation_out_of_turn_is_a_fault_of_the_caller() -> None:
    replica = Replica({})
    with pytest.raises(VersionSkipped):
        replica.apply(edit(OperationType.UPDATE, ("a",), 1, version=2))
    replica.apply(edit(OperationType.UPDATE, ("a",), 1, version=1))
    with pytest.raises(VersionSkipped):
        replica.apply(edit(OperationType.UPDATE, ("a",), 1, version=1))


def test_memory_is_bounded_by_count_and_by_weight() -> None:
    replica = Replica({}, history=5, history_bytes=100)
    for version in range(1, 11):
        replica.apply(edit(OperationType.UPDATE, ("a",), version, version=version), 1)
    assert (replica.oldest, replica.since(4)) == (5, None)
    with pytest.raises(HistoryTooShort):
        replica.value_at(("a",), 4)
    stale = edit(OperationType.UPDATE, ("a",), 0, base_version=4)
    with pytest.raises(HistoryTooShort):
        replica.plan(stale, LastWriterWins())
    replica.apply(edit(OperationType.UPDATE, ("a",), 0, version=11), 99)
    assert replica.oldest == 9


def test_a_preview_shows_ones_own_edits_and_leaves_out_what_does_not_fit() -> None:
    replica = Replica({"a": {"n": 1}})
    mine = [
        edit(OperationType.UPDATE, ("a", "n"), 2),
        edit(OperationType.DELETE, ("gone",), None),
        edit(OperationType.CREATE, ("b",), [1]),
    ]
    assert replica.preview(mine) == {"a": {"n": 2}, "b": [1]}
    assert replica.value() == {"a": {"n": 1}}


def test_an_effect_that_fails_half_way_is_taken_back() -> None:
    replica = Replica({"a": 1, "b": {}})
    torn = replace(
        edit(OperationType.UPDATE, ("b",), None, version=1),
        effect=(Change(("b", "x"), 1), Change(("a", "y"), 1)),
    )
    with pytest.raises(InvalidOperation):
        replica.apply(torn)
    assert (replica.value(), replica.version) == ({"a": 1, "b": {}}, 0)


def test_the_log_is_not_changed_by_later_operations() -> None:
    replica, payload = Replica({}), {"list": [1]}
    first = edit(OperationType.UPDATE, ("a",), payload, version=1)  # type: ignore[arg-type]
    replica.apply(first)
    replica.apply(edit(OperationType.UPDATE, ("a", "b"), 2, version=2))
    assert payload == {"list": [1]}

"""Structured content: a tree of JSON values, its paths and its elementary changes. Pure.

Only objects have paths inside them; a list is one value. Setting a value makes the missing objects
on its way. Every change gives back what undoes it.
"""

from enum import Enum
from typing import Final, TypeAlias

from statesync.api import (
    Change,
    InvalidOperation,
    JsonValue,
    Operation,
    OperationType,
    Path,
)

MAX_DEPTH = 64
_STYLE = "style"
_MOVE_KEYS = frozenset({"x", "y", "z"})
_RESIZE_KEYS = frozenset({"width", "height"})


class Missing(Enum):
    """Nothing is there: not null, nothing."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Value: TypeAlias = JsonValue | Missing


def lookup(root: Value, path: Path) -> Value:
    """Return what is at *path*, without copying."""
    for key in path:
        if not isinstance(root, dict) or key not in root:
            return MISSING
        root = root[key]
    return root


def apply(root: dict[str, JsonValue], change: Change) -> Change | None:
    """Apply *change* to *root* and return what undoes it, None if it did nothing.

    Takes over the change's value. Raises `InvalidOperation` if a value that is not an object stands
    in the way, or if the root would be removed.
    """
    if not change.path:
        if change.removed or not isinstance(change.value, dict):
            raise InvalidOperation("the whole content can only be replaced by an object")
        undo = Change((), dict(root))
        root.clear()
        root.update(change.value)
        return undo
    node, made_at = root, -1
    for depth, key in enumerate(change.path[:-1]):
        below = node.get(key, MISSING)
        if below is MISSING:
            if change.removed:
                return None
            below = node[key] = {}
            if made_at < 0:
                made_at = depth
        if not isinstance(below, dict):
            raise InvalidOperation(f"{show(change.path[: depth + 1])} is a value, not an object")
        node = below
    last = change.path[-1]
    before = node.get(last, MISSING)
    if change.removed:
        if before is MISSING:
            return None
        del node[last]
    else:
        node[last] = change.value
    if made_at >= 0:
        return Change(change.path[: made_at + 1], removed=True)
    return as_change(change.path, before)


def as_change(path: Path, value: Value) -> Change:
    """Return the change that puts *value*, or nothing, at *path*."""
    return Change(path, removed=True) if value is MISSING else Change(path, value)


def value_of(change: Change) -> Value:
    """Return what a change puts at its path."""
    return MISSING if change.removed else change.value


def copied(value: Value) -> Value:
    """Return a copy that shares no object or list with *value*."""
    return value if value is MISSING else copied_json(value)


def copied_json(value: JsonValue) -> JsonValue:
    """Return a copy that shares no object or list with *value*."""
    if isinstance(value, dict):
        return {key: copied_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied_json(inner) for inner in value]
    return value


def same(left: object, right: object) -> bool:
    """Return whether two values are the same JSON; true is not 1, 1.0 is not 1."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def overlaps(left: Path, right: Path) -> bool:
    """Return whether one path is the other or above it."""
    short = min(len(left), len(right))
    return left[:short] == right[:short]


def is_under(path: Path, above: Path) -> bool:
    """Return whether *path* is *above* or beneath it."""
    return path[: len(above)] == above


def show(path: Path) -> str:
    """Return a path for people."""
    return "/" + "/".join(path)


def check(value: object, what: str) -> None:
    """Raise `InvalidOperation` unless *value* is JSON of at most `MAX_DEPTH` levels."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                assert isinstance(item, dict)
                for key in item:
                    if type(key) is not str:
                        raise InvalidOperation(f"{what} has a key that is no string: {key!r:.40}")
                below.extend(item.values())
            elif kind is list:
                assert isinstance(item, list)
                below.extend(item)
            elif kind is float:
                assert isinstance(item, float)
                if item != item or item in (float("inf"), float("-inf")):
                    raise InvalidOperation(f"{what} has a number that JSON cannot say: {item}")
            elif item is not None and kind not in (str, int, bool):
                raise InvalidOperation(f"{what} has a {kind.__name__}, which JSON cannot say")
        if not below:
            return
        level = below
    raise InvalidOperation(f"{what} is nested deeper than {MAX_DEPTH} levels")


def paths_of(operation: Operation) -> tuple[Path, ...]:
    """Return the paths an operation writes, judged by its form alone."""
    return tuple(change.path for change in intended(operation))


def intended(operation: Operation) -> tuple[Change, ...]:
    """Return the changes an operation asks for; raises `InvalidOperation` if it is malformed.

    Looks at the operation alone: whether it fits the content is `changes_of`.
    """
    kind, target, payload = operation.type, operation.target, operation.payload
    if kind is OperationType.TEXT or isinstance(payload, bytes):
        raise InvalidOperation("text updates belong to text documents; this one is structured")
    if not target and kind is not OperationType.UPDATE:
        raise InvalidOperation(f"{kind} needs a target; only update may replace the whole content")
    if kind in (OperationType.CREATE, OperationType.UPDATE):
        if not target and not isinstance(payload, dict):
            raise InvalidOperation("the whole content can only be replaced by an object")
        return (Change(target, payload),)
    if kind is OperationType.DELETE:
        if payload is not None:
            raise InvalidOperation("delete takes no payload")
        return (Change(target, removed=True),)
    if not isinstance(payload, dict) or not payload:
        raise InvalidOperation(f"the payload of {kind} must be an object with at least one key")
    if kind is OperationType.STYLE:
        return tuple(
            Change((*target, _STYLE, key), value, removed=value is None)
            for key, value in payload.items()
        )
    allowed = _MOVE_KEYS if kind is OperationType.MOVE else _RESIZE_KEYS
    for key, value in payload.items():
        if key not in allowed:
            raise InvalidOperation(f"{kind} knows {', '.join(sorted(allowed))}, not {key!r}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidOperation(f"{key!r} of {kind} must be a number")
    return tuple(Change((*target, key), value) for key, value in payload.items())


def changes_of(operation: Operation, root: Value) -> tuple[Change, ...]:
    """Return the changes an operation makes to *root*; raises `InvalidOperation` if it may not."""
    changes = intended(operation)
    found = lookup(root, operation.target)
    where = show(operation.target)
    if operation.type is OperationType.CREATE:
        if found is not MISSING:
            raise InvalidOperation(f"{where} exists already: update it")
    elif operation.type is not OperationType.UPDATE:
        if found is MISSING:
            raise InvalidOperation(f"{where} does not exist")
        if operation.type is not OperationType.DELETE and not isinstance(found, dict):
            raise InvalidOperation(f"{where} is a value, not an object: {operation.type} needs one")
    for change in changes:
        for depth in range(len(change.path)):
            above = lookup(root, change.path[:depth])
            if above is MISSING:
                break
            if not isinstance(above, dict):
                raise InvalidOperation(f"{show(change.path[:depth])} is a value, not an object")
    return changes

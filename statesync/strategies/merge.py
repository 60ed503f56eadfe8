"""Three-way merge: what only one side changed is taken; objects merge key by key.

Where both sides changed the same leaf differently the later stamp stands, and the other is reported
as lost. Not associative: a merged side has one stamp for all its leaves.
"""

import json

from statesync.api import JsonValue, Path
from statesync.strategy import COMMUTATIVE, IDEMPOTENT, LostWrite, Merged, Write
from statesync.tree import MISSING, Value, same


class Merge:
    """Keeps as much of both sides as does not contradict."""

    laws = frozenset({COMMUTATIVE, IDEMPOTENT})

    def merge(self, base: Value, current: Write, incoming: Write) -> Merged:
        """Return both sides' changes to *base* together."""
        lost: list[LostWrite] = []
        value = _merge((), base, current, incoming, lost)
        return Merged(value, max(current.stamp, incoming.stamp), tuple(lost))


def _merge(path: Path, base: Value, left: Write, right: Write, lost: list[LostWrite]) -> Value:
    if same(left.value, right.value) or same(right.value, base):
        return left.value
    if same(left.value, base):
        return right.value
    if isinstance(left.value, dict) and isinstance(right.value, dict):
        start = base if isinstance(base, dict) else {}
        merged: dict[str, JsonValue] = {}
        for key in sorted(left.value.keys() | right.value.keys()):
            value = _merge(
                (*path, key),
                start.get(key, MISSING),
                Write(left.value.get(key, MISSING), left.stamp),
                Write(right.value.get(key, MISSING), right.stamp),
                lost,
            )
            if value is not MISSING:
                merged[key] = value
        return merged
    winner, loser = (right, left) if _rank(left) < _rank(right) else (left, right)
    lost.append(LostWrite(path, loser.value, loser.stamp))
    return winner.value


def _rank(write: Write) -> tuple[object, ...]:
    text = "" if write.value is MISSING else json.dumps(write.value, sort_keys=True)
    return (write.stamp, text)

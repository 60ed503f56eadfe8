"""The write with the highest stamp stands; the other is reported as lost, never just dropped."""

import json

from statesync.strategy import ASSOCIATIVE, COMMUTATIVE, IDEMPOTENT, LostWrite, Merged, Write
from statesync.tree import MISSING, Value, same


class LastWriterWins:
    """One value per place. Stamps order writers; equal stamps are ordered by the value."""

    laws = frozenset({COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT})

    def merge(self, base: Value, current: Write, incoming: Write) -> Merged:
        """Return the survivor of *current* and *incoming*."""
        if same(current.value, incoming.value):
            return Merged(current.value, max(current.stamp, incoming.stamp))
        if _rank(current) < _rank(incoming):
            loser, winner = current, incoming
        else:
            loser, winner = incoming, current
        if same(loser.value, base):
            return Merged(winner.value, winner.stamp)
        return Merged(winner.value, winner.stamp, (LostWrite((), loser.value, loser.stamp),))


def _rank(write: Write) -> tuple[object, ...]:
    # A stamp names its node, so two writers never tie; one writer's two writes still need an order.
    text = "" if write.value is MISSING else json.dumps(write.value, sort_keys=True)
    return (write.stamp, text)

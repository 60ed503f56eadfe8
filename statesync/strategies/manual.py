"""Every conflict waits for a person; until then the current value stands."""

from statesync.strategy import Merged, Write
from statesync.tree import Value


class Manual:
    """Never decides, so it promises no law."""

    laws: frozenset[str] = frozenset()

    def merge(self, base: Value, current: Write, incoming: Write) -> Merged | None:
        """Return None: ask a person."""
        return None

"""A clock that a test moves by hand; satisfies `svckit.clock.Clock`."""

from itertools import count
from uuid import UUID

START_WALL_NS = 1_800_000_000_000_000_000


class ManualClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self._monotonic_ns = 1_000_000_000
        self._wall_ns = START_WALL_NS

    def monotonic_ns(self) -> int:
        """Return the monotonic clock."""
        return self._monotonic_ns

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._monotonic_ns += int(seconds * 1e9)
        self._wall_ns += int(seconds * 1e9)

    def set_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or a bad time server would."""
        self._wall_ns += int(seconds * 1e9)


class CountingIds:
    """UUIDs of version 7 form that count up, so that a failure reads the same each time."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = count(first)

    def __call__(self) -> UUID:
        """Return the next id."""
        number = next(self._numbers)
        return UUID(int=(number << 80) | (7 << 76) | (2 << 62) | number)

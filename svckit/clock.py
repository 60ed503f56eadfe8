"""The two clocks a service is given, so that no rule reads one by itself.

What expires is measured on the monotonic clock, which nobody can set; the wall clock is for people,
logs and stamps. A test gives its own (`Clock` is all it must satisfy).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic and a wall clock, in nanoseconds."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since some fixed moment; never goes back, never jumps."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, as far as this machine knows."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic_ns(self) -> int:
        """Return the monotonic clock."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return time.time_ns()

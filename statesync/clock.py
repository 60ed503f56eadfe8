"""A hybrid logical clock: wall time where it can be, order always. Pure; wall time is an argument.

A stamp never goes back, whatever the wall clock does. A stamp from elsewhere that is further ahead
than `MAX_AHEAD_MS` is refused, because accepting it would drag every later stamp into the future;
its sender then calls `correct` and stamps again.
"""

from statesync.api import Stamp, StampAhead

MAX_AHEAD_MS = 500


class HybridClock:
    """The clock of one node (a client, or the service)."""

    def __init__(self, node: str) -> None:
        """Stamp as *node*, which breaks ties and must be unique among writers."""
        self._node = node
        self._wall_ms = 0
        self._counter = 0
        self._offset_ms = 0

    def now(self, wall_ms: int) -> Stamp:
        """Return a stamp for an event at *wall_ms*, above every stamp made or observed before."""
        wall_ms += self._offset_ms
        if wall_ms > self._wall_ms:
            self._wall_ms, self._counter = wall_ms, 0
        else:
            self._counter += 1
        return Stamp(self._wall_ms, self._counter, self._node)

    def observe(self, stamp: Stamp, wall_ms: int) -> None:
        """Take note of a stamp from elsewhere; raises `StampAhead` and stays as it was."""
        wall_ms += self._offset_ms
        if stamp.wall_ms > wall_ms + MAX_AHEAD_MS:
            raise StampAhead(
                f"the stamp is {stamp.wall_ms - wall_ms} ms ahead of the server, at most "
                f"{MAX_AHEAD_MS} are allowed: correct the clock and stamp again",
                detail={"server_wall_ms": str(wall_ms)},
            )
        if (stamp.wall_ms, stamp.counter) > (self._wall_ms, self._counter):
            self._wall_ms, self._counter = stamp.wall_ms, stamp.counter

    def correct(self, server_wall_ms: int, wall_ms: int) -> None:
        """Follow a server that refused a stamp and said its time; earlier stamps are forgotten."""
        self._offset_ms = server_wall_ms - wall_ms
        self._wall_ms, self._counter = server_wall_ms, 0

"""A clock that a test moves."""


class ManualClock:
    """Both clocks of `svckit.clock.Clock`, standing still until `advance`."""

    def __init__(self, wall_s: float = 1_700_000_000.0) -> None:
        self._monotonic_ns = 1_000_000_000
        self._wall_ns = int(wall_s * 1e9)

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        self._monotonic_ns += int(seconds * 1e9)
        self._wall_ns += int(seconds * 1e9)

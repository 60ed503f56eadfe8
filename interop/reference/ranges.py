"""A set of integers as a sorted list of inclusive ranges. Slow: each change rebuilds it."""

from collections.abc import Iterator


class Ranges:
    """Integers held as sorted, disjoint, non-adjacent (low, high) pairs, both ends inclusive."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, value: int) -> bool:
        return any(low <= value <= high for low, high in self.pairs)

    @property
    def total(self) -> int:
        """Number of integers held."""
        return sum(high - low + 1 for low, high in self.pairs)

    def add(self, low: int, high: int) -> None:
        """Add low..high; nothing when the range is empty."""
        if low > high:
            return
        kept = []
        for a, b in self.pairs:
            if b < low - 1 or a > high + 1:
                kept.append((a, b))
            else:
                low, high = min(low, a), max(high, b)
        self.pairs = sorted([*kept, (low, high)])

    def remove(self, low: int, high: int) -> None:
        """Remove low..high; nothing when the range is empty."""
        if low > high:
            return
        kept = []
        for a, b in self.pairs:
            if b < low or a > high:
                kept.append((a, b))
                continue
            if a < low:
                kept.append((a, low - 1))
            if b > high:
                kept.append((high + 1, b))
        self.pairs = kept

    def missing(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the parts of low..high that are not held."""
        gaps = Ranges()
        gaps.add(low, high)
        for a, b in self.pairs:
            gaps.remove(a, b)
        return gaps.pairs

    def keep_newest(self, count: int) -> None:
        """Forget all but the *count* highest ranges."""
        self.pairs = self.pairs[-count:]

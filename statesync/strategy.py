"""What a conflict strategy must do, and the laws it may promise.

A strategy is asked only when two writers overlapped without having seen each other. It sees the
value both started from and what each wants to stand there, and names the survivor and what was
lost. The laws that it declares are checked by `tests/contract/test_strategy_laws.py`:

* ``commutative``: the order of the two sides does not matter;
* ``associative``: of three sides, it does not matter which two meet first;
* ``idempotent``: two equal sides give that side, and nothing is lost.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from statesync.api import JsonValue, Path, Stamp
from statesync.tree import Value

COMMUTATIVE = "commutative"
ASSOCIATIVE = "associative"
IDEMPOTENT = "idempotent"


@dataclass(frozen=True, slots=True)
class Write:
    """What one side wants to stand at a place, and when it said so."""

    value: Value
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class LostWrite:
    """A value that did not survive, at ``path`` beneath the place of the conflict."""

    path: Path
    value: Value
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Merged:
    """What stands after a conflict, and what does not."""

    value: Value
    stamp: Stamp
    lost: tuple[LostWrite, ...] = ()


class Strategy(Protocol):
    """What every strategy says of itself."""

    laws: frozenset[str]


@runtime_checkable
class ConflictStrategy(Protocol):
    """Decides conflicts in structured content."""

    laws: frozenset[str]

    def merge(self, base: Value, current: Write, incoming: Write) -> Merged | None:
        """Return what stands of two sides that both started from *base*; None: ask a person."""
        ...


class ContentBroken(Exception):
    """An update spoiled the content it was applied to: open that again, without the update."""


class Content(Protocol):
    """Content that merges by itself, held open."""

    def apply(self, update: bytes) -> None:
        """Take in an update; raises `InvalidOperation`, and nothing changed, if it is unfit.

        Raises `ContentBroken` if that was found out too late.
        """
        ...

    def encode(self) -> bytes:
        """Return the whole state, from which `ContentStrategy.open` makes the same content."""
        ...

    def text(self) -> str:
        """Return it as plain text."""
        ...


@runtime_checkable
class ContentStrategy(Protocol):
    """Brings content of its own, in which conflicts cannot happen."""

    laws: frozenset[str]

    def initial(self, content: JsonValue | bytes) -> bytes:
        """Return the state of new content made from what a caller gave."""
        ...

    def open(self, state: bytes) -> Content:
        """Return the content with this state."""
        ...

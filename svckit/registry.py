"""Names for plug-ins.

A registry is a table from a short name to ``module:attribute``. Nothing is
imported until a name is asked for, so a process pays only for what it runs.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownName(LookupError):
    """No plug-in of this kind has this name."""


class Registry(Generic[T]):
    """One kind of plug-in: what this project ships, plus what others install."""

    def __init__(self, kind: str, group: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._group = group
        self._table = dict(table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def load(self, name: str) -> type[T]:
        """Return the plug-in called *name*, importing it on first use."""
        target = self._table.get(name) or self._installed(name)
        if target is None:
            raise UnknownName(
                f"no {self.kind} is called {name!r}; known: {', '.join(sorted(self))}"
            )
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]

    def _installed(self, name: str) -> str | None:
        found = entry_points(group=self._group, name=name)
        return next((point.value for point in found), None)

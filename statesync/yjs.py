"""Reads what a Yjs update (version 1 encoding) contains and what it builds on. Pure.

The CRDT keeps an update whose foundations are missing aside, in memory, and leaves it out of its
encoded state: what was acknowledged would be gone after a restart. `Update.missing_from` finds such
updates so that they can be refused. Nothing here interprets content beyond its length.

Read first: the encoding in https://github.com/yjs/yjs (src/utils/encoding.js, src/structs).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_MAX_NESTING = 64


class MalformedUpdate(ValueError):
    """The bytes are not an update."""


@dataclass(slots=True)
class Update:
    """The extent of an update: clock ranges per client, and the clocks it needs to exist."""

    ranges: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Client to [start, end) of what the update brings, in order."""
    needs: dict[int, int] = field(default_factory=dict)
    """Client to the clock below which everything must exist."""

    def missing_from(self, state: Mapping[int, int]) -> bool:
        """Return whether something that the update builds on is neither in *state* nor in it."""
        reached: dict[int, int] = {}
        for client, ranges in self.ranges.items():
            at = state.get(client, 0)
            for start, end in ranges:
                if start > at:
                    return True
                at = max(at, end)
            reached[client] = at
        for client, clock in self.needs.items():
            if clock > state.get(client, 0) and clock > reached.get(client, 0):
                return True
        return False

    def advance(self, state: dict[int, int]) -> None:
        """Raise *state* to what holds after the update was applied."""
        for client, ranges in self.ranges.items():
            state[client] = max(state.get(client, 0), ranges[-1][1])


def read_update(data: bytes) -> Update:
    """Return the extent of an update; raises `MalformedUpdate`."""
    reader = _Reader(data)
    update = Update()
    for _ in range(reader.count()):
        _read_client(reader, update)
    for _ in range(reader.count()):
        client = reader.varuint()
        for _ in range(reader.count()):
            start = reader.varuint()
            _need(update, client, start + reader.varuint())
    if not reader.is_at_end:
        raise MalformedUpdate("bytes follow the update")
    return update


def read_state_vector(data: bytes) -> dict[int, int]:
    """Return client to clock; raises `MalformedUpdate`."""
    reader = _Reader(data)
    return {reader.varuint(): reader.varuint() for _ in range(reader.count())}


def _read_client(reader: "_Reader", update: Update) -> None:
    structs, client, clock = reader.count(), reader.varuint(), reader.varuint()
    ranges = update.ranges.setdefault(client, [])
    start = clock
    for _ in range(structs):
        info = reader.byte()
        kind = info & 0x1F
        if kind == 10:  # a gap within the client's structs
            if clock > start:
                ranges.append((start, clock))
            start = clock = clock + reader.varuint()
        elif kind == 0:
            clock += reader.varuint()
        else:
            if info & 0x80:
                _need(update, reader.varuint(), reader.varuint() + 1)
            if info & 0x40:
                _need(update, reader.varuint(), reader.varuint() + 1)
            if not info & 0xC0:
                if reader.varuint() == 1:
                    reader.skip(reader.varuint())
                else:
                    _need(update, reader.varuint(), reader.varuint() + 1)
                if info & 0x20:
                    reader.skip(reader.varuint())
            length = _CONTENT.get(kind)
            if length is None:
                raise MalformedUpdate(f"content of kind {kind} is not supported")
            clock += length(reader)
    if clock > start:
        ranges.append((start, clock))
    if not ranges:
        del update.ranges[client]


def _need(update: Update, client: int, clock: int) -> None:
    if clock > update.needs.get(client, 0):
        update.needs[client] = clock


class _Reader:
    """Reads lib0 encoding, bounds checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def byte(self) -> int:
        if self._at >= len(self._data):
            raise MalformedUpdate("the update ends early")
        self._at += 1
        return self._data[self._at - 1]

    def varuint(self) -> int:
        data, at = self._data, self._at
        try:
            byte = data[at]
            value, shift = byte & 0x7F, 7
            while byte >= 0x80:
                at += 1
                byte = data[at]
                value |= (byte & 0x7F) << shift
                shift += 7
                if shift > 63:
                    raise MalformedUpdate("a number in the update is too large")
        except IndexError:
            raise MalformedUpdate("the update ends early") from None
        self._at = at + 1
        return value

    def count(self) -> int:
        """Read a number of things, of which each takes at least a byte."""
        count = self.varuint()
        if count > len(self._data) - self._at:
            raise MalformedUpdate("the update ends early")
        return count

    def skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise MalformedUpdate("the update ends early")
        self._at += size

    def string(self) -> str:
        size = self.varuint()
        start = self._at
        self.skip(size)
        try:
            return self._data[start : self._at].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise MalformedUpdate("a string in the update is not UTF-8") from None

    def any(self, depth: int = 0) -> None:
        """Skip one value of lib0's "any" encoding."""
        if depth > _MAX_NESTING:
            raise MalformedUpdate("a value in the update is nested too deeply")
        kind = self.byte()
        if kind in (127, 126, 121, 120):
            return
        if kind == 125:
            while self.byte() & 0x80:
                pass
        elif kind == 124:
            self.skip(4)
        elif kind in (123, 122):
            self.skip(8)
        elif kind in (119, 116):
            self.skip(self.varuint())
        elif kind == 118:
            for _ in range(self.count()):
                self.skip(self.varuint())
                self.any(depth + 1)
        elif kind == 117:
            for _ in range(self.count()):
                self.any(depth + 1)
        else:
            raise MalformedUpdate(f"a value in the update has unknown type {kind}")


def _json(reader: _Reader) -> int:
    count = reader.count()
    for _ in range(count):
        reader.skip(reader.varuint())
    return count


def _blob(reader: _Reader) -> int:
    reader.skip(reader.varuint())
    return 1


def _string(reader: _Reader) -> int:
    # Yjs counts UTF-16 units.
    text = reader.string()
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _format(reader: _Reader) -> int:
    reader.skip(reader.varuint())
    reader.skip(reader.varuint())
    return 1


def _type(reader: _Reader) -> int:
    kind = reader.varuint()
    if kind in (3, 5):  # XML element and hook have a name
        reader.skip(reader.varuint())
    elif kind > 6:
        raise MalformedUpdate(f"shared type {kind} is not supported")
    return 1


def _anys(reader: _Reader) -> int:
    count = reader.count()
    for _ in range(count):
        reader.any()
    return count


def _document(reader: _Reader) -> int:
    reader.skip(reader.varuint())
    reader.any()
    return 1


_CONTENT: Mapping[int, Callable[[_Reader], int]] = {
    1: _Reader.varuint,
    2: _json,
    3: _blob,
    4: _string,
    5: _blob,
    6: _format,
    7: _type,
    8: _anys,
    9: _document,
}

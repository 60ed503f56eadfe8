"""A document as a replica of its log: applies operations, answers for the past, plans conflicts.

Sans-IO: the service keeps one per open document, and a client one per document it edits. `apply`
takes operations in order of version, none missing. `plan` says what an operation that is not yet in
the log would become; it is the service's, which alone gives versions.

A replica remembers its last `history` operations with what undoes them, and so knows every value as
it was that far back. An operation with an older base raises `HistoryTooShort`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from statesync.api import (
    BaseAhead,
    Change,
    InvalidOperation,
    JsonValue,
    Loss,
    Operation,
    OperationStatus,
    OperationType,
    Path,
)
from statesync.strategy import ConflictStrategy, Content, LostWrite, Write
from statesync.tree import (
    MISSING,
    Value,
    apply,
    as_change,
    changes_of,
    check,
    copied,
    copied_json,
    is_under,
    lookup,
    overlaps,
    paths_of,
    same,
)


class HistoryTooShort(LookupError):
    """The replica does not remember back to the operation's base version."""


class VersionSkipped(ValueError):
    """An operation was applied that is not the next of the log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation becomes: its status and effect, and what it costs."""

    status: OperationStatus
    effect: tuple[Change, ...] | None = None
    against: tuple[int, ...] = ()
    """Versions it overlapped without having seen them."""
    lost: tuple[Loss, ...] = ()

    @property
    def is_conflict(self) -> bool:
        """Whether it must be recorded as a conflict: something was lost or waits for a person."""
        return bool(self.lost) or self.status is OperationStatus.CONFLICT


@dataclass(frozen=True, slots=True)
class _Past:
    """An applied operation, where it wrote, and how to take it back (newest change first)."""

    operation: Operation
    paths: tuple[Path, ...]
    undo: tuple[Change, ...]
    size_bytes: int


class Replica:
    """The content of one document at one version, with a stretch of its past."""

    def __init__(
        self,
        content: JsonValue | Content,
        version: int = 0,
        *,
        history: int = 1024,
        history_bytes: int = 4 << 20,
    ) -> None:
        """Start at *version* with *content*: an object (taken over), or content held open.

        *history* and *history_bytes* bound the remembered past, by whichever is met first.
        """
        self.version = version
        self._history = history
        self._history_bytes = history_bytes
        self._past_bytes = 0
        self._past: deque[_Past] = deque()
        self._text: Content | None = None
        self._root: dict[str, JsonValue] = {}
        if isinstance(content, dict):
            self._root = content
        elif content is None or isinstance(content, bool | int | float | str | list):
            raise InvalidOperation("a structured document starts from an object")
        else:
            self._text = content

    @property
    def is_text(self) -> bool:
        """Whether the content merges by itself."""
        return self._text is not None

    @property
    def oldest(self) -> int:
        """The lowest version whose values are still known."""
        return self.version - len(self._past)

    def value(self) -> JsonValue | bytes:
        """Return a copy of the content: an object, or the encoded state of text."""
        if self._text is not None:
            return self._text.encode()
        return copied_json(self._root)

    def text(self) -> str | None:
        """Return the plain text of a text document, else None."""
        return None if self._text is None else self._text.text()

    def at(self, path: Path) -> Value:
        """Return a copy of the value at *path* now."""
        return copied(lookup(self._root, path))

    def apply(self, operation: Operation, size_bytes: int = 256) -> None:
        """Take in the next operation of the log; *size_bytes* is what it weighs in the past.

        Raises `VersionSkipped`, or `InvalidOperation` if the log does not belong to this content;
        nothing has changed then.
        """
        if operation.version != self.version + 1:
            raise VersionSkipped(
                f"the replica is at version {self.version}, the operation is {operation.version}"
            )
        undo: list[Change] = []
        paths: tuple[Path, ...] = ()
        if self._text is not None:
            if operation.effect is None:
                self._text.apply(_update(operation))
        else:
            changes = operation.effect
            if changes is None:
                changes = changes_of(operation, self._root)
            paths = tuple(change.path for change in changes)
            undo = self._change(changes)
        self._past.append(_Past(operation, paths, tuple(reversed(undo)), size_bytes))
        self._past_bytes += size_bytes
        while len(self._past) > self._history or (
            self._past_bytes > self._history_bytes and len(self._past) > 1
        ):
            self._past_bytes -= self._past.popleft().size_bytes
        self.version = operation.version

    def since(self, version: int) -> tuple[Operation, ...] | None:
        """Return the operations after *version*, oldest first; None if they are forgotten."""
        if version < self.oldest:
            return None
        count = self.version - version
        if count <= 0:
            return ()
        newest = [
            past.operation for past, _ in zip(reversed(self._past), range(count), strict=False)
        ]
        return tuple(reversed(newest))

    def preview(self, operations: Iterable[Operation]) -> JsonValue:
        """Return the structured content as it would be with *operations* of one's own on top.

        Those that no longer fit are left out: the service will say what becomes of them.
        """
        ahead = Replica(copied_json(self._root), history=0)
        for operation in operations:
            try:
                ahead._change(changes_of(operation, ahead._root))
            except InvalidOperation:
                continue
        return ahead._root

    def value_at(self, path: Path, version: int) -> Value:
        """Return a copy of the value at *path* as it was at *version*."""
        if version < self.oldest:
            raise HistoryTooShort(f"known back to version {self.oldest}, not {version}")
        value = copied(lookup(self._root, path))
        for past in reversed(self._past):
            if past.operation.version <= version:
                break
            for change in past.undo:
                value = _undone(value, path, change)
        return value

    def plan(self, operation: Operation, strategy: ConflictStrategy | None) -> Plan:
        """Return what *operation* would become as the next of the log; changes nothing.

        Raises `InvalidOperation`, `BaseAhead` or `HistoryTooShort`. *strategy* None is for content
        that merges by itself.
        """
        if operation.base_version > self.version:
            raise BaseAhead(
                f"base_version is {operation.base_version}, the document is at {self.version}",
                detail={"version": str(self.version)},
            )
        if self._text is not None or strategy is None:
            _update(operation)
            return Plan(OperationStatus.APPLIED)
        paths = paths_of(operation)
        check(operation.payload, "the payload")
        scopes, against = self._overlaps(paths, operation.base_version)
        if not scopes:
            changes_of(operation, self._root)
            return Plan(OperationStatus.APPLIED)
        return self._resolve(operation, strategy, scopes, against)

    def _overlaps(
        self, paths: tuple[Path, ...], base_version: int
    ) -> tuple[list[Path], list[Operation]]:
        """Return the places where *paths* meet what came after *base_version*, and with what."""
        if base_version < self.oldest:
            raise HistoryTooShort(f"known back to version {self.oldest}, not {base_version}")
        met: set[Path] = set()
        against: list[Operation] = []
        for past in reversed(self._past):
            if past.operation.version <= base_version:
                break
            here = {
                min(mine, theirs, key=len)
                for theirs in past.paths
                for mine in paths
                if overlaps(mine, theirs)
            }
            if here:
                met |= here
                against.append(past.operation)
        scopes: list[Path] = []
        for path in sorted(met, key=len):
            if not any(is_under(path, scope) for scope in scopes):
                scopes.append(path)
        return scopes, against

    def _resolve(
        self,
        operation: Operation,
        strategy: ConflictStrategy,
        scopes: list[Path],
        against: list[Operation],
    ) -> Plan:
        base = operation.base_version
        versions = tuple(reversed([other.version for other in against]))
        changes = changes_of(operation, self._as_seen(operation))
        newest = max(against, key=lambda other: other.stamp)
        effect: list[Change] = []
        lost: list[Loss] = []
        for scope in scopes:
            before = self.value_at(scope, base)
            wanted = _with_changes(before, scope, changes)
            current = copied(lookup(self._root, scope))
            merged = strategy.merge(
                before, Write(current, newest.stamp), Write(wanted, operation.stamp)
            )
            if merged is None:
                return Plan(OperationStatus.CONFLICT, (), versions)
            if not same(merged.value, current):
                effect.append(as_change(scope, merged.value))
            lost.extend(_loss(scope, write, operation, newest) for write in merged.lost)
        effect.extend(
            change for change in changes if not any(is_under(change.path, s) for s in scopes)
        )
        return Plan(OperationStatus.RESOLVED, tuple(effect), versions, tuple(lost))

    def _as_seen(self, operation: Operation) -> Value:
        """Return as much of the content as the operation can meet, as its author saw it."""
        top = operation.target[:1]
        seen = self.value_at(top, operation.base_version)
        if not top or seen is MISSING:
            return {} if top else seen
        return {top[0]: seen}

    def _change(self, changes: Iterable[Change]) -> list[Change]:
        undo: list[Change] = []
        try:
            for change in changes:
                # Values are copied: the operation stays in the log as it was sent.
                taken = Change(change.path, copied_json(change.value), change.removed)
                back = apply(self._root, taken)
                if back is not None:
                    undo.append(back)
        except InvalidOperation:
            for back in reversed(undo):
                apply(self._root, back)
            raise
        return undo


def _update(operation: Operation) -> bytes:
    if operation.type is not OperationType.TEXT or not isinstance(operation.payload, bytes):
        raise InvalidOperation("a text document takes text operations with a Yjs update (bytes)")
    if operation.target:
        raise InvalidOperation("a text operation has no target: it is for the whole document")
    return operation.payload


def _undone(value: Value, path: Path, change: Change) -> Value:
    """Return *value*, which stands at *path*, as it was before what *change* undoes."""
    if is_under(path, change.path):
        if change.removed:
            return MISSING
        return copied(lookup(change.value, path[len(change.path) :]))
    if is_under(change.path, path) and isinstance(value, dict):
        inner = Change(change.path[len(path) :], copied_json(change.value), change.removed)
        apply(value, inner)
    return value


def _with_changes(before: Value, scope: Path, changes: tuple[Change, ...]) -> Value:
    """Return the value at *scope* as the author of *changes* wants it."""
    value = copied(before)
    for change in changes:
        if is_under(scope, change.path):
            value = (
                MISSING
                if change.removed
                else copied(lookup(change.value, scope[len(change.path) :]))
            )
        elif is_under(change.path, scope):
            if not isinstance(value, dict):
                value = {}
            apply(
                value,
                Change(change.path[len(scope) :], copied_json(change.value), change.removed),
            )
    return value


def _loss(scope: Path, write: LostWrite, incoming: Operation, newest: Operation) -> Loss:
    is_incoming = write.stamp == incoming.stamp
    author = incoming if is_incoming else newest
    return Loss(
        path=(*scope, *write.path),
        value=None if write.value is MISSING else write.value,
        removed=write.value is MISSING,
        user_id=author.user_id,
        version=0 if is_incoming else newest.version,
    )

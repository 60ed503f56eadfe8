"""A client's own copy of a document: what the log says, with the edits that are still under way.

Local edits show at once. Text merges by itself, so one copy holds both; of a structured document
the log's state is kept apart, and the edits under way are laid over it. Sans-IO; knows no
connection. Positions in text count Unicode code points.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import pycrdt

from gateway.messages import Operation, Snapshot, Submit
from gateway.sdk.errors import InvalidCall
from statesync import api
from statesync.document import Replica as Log
from statesync.strategies.text import TextContent

Patch = tuple[int, int, str]
"""At this position (code points), delete this many and insert this text."""


class Replica(Protocol):
    """What a document keeps."""

    def apply(self, operation: Operation, *, is_echo: bool) -> None:
        """Take in the next operation of the log; *is_echo*: it was made on this very copy."""
        ...

    def merge(self, snapshot: Snapshot) -> None:
        """Take in a snapshot that is ahead of this copy; edits under way stay."""
        ...

    def rebuild(self, snapshot: Snapshot) -> None:
        """Become *snapshot*; edits under way are gone."""
        ...


class TextReplica:
    """Text, open."""

    def __init__(self, snapshot: Snapshot, replica_id: int | None = None) -> None:
        self._content = TextContent(snapshot.update, client_id=replica_id)
        self.updates_unfit = 0

    @property
    def text(self) -> str:
        """The text with every local edit."""
        return self._content.text()

    def patch(self, patches: Sequence[Patch]) -> bytes:
        """Apply *patches* in order, all or none, and return the update that says so.

        Raises `InvalidCall` for a position outside the text or text that is no Unicode.
        """
        self._check(patches)
        updates = [self._content.edit(*patch) for patch in patches]
        return updates[0] if len(updates) == 1 else pycrdt.merge_updates(*updates)

    def apply(self, operation: Operation, *, is_echo: bool) -> None:
        """Take in the next operation of the log."""
        if is_echo or (operation.altered and not operation.effect):
            return
        try:
            self._content.apply(operation.update)
        except api.InvalidOperation:
            self.updates_unfit += 1  # the log took it, so this copy is told apart by its text

    def merge(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; edits under way stay."""
        if snapshot.update:
            self._content.apply(snapshot.update)

    def rebuild(self, snapshot: Snapshot) -> None:
        """Become *snapshot*, under a new author id: the old one's edits were taken back."""
        self._content = TextContent(snapshot.update)

    def _check(self, patches: Sequence[Patch]) -> None:
        if not patches:
            raise InvalidCall("an edit needs at least one patch (position, deleted, inserted)")
        length = len(self.text)
        for position, deleted, inserted in patches:
            if position < 0 or deleted < 0 or position + deleted > length:
                raise InvalidCall(
                    f"cannot replace {deleted} characters at {position}: there the text has"
                    f" {length} characters"
                )
            if not inserted.isascii():
                _check_unicode(inserted)
            length += len(inserted) - deleted


class TreeReplica:
    """A structured document: the log's state, and a view with the edits under way."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._log = _log(snapshot)
        self._view: api.JsonValue | None = None
        self.updates_unfit = 0

    def content(self, pending: Iterable[Submit]) -> api.JsonValue:
        """Return the content with the edits in *pending* on top; do not change it."""
        if self._view is None:
            self._view = self._log.preview(submitted(item) for item in pending)
        return self._view

    def check(self, submit: Submit, pending: Iterable[Submit]) -> None:
        """Raise `InvalidCall` when the edit cannot fit this copy."""
        from statesync.tree import changes_of, check

        operation = submitted(submit)
        try:
            check(operation.payload, "the value")
            changes_of(operation, self.content(pending))
        except api.InvalidOperation as error:
            raise InvalidCall(error.reason) from None

    def touch(self) -> None:
        """Forget the view: the edits under way changed."""
        self._view = None

    def apply(self, operation: Operation, *, is_echo: bool) -> None:
        """Take in the next operation of the log."""
        self._view = None
        try:
            self._log.apply(logged(operation))
        except api.InvalidOperation:
            self.updates_unfit += 1
            self._log.version = operation.version

    def merge(self, snapshot: Snapshot) -> None:
        """Become *snapshot*; edits under way are laid over it."""
        self.rebuild(snapshot)

    def rebuild(self, snapshot: Snapshot) -> None:
        """Become *snapshot*."""
        self._log = _log(snapshot)
        self._view = None


def submitted(submit: Submit) -> api.Operation:
    """Return an edit under way as the state service's operation."""
    return api.Operation(
        doc_id=submit.document,
        client_id=submit.client,
        client_seq=submit.client_seq,
        type=api.OperationType(submit.type),
        target=submit.target,
        payload=submit.update or submit.value,
        base_version=submit.base_version,
    )


def logged(operation: Operation) -> api.Operation:
    """Return an operation of the log as the state service's."""
    effect = tuple(api.Change(c.path, c.value, c.removed) for c in operation.effect)
    return api.Operation(
        doc_id=operation.document,
        client_id=operation.client,
        client_seq=operation.client_seq,
        type=api.OperationType(operation.type),
        target=operation.target,
        payload=operation.update or operation.value,
        base_version=operation.base_version,
        version=operation.version,
        effect=effect if operation.altered else None,
        user_id=operation.user,
    )


def _log(snapshot: Snapshot) -> Log:
    content = snapshot.value if isinstance(snapshot.value, dict) else {}
    return Log(content, snapshot.version, history=0)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidCall(
            "the text has half a surrogate pair, which is no character: decode it properly first"
        ) from None

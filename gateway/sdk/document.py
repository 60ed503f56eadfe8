"""A document as a program holds it: edits show at once, and are kept until they are durable.

The face of `gateway.sdk.follower`: it checks what the caller gives and says errors in words.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from gateway.messages import (
    DocumentClose,
    DocumentInfo,
    DocumentOpened,
    Json,
    Lock,
    LockAcquire,
    LockInfo,
    LockRelease,
    Submit,
)
from gateway.sdk.errors import DocumentClosed, InvalidCall, RequestTimeout
from gateway.sdk.events import DocumentEvent, Feed, Happening
from gateway.sdk.follower import Follower, Host
from gateway.sdk.inbox import RemoteOperation
from gateway.sdk.outbox import Edit
from gateway.sdk.replica import Patch, TextReplica, TreeReplica
from statesync.api import OperationType

_HEAD_BYTES = 4096
"""Room for all that goes around an edit's content."""


class Document:
    """One open document."""

    def __init__(
        self,
        host: Host,
        opened: DocumentOpened,
        *,
        hold: bool = False,
        replica_id: int | None = None,
        next_seq: int = 1,
    ) -> None:
        self._host = host
        self._fences: dict[tuple[str, ...], int] = {}
        self.follower = Follower(host, opened, hold=hold, replica_id=replica_id, next_seq=next_seq)

    # Reading

    @property
    def id(self) -> str:
        """Its id, with which anybody may open it who is allowed to."""
        return self.follower.id

    @property
    def info(self) -> DocumentInfo:
        """Name, type, permissions and the like, as last told by the gateway."""
        return self.follower.info

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def type(self) -> str:
        """``text``, ``whiteboard``, ``canvas`` or ``sheet``."""
        return self.info.type

    @property
    def text(self) -> str:
        """The text, local edits included. Raises `InvalidCall` for a structured document."""
        return self._as_text().text

    @property
    def content(self) -> Json:
        """The content, local edits included: a str, or a dict that must not be changed."""
        replica = self.follower.replica
        if isinstance(replica, TextReplica):
            return replica.text
        return replica.content(edit.submit for edit in self.pending)

    @property
    def version(self) -> int:
        """The version of the log up to which this copy has everything."""
        return self.follower.inbox.applied

    @property
    def received_version(self) -> int:
        """The version up to which operations have arrived; ahead of `version` while held."""
        return self.follower.inbox.received

    @property
    def held(self) -> tuple[RemoteOperation, ...]:
        """Operations that arrived and wait for `apply_until`, in order."""
        return self.follower.inbox.held()

    @property
    def pending(self) -> tuple[Edit, ...]:
        """Edits that are not durable yet, in order."""
        return self.follower.outbox.pending()

    @property
    def status(self) -> str:
        """``saved``: all edits are durable; ``saving``: some are under way; ``offline``."""
        return self.follower.status

    @property
    def next_seq(self) -> int:
        """The sequence of the next edit, which outlives this handle."""
        return self.follower.outbox.next_seq

    @property
    def duplicates_suppressed(self) -> int:
        """Operations that arrived again and were dropped."""
        return self.follower.inbox.duplicates

    @property
    def edits_resent(self) -> int:
        """Edits sent again under the same sequence."""
        return self.follower.outbox.resent

    # Editing

    def insert(self, position: int, text: str) -> Edit:
        """Insert *text* at a position in code points; see `patch`."""
        return self.patch([(position, 0, text)])

    def delete(self, position: int, count: int) -> Edit:
        """Delete *count* code points at *position*; see `patch`."""
        return self.patch([(position, count, "")])

    def patch(self, patches: Sequence[Patch]) -> Edit:
        """Apply (position, deleted, inserted) in order, as one edit; shows at once.

        Raises:
            InvalidCall: a position is outside the text, or the edit is too large to travel;
                nothing was changed.
            TooManyPending: await `room` first.
            EditRefused: an earlier edit was refused and the text is being fetched anew.
        """
        self.follower.check_editable()
        replica = self._as_text()
        self._check_size(sum(32 + len(text.encode(errors="replace")) for _, _, text in patches))
        update = replica.patch(patches)
        return self.follower.add(self._new(OperationType.TEXT, update))

    def apply(
        self,
        type: OperationType | str,  # noqa: A002 - it is the operation's word
        target: Sequence[str] = (),
        value: Json = None,
    ) -> Edit:
        """Apply an operation to a structured document; shows at once, laid over the log.

        Raises `InvalidCall` when it cannot fit what this copy has, else as `patch`.
        """
        self.follower.check_editable()
        replica = self.follower.replica
        if not isinstance(replica, TreeReplica):
            raise InvalidCall(f"{self.name!r} is text: use insert, delete or patch")
        try:
            kind = OperationType(type)
        except ValueError:
            names = ", ".join(item.value for item in OperationType if item != OperationType.TEXT)
            raise InvalidCall(f"there is no operation {type!r}: use one of {names}") from None
        if isinstance(target, str):
            raise InvalidCall(f"target is a sequence of keys, such as ({target!r},), not a string")
        path = tuple(target)
        fence = next((f for held, f in self._fences.items() if path[: len(held)] == held), 0)
        submit = replace(
            self._new(kind),
            target=path,
            value=value,
            stamp=self.follower.stamp(),
            fence=fence,
        )
        replica.check(submit, [edit.submit for edit in self.pending])
        self._check_size(len(json.dumps(value, ensure_ascii=False).encode(errors="replace")))
        return self.follower.add(submit)

    async def room(self) -> None:
        """Return when an edit may be made without `TooManyPending`."""
        follower = self.follower
        await follower.wait_until(lambda: follower.outbox.has_room)

    async def synced(self, timeout_s: float | None = None) -> None:
        """Return when every edit is durable and every operation known of has arrived.

        Raises:
            EditRefused: the gateway refused an edit since the last call.
            RequestTimeout: *timeout_s* passed first; the edits stay queued.
        """
        follower = self.follower
        try:
            async with asyncio.timeout(timeout_s):
                await follower.wait_until(lambda: not follower.is_behind)
        except TimeoutError:
            raise RequestTimeout(
                f"{len(follower.outbox)} edits of {self.name!r} are not durable after {timeout_s} s"
                f" (status {self.status}); they stay queued"
            ) from None
        if follower.refusal is not None:
            refusal, follower.refusal = follower.refusal, None
            raise refusal

    async def reached(self, version: int) -> None:
        """Return when this copy has everything up to *version* of the log."""
        follower = self.follower
        await follower.wait_until(lambda: follower.inbox.applied >= version)

    # Holding

    async def apply_until(
        self,
        version: int | None = None,
        *,
        key: tuple[str, int] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Wait for an operation, by version or (client_id, client_seq), and apply up to it.

        Only for documents opened with ``hold=True``; nothing beyond it is applied. A *key* is known
        only when it came after this handle was opened. Raises `InvalidCall` or `RequestTimeout`.
        """
        follower = self.follower
        inbox = follower.inbox
        if not follower.is_holding:
            raise InvalidCall("only a document opened with hold=True holds operations back")
        if (version is None) == (key is None):
            raise InvalidCall("apply_until takes either a version or key=(client_id, client_seq)")

        def has_arrived() -> bool:
            if key is not None:
                return inbox.has_received(key)
            return version is not None and inbox.received >= version

        def has_applied() -> bool:
            if key is not None:
                return inbox.has_applied(key)
            return version is not None and inbox.applied >= version

        if not has_applied():
            try:
                async with asyncio.timeout(timeout_s):
                    await follower.wait_until(has_arrived)
            except TimeoutError:
                raise RequestTimeout(
                    f"operation {version if key is None else key} of {self.name!r} did not arrive"
                    f" within {timeout_s} s"
                ) from None
        while not has_applied():
            follower.apply_next()
        follower.refill()

    def apply_held(self) -> None:
        """Apply every operation that arrived."""
        while len(self.follower.inbox):
            self.follower.apply_next()
        self.follower.refill()

    # Watching

    def events(self) -> AsyncIterator[DocumentEvent]:
        """Return an iterator of what happens from now on; it ends when the document is closed."""
        feed: Feed[DocumentEvent] = Feed(
            self._host.config.max_events, DocumentEvent(Happening.LAGGED)
        )
        if self.follower.error is not None:
            feed.close(self.follower.error)
        else:
            self.follower.feeds.add(feed)
        return feed

    # Locks

    async def lock(self, target: Sequence[str] = (), ttl_s: float = 0.0) -> LockInfo:
        """Lock a part; later edits beneath it carry the lock's fence. Raises `RequestRefused`."""
        path = tuple(target)
        reply = await self._host.request(LockAcquire(self.id, path, ttl_s))
        assert isinstance(reply.body, Lock)
        assert reply.body.lock is not None
        self._fences[path] = reply.body.lock.fence
        return reply.body.lock

    async def unlock(self, target: Sequence[str] = ()) -> None:
        """Give a lock back. Raises `InvalidCall` when it is not held."""
        fence = self._fences.pop(tuple(target), None)
        if fence is None:
            raise InvalidCall(f"{self.name!r} is not locked by this client at {tuple(target)}")
        await self._host.request(LockRelease(self.id, fence))

    async def close(self) -> None:
        """Stop listening; edits that are not durable fail, so await `synced` first."""
        if self.follower.error is not None:
            return
        link = self.follower.link
        self.follower.close(DocumentClosed(f"{self.name!r} was closed; open it again"))
        if link is not None:
            link.tell(DocumentClose(self.id))
        self._host.release(self.id)

    # Private

    def _as_text(self) -> TextReplica:
        if isinstance(self.follower.replica, TextReplica):
            return self.follower.replica
        raise InvalidCall(f"{self.name!r} is a {self.type}: use apply and content")

    def _check_size(self, size: int) -> None:
        limit = self._host.max_message_bytes - _HEAD_BYTES
        if size > limit:
            raise InvalidCall(
                f"this edit has {size:,} bytes and the gateway takes {limit:,}: split it up"
            )

    def _new(self, kind: OperationType, update: bytes = b"") -> Submit:
        return Submit(
            document=self.id,
            type=kind.value,
            client=self._host.client_id,
            client_seq=self.next_seq,
            update=update,
            base_version=self.version,
        )

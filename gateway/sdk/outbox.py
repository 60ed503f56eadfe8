"""Edits on their way to the gateway: numbered, windowed, sent again, and struck off. Sans-IO.

It knows no connection and no clock. Edits leave in order of their sequence; after a lost connection
every edit without a durable acknowledgement leaves again under the same sequence, which the gateway
recognises. Rule: an edit is forgotten only when it is durable, or refused for good.
"""

import asyncio
from collections import deque

from gateway.messages import Ack, Submit
from gateway.sdk.errors import SdkError, TooManyPending


class Edit:
    """One local edit and how far it has come. (client_id, client_seq) names it for ever."""

    __slots__ = (
        "_accepted",
        "_durable",
        "ack",
        "attempt",
        "client_id",
        "client_seq",
        "error",
        "is_accepted",
        "size",
        "submit",
    )

    def __init__(self, submit: Submit) -> None:
        self.submit = submit
        self.client_id = submit.client
        self.client_seq = submit.client_seq
        self.size = len(submit.update) + 64
        self.attempt = 0
        self.ack: Ack | None = None
        self.error: SdkError | None = None
        self.is_accepted = False
        self._accepted: asyncio.Future[None] | None = None
        self._durable: asyncio.Future[Ack] | None = None

    @property
    def is_durable(self) -> bool:
        """Whether the gateway has it for good."""
        return self.ack is not None

    @property
    def version(self) -> int:
        """Its place in the document's log, or 0 while it has none."""
        return self.ack.version if self.ack is not None else 0

    async def accepted(self) -> None:
        """Return when the gateway has queued it. Raises `EditRefused` or `DocumentClosed`."""
        if self.error is not None:
            raise self.error
        if not self.is_accepted:
            if self._accepted is None:
                self._accepted = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._accepted)

    async def durable(self) -> Ack:
        """Return its durable acknowledgement. Raises `EditRefused` or `DocumentClosed`."""
        if self.error is not None:
            raise self.error
        if self.ack is not None:
            return self.ack
        if self._durable is None:
            self._durable = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._durable)

    def on_accepted(self) -> None:
        """Note the first acknowledgement."""
        if self.is_accepted:
            return
        self.is_accepted = True
        if self._accepted is not None and not self._accepted.done():
            self._accepted.set_result(None)

    def on_durable(self, ack: Ack) -> None:
        """Note the last acknowledgement."""
        self.on_accepted()
        self.ack = ack
        if self._durable is not None and not self._durable.done():
            self._durable.set_result(ack)

    def on_failed(self, error: SdkError) -> None:
        """Note that it will never be durable."""
        self.error = error
        for future in (self._accepted, self._durable):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # waiters get it; without any it is not worth a warning


class Outbox:
    """The edits of one document that are not durable yet, in order of sequence."""

    def __init__(self, max_pending: int, window_operations: int, window_bytes: int) -> None:
        self._max_pending = max_pending
        self._window_operations = window_operations
        self._window_bytes = window_bytes
        self._edits: deque[Edit] = deque()
        self._sent = 0
        self._sent_bytes = 0
        self.next_seq = 1
        self.resent = 0

    def __len__(self) -> int:
        return len(self._edits)

    def check_room(self) -> None:
        """Raise `TooManyPending` when no edit may be added."""
        if not self.has_room:
            raise TooManyPending(
                f"{len(self._edits)} edits wait for the gateway: await document.room(), then edit"
            )

    def add(self, edit: Edit) -> None:
        """Take an edit that carries `next_seq`."""
        assert edit.client_seq == self.next_seq
        self.next_seq += 1
        self._edits.append(edit)

    def take(self) -> Edit | None:
        """Return the next edit to send, or None while the window is full or nothing waits."""
        if self._sent >= len(self._edits) or self._sent >= self._window_operations:
            return None
        if self._sent and self._sent_bytes >= self._window_bytes:
            return None
        edit = self._edits[self._sent]
        self._sent += 1
        self._sent_bytes += edit.size
        return edit

    def accept(self, client_seq: int) -> None:
        """Note an *accepted* acknowledgement."""
        edit = self._find(client_seq)
        if edit is not None:
            edit.on_accepted()

    def settle(self, ack: Ack) -> bool:
        """Note a durable acknowledgement; False if it was known or is not ours."""
        edit = self._find(ack.client_seq)
        if edit is None or edit.is_durable:
            return False
        edit.on_durable(ack)
        while self._edits and self._edits[0].is_durable:
            done = self._edits.popleft()
            if self._sent:
                self._sent -= 1
                self._sent_bytes -= done.size
        return True

    def rewind(self, client_seq: int = 0) -> None:
        """Send again from *client_seq* (0: from the first): they are lost or were refused."""
        first = self._edits[0].client_seq if self._edits else self.next_seq
        keep = max(0, client_seq - first)
        while self._sent > keep:
            self._sent -= 1
            edit = self._edits[self._sent]
            edit.attempt += 1  # answers to what was sent before are about the past
            self._sent_bytes -= edit.size
            self.resent += 1

    def drop_from(self, client_seq: int, error: SdkError) -> list[Edit]:
        """Give up *client_seq* and everything after it; its sequences will be used anew."""
        dropped: list[Edit] = []
        while self._edits and self._edits[-1].client_seq >= client_seq:
            dropped.append(self._edits.pop())
        self._sent = min(self._sent, len(self._edits))
        self._sent_bytes = sum(self._edits[i].size for i in range(self._sent))
        if dropped:
            self.next_seq = dropped[-1].client_seq
        for edit in dropped:
            edit.on_failed(error)
        return dropped[::-1]

    def pending(self) -> tuple[Edit, ...]:
        """Return the edits that are not durable, in order."""
        return tuple(self._edits)

    @property
    def has_room(self) -> bool:
        """Whether an edit may be added."""
        return len(self._edits) < self._max_pending

    @property
    def has_unsent(self) -> bool:
        """Whether an edit waits to be sent."""
        return self._sent < len(self._edits)

    def _find(self, client_seq: int) -> Edit | None:
        if not self._edits:
            return None
        place = client_seq - self._edits[0].client_seq
        return self._edits[place] if 0 <= place < len(self._edits) else None

"""Text that merges: an adapter to pycrdt, whose updates are those of Yjs.

The text is the root called ``text``. pycrdt counts UTF-8 bytes; `TextContent.edit` counts Unicode
code points, as Python does. Not safe to share between threads.

What is not defended: an editor with the right to write, and so to delete, can forge an insertion
whose neighbours contradict each other; replicas may then disagree about the text around it.
"""

from pycrdt import Doc, Text

from statesync.api import InvalidOperation, JsonValue
from statesync.strategy import ASSOCIATIVE, COMMUTATIVE, IDEMPOTENT, ContentBroken
from statesync.yjs import MalformedUpdate, read_state_vector, read_update

_ROOT = "text"
_NOTHING = b"\0\0"
"""The update that changes nothing."""


class TextContent:
    """A text document held open: a replica that takes updates in and makes its own."""

    def __init__(self, state: bytes = b"", *, client_id: int | None = None) -> None:
        """Open *state* (b"" is empty); *client_id* None takes a random Yjs client id."""
        self._doc: Doc[Text] = Doc() if client_id is None else Doc(client_id=client_id)
        self._text = self._doc.get(_ROOT, type=Text)
        self._clocks: dict[int, int] = {}
        self._as_text: str | None = ""
        if state:
            self.apply(state)

    def apply(self, update: bytes) -> None:
        """Take in an update; raises `InvalidOperation`, and nothing changed, if it is unfit.

        Raises `ContentBroken` for a forgery that is found out too late: this replica is then
        spoiled, and the text must be opened again.
        """
        try:
            extent = read_update(update)
            if extent.missing_from(self._clocks):
                raise InvalidOperation(
                    "the update builds on edits that this document does not have: send those first"
                )
            self._doc.apply_update(update)
        except MalformedUpdate as error:
            raise InvalidOperation(f"the payload is not a Yjs update: {error}") from None
        except InvalidOperation:
            raise
        except ValueError as error:
            raise InvalidOperation(f"the payload is not a Yjs update: {error}") from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A well-formed update of impossible content fails half way, or panics, which is not
            # even an Exception.
            raise ContentBroken(f"the update cannot be applied: {error}") from None
        extent.advance(self._clocks)
        self._as_text = None

    def encode(self) -> bytes:
        """Return the whole state as one update."""
        return self._doc.get_update()

    def text(self) -> str:
        """Return the plain text."""
        if self._as_text is None:
            self._as_text = str(self._text)
        return self._as_text

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        """Replace *deleted* code points at *position* by *inserted*; return the update to send."""
        before = self.text()
        if position < 0 or deleted < 0 or position + deleted > len(before):
            raise InvalidOperation(
                f"cannot replace {deleted} at {position}: the text has {len(before)} characters"
            )
        start = position if before.isascii() else len(before[:position].encode())
        size = len(before[position : position + deleted].encode())
        made: list[bytes] = []
        # An encoded difference would repeat every deletion there ever was; the event does not.
        watch = self._doc.observe(lambda event: made.append(event.update))
        try:
            with self._doc.transaction():
                if size:
                    del self._text[start : start + size]
                if inserted:
                    self._text.insert(start, inserted)
        finally:
            self._doc.unobserve(watch)
        self._as_text = before[:position] + inserted + before[position + deleted :]
        self._clocks = read_state_vector(self._doc.get_state())
        return made[0] if made else _NOTHING

    def state_vector(self) -> bytes:
        """Return what this replica has, for `missing_for` of another."""
        return self._doc.get_state()

    def missing_for(self, state_vector: bytes) -> bytes:
        """Return one update with everything that a replica at *state_vector* lacks."""
        try:
            return self._doc.get_update(state_vector)
        except ValueError as error:
            raise InvalidOperation(f"that is not a Yjs state vector: {error}") from None


class TextStrategy:
    """A CRDT: updates commute, so that no conflict ever needs deciding."""

    laws = frozenset({COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT})

    def initial(self, content: JsonValue | bytes) -> bytes:
        """Return the state of new text: from a string, a Yjs state, or nothing."""
        opened = TextContent()
        if isinstance(content, bytes):
            try:
                opened.apply(content)
            except ContentBroken as error:
                raise InvalidOperation(str(error)) from None
        elif isinstance(content, str):
            _check_encodable(content)
            opened.edit(0, 0, content)
        elif content is not None:
            raise InvalidOperation("a text document starts from a string or a Yjs state")
        return opened.encode()

    def open(self, state: bytes) -> TextContent:
        """Return the text with this state."""
        return TextContent(state)


def plain_text(state: bytes) -> str:
    """Return the plain text of a Yjs state, such as `Snapshot.content` of a text document."""
    return TextContent(state).text()


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidOperation(
            "the text has half a surrogate pair, which UTF-8 cannot say"
        ) from None

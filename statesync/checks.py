"""What every argument must be before a rule looks at it. Pure; one sentence for each fault."""

import json
from collections.abc import Mapping
from uuid import UUID

from statesync.api import (
    DocumentChange,
    InvalidArgument,
    JsonValue,
    NewDocument,
    Operation,
    Path,
    Permissions,
    TooLarge,
)

MAX_TEXT = 256
MAX_DESCRIPTION = 4096
MAX_ENTRIES = 64
MAX_MEMBERS = 1000
MAX_PATH = 32
_MAX_INT = 2**63 - 1


def check_id(text: str, name: str = "doc_id") -> str:
    """Return a UUID in its usual form."""
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise InvalidArgument(f"{name} must be a UUID, not {text!r:.80}") from None


def check_text(name: str, value: str, *, required: bool = False, limit: int = MAX_TEXT) -> None:
    """Refuse text that is missing, too long, or cannot be written as UTF-8."""
    if required and not value:
        raise InvalidArgument(f"{name} is missing")
    if len(value) > limit:
        raise InvalidArgument(f"{name} has {len(value)} characters, at most {limit} are allowed")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"{name} has half a surrogate pair: send whole characters"
            ) from None


def check_path(path: Path, name: str = "target") -> None:
    """Refuse a path that is too deep or has a key that is empty or too long."""
    if len(path) > MAX_PATH:
        raise InvalidArgument(f"{name} has {len(path)} keys, at most {MAX_PATH} are allowed")
    for key in path:
        check_text(f"a key of {name}", key, required=True)


def check_number(name: str, value: int, lowest: int = 0) -> None:
    """Refuse a number below *lowest* or above what stores can keep."""
    if not lowest <= value <= _MAX_INT:
        raise InvalidArgument(f"{name} must be {lowest} to 2^63 - 1, not {value}")


def check_limit(limit: int, highest: int) -> None:
    """Refuse a page size out of range."""
    if not 1 <= limit <= highest:
        raise InvalidArgument(f"limit must be 1 to {highest}, not {limit}")


def size_of(value: JsonValue | bytes, what: str) -> int:
    """Return how many bytes a value takes as JSON, or as it is."""
    if isinstance(value, bytes):
        return len(value)
    try:
        return len(json.dumps(value, separators=(",", ":"), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument(f"{what} is not a JSON value") from None


def check_operation(operation: Operation, max_bytes: int) -> int:
    """Refuse an operation whose form is wrong; return the size of its payload in bytes."""
    check_text("client_id", operation.client_id, required=True, limit=64)
    check_number("client_seq", operation.client_seq, 1)
    check_number("base_version", operation.base_version)
    check_number("fencing_token", operation.fencing_token)
    check_number("stamp.wall_ms", operation.stamp.wall_ms)
    check_number("stamp.counter", operation.stamp.counter)
    check_text("stamp.node", operation.stamp.node)
    check_path(operation.target)
    size = size_of(operation.payload, "the payload")
    if size > max_bytes:
        raise TooLarge(f"the payload has {size} bytes, at most {max_bytes} are allowed")
    return size


def check_new(new: NewDocument, max_bytes: int) -> None:
    """Refuse a document to be created whose form is wrong."""
    check_text("name", new.name, required=True)
    check_text("strategy", new.strategy)
    _check_settings(new.description, new.tags, new.properties, new.permissions)
    size = size_of(new.content, "the content")
    if size > max_bytes:
        raise TooLarge(f"the content has {size} bytes, at most {max_bytes} are allowed")


def check_change(change: DocumentChange) -> None:
    """Refuse a change of settings whose form is wrong."""
    if change.name is not None:
        check_text("name", change.name, required=True)
    if change.permissions is not None:
        check_text("permissions.owner", change.permissions.owner, required=True)
    _check_settings(
        change.description or "", change.tags or (), change.properties or {}, change.permissions
    )


def _check_settings(
    description: str,
    tags: tuple[str, ...],
    properties: Mapping[str, str],
    permissions: Permissions | None,
) -> None:
    check_text("description", description, limit=MAX_DESCRIPTION)
    if len(tags) > MAX_ENTRIES or len(properties) > MAX_ENTRIES:
        raise InvalidArgument(f"a document has at most {MAX_ENTRIES} tags and properties")
    for tag in tags:
        check_text("a tag", tag, required=True)
    for key, value in properties.items():
        check_text("a property's key", key, required=True)
        check_text(f"property {key!r}", value, limit=MAX_DESCRIPTION)
    if permissions is not None:
        users = [*permissions.editors, *permissions.viewers]
        if len(users) > MAX_MEMBERS:
            raise InvalidArgument(f"a document has at most {MAX_MEMBERS} editors and viewers")
        for user in (permissions.owner, *users):
            check_text("a user in permissions", user)

"""Values as JSON text and back, for stores that keep text. Pure.

Bytes are only ever a payload or content and are kept beside the text by the store, never inside it,
except within a conflict, where they are base 64.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from statesync.api import (
    Change,
    Conflict,
    Document,
    DocumentState,
    DocumentType,
    JsonValue,
    Lock,
    Loss,
    Operation,
    OperationStatus,
    OperationType,
    Permissions,
    Stamp,
)

_BYTES = "bytes"
_VALUE = "value"


def dump(value: object) -> str:
    """Return compact JSON; characters outside ASCII are escaped, so any string can be kept."""
    return json.dumps(value, separators=(",", ":"))


def document_to_text(document: Document) -> str:
    """Return the settings that no column has."""
    permissions = document.permissions
    return dump(
        {
            "name": document.name,
            "type": document.type.value,
            "strategy": document.strategy,
            "epoch": document.epoch,
            "owner": permissions.owner,
            "editors": sorted(permissions.editors),
            "viewers": sorted(permissions.viewers),
            "public": permissions.public,
            "created_by": document.created_by,
            "created_at_ns": document.created_at_ns,
            "updated_by": document.updated_by,
            "updated_at_ns": document.updated_at_ns,
            "description": document.description,
            "tags": list(document.tags),
            "properties": dict(document.properties),
        }
    )


def document_from_text(doc_id: str, state: str, version: int, revision: int, text: str) -> Document:
    """Return a document from its columns and `document_to_text`."""
    body = json.loads(text)
    return Document(
        id=doc_id,
        name=body["name"],
        type=DocumentType(body["type"]),
        state=DocumentState(state),
        strategy=body["strategy"],
        version=version,
        revision=revision,
        epoch=body["epoch"],
        permissions=Permissions(
            owner=body["owner"],
            editors=frozenset(body["editors"]),
            viewers=frozenset(body["viewers"]),
            public=body["public"],
        ),
        created_by=body["created_by"],
        created_at_ns=body["created_at_ns"],
        updated_by=body["updated_by"],
        updated_at_ns=body["updated_at_ns"],
        description=body["description"],
        tags=tuple(body["tags"]),
        properties=body["properties"],
    )


def changes_to_text(changes: tuple[Change, ...] | None) -> str | None:
    """Return an effect as text; None stays None."""
    return None if changes is None else dump([_change_to_json(c) for c in changes])


def changes_from_text(text: str | None) -> tuple[Change, ...] | None:
    """Return an effect from its text."""
    return None if text is None else tuple(_change_from_json(c) for c in json.loads(text))


def conflict_to_text(conflict: Conflict) -> str:
    """Return a conflict as text."""
    return dump(
        {
            "id": conflict.id,
            "doc_id": conflict.doc_id,
            "incoming": _operation_to_json(conflict.incoming),
            "against": conflict.against,
            "strategy": conflict.strategy,
            "lost": [
                [list(x.path), x.value, x.removed, x.user_id, x.version] for x in conflict.lost
            ],
            "detected_at_ns": conflict.detected_at_ns,
            "resolved_at_ns": conflict.resolved_at_ns,
            "resolved_by": conflict.resolved_by,
            "resolved_version": conflict.resolved_version,
        }
    )


def conflict_from_text(text: str) -> Conflict:
    """Return a conflict from its text."""
    body = json.loads(text)
    body["incoming"] = _operation_from_json(body["incoming"])
    body["against"] = tuple(body["against"])
    body["lost"] = tuple(
        Loss(tuple(path), value, removed, user_id, version)
        for path, value, removed, user_id, version in body["lost"]
    )
    return Conflict(**body)


def lock_to_text(lock: Lock) -> str:
    """Return a lock as text."""
    return dump(
        [
            lock.doc_id,
            list(lock.target),
            lock.user_id,
            lock.session_id,
            lock.fencing_token,
            lock.acquired_at_ns,
            lock.expires_at_ns,
        ]
    )


def lock_from_text(text: str) -> Lock:
    """Return a lock from its text."""
    doc_id, target, *rest = json.loads(text)
    return Lock(doc_id, tuple(target), *rest)


def _change_to_json(change: Change) -> list[JsonValue]:
    return [list(change.path), change.value, change.removed]


def _change_from_json(parts: list[Any]) -> Change:
    return Change(tuple(parts[0]), parts[1], parts[2])


def _payload_to_json(payload: JsonValue | bytes) -> JsonValue:
    if isinstance(payload, bytes):
        return {_BYTES: base64.b64encode(payload).decode()}
    return {_VALUE: payload}


def _payload_from_json(body: Mapping[str, Any]) -> Any:
    return base64.b64decode(body[_BYTES]) if _BYTES in body else body[_VALUE]


def _operation_to_json(operation: Operation) -> dict[str, object]:
    stamp = operation.stamp
    return {
        "doc_id": operation.doc_id,
        "client_id": operation.client_id,
        "client_seq": operation.client_seq,
        "type": operation.type.value,
        "target": list(operation.target),
        "payload": _payload_to_json(operation.payload),
        "base_version": operation.base_version,
        "stamp": [stamp.wall_ms, stamp.counter, stamp.node],
        "fencing_token": operation.fencing_token,
        "id": operation.id,
        "version": operation.version,
        "status": operation.status.value,
        "effect": None
        if operation.effect is None
        else [_change_to_json(c) for c in operation.effect],
        "user_id": operation.user_id,
        "session_id": operation.session_id,
        "applied_at_ns": operation.applied_at_ns,
    }


def _operation_from_json(body: dict[str, Any]) -> Operation:
    effect = body.pop("effect")
    return Operation(
        type=OperationType(body.pop("type")),
        target=tuple(body.pop("target")),
        payload=_payload_from_json(body.pop("payload")),
        stamp=Stamp(*body.pop("stamp")),
        status=OperationStatus(body.pop("status")),
        effect=None if effect is None else tuple(_change_from_json(c) for c in effect),
        **body,
    )

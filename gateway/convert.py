"""The state service's values as the envelope's parts, and back. Pure; the SDK uses it too."""

from collections.abc import Mapping
from typing import Any

from gateway import messages as m
from gateway.errors import Code, GatewayError
from statesync import api

_MS = 1_000_000


def document_info(document: api.Document) -> m.DocumentInfo:
    """Return a document's description."""
    permissions = document.permissions
    return m.DocumentInfo(
        document=document.id,
        name=document.name,
        type=document.type.value,
        state=document.state.value,
        strategy=document.strategy,
        version=document.version,
        revision=document.revision,
        epoch=document.epoch,
        owner=permissions.owner,
        public=permissions.public,
        editors=tuple(sorted(permissions.editors)),
        viewers=tuple(sorted(permissions.viewers)),
        description=document.description,
        tags=document.tags,
        properties=dict(document.properties),
        active_users=document.active_users,
        created_by=document.created_by,
        created_ms=document.created_at_ns // _MS,
        updated_by=document.updated_by,
        updated_ms=document.updated_at_ns // _MS,
    )


def document(info: m.DocumentInfo) -> api.Document:
    """Return what *info* describes. Raises ValueError for an unknown type or state."""
    return api.Document(
        id=info.document,
        name=info.name,
        type=api.DocumentType(info.type),
        state=api.DocumentState(info.state),
        strategy=info.strategy,
        version=info.version,
        revision=info.revision,
        epoch=info.epoch,
        permissions=permissions(info.owner, info.editors, info.viewers, info.public),
        created_by=info.created_by,
        created_at_ns=info.created_ms * _MS,
        updated_by=info.updated_by,
        updated_at_ns=info.updated_ms * _MS,
        description=info.description,
        tags=info.tags,
        properties=info.properties,
        active_users=info.active_users,
    )


def permissions(
    owner: str, editors: tuple[str, ...], viewers: tuple[str, ...], public: bool
) -> api.Permissions:
    """Return permissions as the service writes them."""
    return api.Permissions(owner, frozenset(editors), frozenset(viewers), public)


def snapshot(found: api.Snapshot) -> m.Snapshot:
    """Return a document's content."""
    value, update = _split(found.content)
    return m.Snapshot(found.version, value, update)


def operation(done: api.Operation) -> m.Operation:
    """Return an operation of the log."""
    value, update = _split(done.payload)
    return m.Operation(
        document=done.doc_id,
        type=done.type.value,
        client=done.client_id,
        client_seq=done.client_seq,
        target=done.target,
        value=value,
        update=update,
        base_version=done.base_version,
        stamp=stamp(done.stamp),
        operation=done.id,
        version=done.version,
        status=done.status.value,
        altered=done.effect is not None,
        effect=changes(done.effect),
        user=done.user_id,
        session=done.session_id,
        applied_ms=done.applied_at_ns // _MS,
    )


def service_operation(done: m.Operation) -> api.Operation:
    """Return an operation of the log as a replica applies it. Raises ValueError when malformed."""
    return api.Operation(
        doc_id=done.document,
        client_id=done.client,
        client_seq=done.client_seq,
        type=api.OperationType(done.type),
        target=done.target,
        payload=done.update or done.value,
        base_version=done.base_version,
        stamp=service_stamp(done.stamp),
        id=done.operation,
        version=done.version,
        status=api.OperationStatus(done.status),
        effect=service_changes(done.effect) if done.altered else None,
        user_id=done.user,
        session_id=done.session,
        applied_at_ns=done.applied_ms * _MS,
    )


def submitted(body: m.Submit) -> api.Operation:
    """Return what a client asks for. Raises `GatewayError` for an unknown type."""
    return api.Operation(
        doc_id=body.document,
        client_id=body.client,
        client_seq=body.client_seq,
        type=named(api.OperationType, body.type, "operation type"),
        target=body.target,
        payload=body.update or body.value,
        base_version=body.base_version,
        stamp=service_stamp(body.stamp),
        fencing_token=body.fence,
    )


def named(kind: Any, name: str, what: str) -> Any:
    """Return the member of an enumeration. Raises `GatewayError` that lists what there is."""
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise GatewayError(
            Code.INVALID, f"there is no {what} {name[:64]!r}; known: {known}"
        ) from None


def stamp(found: api.Stamp) -> m.Stamp | None:
    """Return a clock reading, or None for no reading."""
    if found == api.Stamp():
        return None
    return m.Stamp(found.wall_ms, found.counter, found.node)


def service_stamp(given: m.Stamp | None) -> api.Stamp:
    """Return a clock reading as the service compares it."""
    return api.Stamp(given.wall_ms, given.counter, given.node) if given else api.Stamp()


def changes(effect: tuple[api.Change, ...] | None) -> tuple[m.Change, ...]:
    """Return what an operation did."""
    return tuple(m.Change(c.path, c.value, c.removed) for c in effect or ())


def service_changes(effect: tuple[m.Change, ...]) -> tuple[api.Change, ...]:
    """Return what an operation did, as a replica applies it."""
    return tuple(api.Change(c.path, c.value, c.removed) for c in effect)


def conflict(found: api.Conflict) -> m.Conflict:
    """Return a conflict with everything that was lost in it."""
    return m.Conflict(
        conflict=found.id,
        document=found.doc_id,
        incoming=operation(found.incoming),
        against=found.against,
        strategy=found.strategy,
        lost=tuple(
            m.Loss(loss.path, loss.value, loss.removed, loss.user_id, loss.version)
            for loss in found.lost
        ),
        detected_ms=found.detected_at_ns // _MS,
        resolved_ms=found.resolved_at_ns // _MS,
        resolved_by=found.resolved_by,
        resolved_version=found.resolved_version,
    )


def lock(found: api.Lock) -> m.LockInfo:
    """Return a lock."""
    return m.LockInfo(
        document=found.doc_id,
        target=found.target,
        user=found.user_id,
        session=found.session_id,
        fence=found.fencing_token,
        acquired_ms=found.acquired_at_ns // _MS,
        expires_ms=found.expires_at_ns // _MS,
    )


def acknowledgement(given: api.Acknowledgement) -> m.Ack:
    """Return the durable acknowledgement of an operation."""
    return m.Ack(
        document=given.doc_id,
        client=given.client_id,
        client_seq=given.client_seq,
        stage=m.Stage.DURABLE,
        version=given.version,
        epoch=given.epoch,
        durability=given.durability.value,
        duplicate=given.duplicate,
        status=given.status.value,
        operation=given.operation_id,
        altered=given.effect is not None,
        effect=changes(given.effect),
        conflict=given.conflict_id,
    )


def event(happened: api.Event) -> m.Event:
    """Return an event of a document."""
    return m.Event(
        type=happened.type.value,
        document=happened.doc_id,
        version=happened.version,
        user=happened.user_id,
        operation=operation(happened.operation) if happened.operation else None,
        conflict=conflict(happened.conflict) if happened.conflict else None,
        lock=lock(happened.lock) if happened.lock else None,
        info=document_info(happened.document) if happened.document else None,
        snapshot=snapshot(happened.snapshot) if happened.snapshot else None,
    )


_CHANGE_TYPES: Mapping[str, tuple[type, str]] = {
    "name": (str, "a string"),
    "state": (str, "a string"),
    "description": (str, "a string"),
    "tags": (list, "a list of strings"),
    "properties": (dict, "an object of strings"),
    "permissions": (dict, "an object"),
}
_PERMISSION_TYPES: Mapping[str, tuple[type, str]] = {
    "owner": (str, "a string"),
    "editors": (list, "a list of strings"),
    "viewers": (list, "a list of strings"),
    "public": (bool, "true or false"),
}


def document_change(change: Any) -> api.DocumentChange:
    """Return the change that a JSON object asks for. Raises `GatewayError`."""
    fields = _checked(change, _CHANGE_TYPES, "change")
    if "state" in fields:
        fields["state"] = named(api.DocumentState, fields["state"], "document state")
    if "tags" in fields:
        fields["tags"] = tuple(fields["tags"])
    if "permissions" in fields:
        given = _checked(fields["permissions"], _PERMISSION_TYPES, "permissions")
        fields["permissions"] = permissions(
            given.get("owner", ""),
            tuple(given.get("editors", ())),
            tuple(given.get("viewers", ())),
            given.get("public", False),
        )
    return api.DocumentChange(**fields)


def _checked(given: Any, types: Mapping[str, tuple[type, str]], where: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not given:
        raise GatewayError(Code.INVALID, f"{where!r} must be an object with some of {list(types)}")
    for name, value in given.items():
        if name not in types:
            raise GatewayError(
                Code.INVALID, f"{where!r} has no field {name[:64]!r}; known: {list(types)}"
            )
        kind, expected = types[name]
        texts = value if kind is list else value.values() if kind is dict else ()
        if not isinstance(value, kind) or (
            name != "permissions" and not all(isinstance(text, str) for text in texts)
        ):
            raise GatewayError(Code.INVALID, f"{where}.{name} must be {expected}")
    return dict(given)


def _split(content: Any) -> tuple[Any, bytes]:
    return (None, content) if isinstance(content, bytes) else (content, b"")

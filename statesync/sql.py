"""The tables of a SQL state store, and how rows become values. No statement here writes.

Rules for editing: a change of `SCHEMA` raises `SCHEMA_VERSION`.
"""

import json
import sqlite3
from typing import Any

from statesync.api import (
    Conflict,
    Document,
    DocumentFilter,
    DocumentState,
    JsonValue,
    Operation,
    OperationStatus,
    OperationType,
    Stamp,
)
from statesync.encoding import (
    changes_from_text,
    changes_to_text,
    conflict_from_text,
    document_from_text,
    dump,
    lock_from_text,
)
from statesync.store import ClientMark, Loaded, StoredSnapshot, Totals

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, type TEXT NOT NULL, created_by TEXT NOT NULL,
    owner TEXT NOT NULL, public INTEGER NOT NULL, version INTEGER NOT NULL,
    revision INTEGER NOT NULL, last_token INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    doc_id TEXT NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (user_id, doc_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS members_of ON members (doc_id);
CREATE TABLE IF NOT EXISTS operations (
    doc_id TEXT NOT NULL, version INTEGER NOT NULL, client_id TEXT NOT NULL,
    client_seq INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, target TEXT NOT NULL,
    json TEXT, raw BLOB, base_version INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
    counter INTEGER NOT NULL, node TEXT NOT NULL, fencing_token INTEGER NOT NULL,
    status TEXT NOT NULL, effect TEXT, user_id TEXT NOT NULL, session_id TEXT NOT NULL,
    applied_at_ns INTEGER NOT NULL,
    PRIMARY KEY (doc_id, version), UNIQUE (doc_id, client_id, client_seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clients (
    doc_id TEXT NOT NULL, client_id TEXT NOT NULL, user_id TEXT NOT NULL,
    client_seq INTEGER NOT NULL, PRIMARY KEY (doc_id, client_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (
    doc_id TEXT NOT NULL, version INTEGER NOT NULL, json TEXT, raw BLOB,
    PRIMARY KEY (doc_id, version)
);
CREATE TABLE IF NOT EXISTS conflicts (
    doc_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, operation_id TEXT NOT NULL,
    pending INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (doc_id, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conflicts_by_version ON conflicts (doc_id, version);
CREATE INDEX IF NOT EXISTS conflicts_by_operation ON conflicts (doc_id, operation_id);
CREATE TABLE IF NOT EXISTS locks (
    doc_id TEXT NOT NULL, token INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (doc_id, token)
) WITHOUT ROWID;
"""

_OPERATION = "SELECT * FROM operations WHERE doc_id = ? "
_DOCUMENT = "SELECT id, state, version, revision, body FROM documents "


def content_columns(content: JsonValue | bytes) -> tuple[str | None, bytes | None]:
    """Return content, or a payload, as its columns ``json`` and ``raw``."""
    return (None, content) if isinstance(content, bytes) else (dump(content), None)


def operation_row(operation: Operation) -> tuple[Any, ...]:
    """Return the row of an operation."""
    stamp = operation.stamp
    return (
        operation.doc_id,
        operation.version,
        operation.client_id,
        operation.client_seq,
        operation.id,
        operation.type.value,
        dump(operation.target),
        *content_columns(operation.payload),
        operation.base_version,
        stamp.wall_ms,
        stamp.counter,
        stamp.node,
        operation.fencing_token,
        operation.status.value,
        changes_to_text(operation.effect),
        operation.user_id,
        operation.session_id,
        operation.applied_at_ns,
    )


def _operation(row: Any) -> Operation:
    (doc_id, version, client_id, client_seq, op_id, kind, target, text, raw, base, wall_ms) = row[
        :11
    ]
    counter, node, token, status, effect, user_id, session_id, applied_at_ns = row[11:]
    return Operation(
        doc_id=doc_id,
        client_id=client_id,
        client_seq=client_seq,
        type=OperationType(kind),
        target=tuple(json.loads(target)),
        payload=_content(text, raw),
        base_version=base,
        stamp=Stamp(wall_ms, counter, node),
        fencing_token=token,
        id=op_id,
        version=version,
        status=OperationStatus(status),
        effect=changes_from_text(effect),
        user_id=user_id,
        session_id=session_id,
        applied_at_ns=applied_at_ns,
    )


def _content(text: str | None, raw: bytes | None) -> Any:
    return raw if text is None else json.loads(text)


def read_document(db: sqlite3.Connection, doc_id: str) -> Document | None:
    """Return a document's settings."""
    row = db.execute(_DOCUMENT + "WHERE id = ?", (doc_id,)).fetchone()
    return None if row is None else document_from_text(*row)


def read_load(db: sqlite3.Connection, doc_id: str) -> Loaded | None:
    """Return a document to be opened, all of it as of one moment."""
    db.execute("BEGIN")
    try:
        document = read_document(db, doc_id)
        if document is None:
            return None
        snapshot = read_snapshot(db, doc_id, document.version)
        assert snapshot is not None
        operations = read_operations(db, doc_id, snapshot.version, -1)
        locks = db.execute("SELECT body FROM locks WHERE doc_id = ?", (doc_id,)).fetchall()
        (last_token,) = db.execute(
            "SELECT last_token FROM documents WHERE id = ?", (doc_id,)
        ).fetchone()
        return Loaded(
            document=document,
            snapshot=snapshot,
            operations=tuple(operations),
            locks=tuple(lock_from_text(body) for (body,) in locks),
            last_token=last_token,
        )
    finally:
        db.execute("COMMIT")


def read_documents(
    db: sqlite3.Connection, where: DocumentFilter, reader: str | None, after: str, limit: int
) -> tuple[list[Document], int]:
    """Return one page and the total."""
    clauses, values = ["state = ?"], [where.state or DocumentState.DELETED]
    if where.state is None:
        clauses = ["state <> ?"]
    arguments: list[Any] = [v.value for v in values]
    if where.type is not None:
        clauses.append("type = ?")
        arguments.append(where.type.value)
    if where.created_by is not None:
        clauses.append("created_by = ?")
        arguments.append(where.created_by)
    if reader is not None:
        clauses.append(
            "(owner = ? OR (state <> 'deleted' AND (public OR EXISTS"
            " (SELECT 1 FROM members WHERE user_id = ? AND doc_id = documents.id))))"
        )
        arguments += [reader, reader]
    condition = "WHERE " + " AND ".join(clauses)
    rows = db.execute(
        f"{_DOCUMENT} {condition} AND id > ? ORDER BY id LIMIT ?", (*arguments, after, limit)
    ).fetchall()
    (total,) = db.execute(f"SELECT count(*) FROM documents {condition}", arguments).fetchone()
    return [document_from_text(*row) for row in rows], total


def read_operations(db: sqlite3.Connection, doc_id: str, after: int, limit: int) -> list[Operation]:
    """Return operations after a version; a negative limit is none."""
    rows = db.execute(
        _OPERATION + "AND version > ? ORDER BY version LIMIT ?", (doc_id, after, limit)
    )
    return [_operation(row) for row in rows]


def read_operation(
    db: sqlite3.Connection, doc_id: str, client_id: str, client_seq: int
) -> Operation | None:
    """Return the operation that a client sent under a sequence."""
    row = db.execute(
        _OPERATION + "AND client_id = ? AND client_seq = ?", (doc_id, client_id, client_seq)
    ).fetchone()
    return None if row is None else _operation(row)


def read_mark(db: sqlite3.Connection, doc_id: str, client_id: str) -> ClientMark | None:
    """Return how far a client has come."""
    row = db.execute(
        "SELECT user_id, client_seq FROM clients WHERE doc_id = ? AND client_id = ?",
        (doc_id, client_id),
    ).fetchone()
    return None if row is None else ClientMark(*row)


def read_snapshot(db: sqlite3.Connection, doc_id: str, version: int) -> StoredSnapshot | None:
    """Return the newest snapshot that is not after a version."""
    row = db.execute(
        "SELECT version, json, raw FROM snapshots WHERE doc_id = ? AND version <= ?"
        " ORDER BY version DESC LIMIT 1",
        (doc_id, version),
    ).fetchone()
    return None if row is None else StoredSnapshot(row[0], _content(row[1], row[2]))


def read_conflicts(
    db: sqlite3.Connection, doc_id: str, pending_only: bool, limit: int
) -> list[Conflict]:
    """Return conflicts, newest first."""
    rows = db.execute(
        "SELECT body FROM conflicts WHERE doc_id = ? AND pending >= ?"
        " ORDER BY version DESC LIMIT ?",
        (doc_id, int(pending_only), limit),
    )
    return [conflict_from_text(body) for (body,) in rows]


def read_conflict(db: sqlite3.Connection, doc_id: str, conflict_id: str) -> Conflict | None:
    """Return one conflict."""
    row = db.execute(
        "SELECT body FROM conflicts WHERE doc_id = ? AND id = ?", (doc_id, conflict_id)
    ).fetchone()
    return None if row is None else conflict_from_text(row[0])


def read_conflict_of(db: sqlite3.Connection, doc_id: str, operation_id: str) -> Conflict | None:
    """Return the conflict that an operation met."""
    row = db.execute(
        "SELECT body FROM conflicts WHERE doc_id = ? AND operation_id = ?", (doc_id, operation_id)
    ).fetchone()
    return None if row is None else conflict_from_text(row[0])


def read_totals(db: sqlite3.Connection) -> Totals:
    """Return counts."""
    row = db.execute(
        "SELECT (SELECT count(*) FROM documents WHERE state <> 'deleted'),"
        " (SELECT count(*) FROM documents WHERE state = 'active'),"
        " (SELECT count(*) FROM documents WHERE state = 'archived'),"
        " (SELECT coalesce(sum(version), 0) FROM documents),"
        " (SELECT count(*) FROM conflicts), (SELECT count(*) FROM conflicts WHERE NOT pending),"
        " (SELECT count(*) FROM locks)"
    ).fetchone()
    return Totals(*row)

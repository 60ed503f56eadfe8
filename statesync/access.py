"""Who may do what to a document. Pure."""

from statesync.api import Actor, Document, DocumentState, NotWritable, PermissionDenied


def may_read(actor: Actor, document: Document) -> bool:
    """Return whether *actor* may see the document; a deleted one only its owner sees."""
    if may_own(actor, document):
        return True
    if document.state is DocumentState.DELETED:
        return False
    allowed = document.permissions
    return allowed.public or actor.user_id in allowed.editors or actor.user_id in allowed.viewers


def may_write(actor: Actor, document: Document) -> bool:
    """Return whether *actor* may edit and lock."""
    return may_own(actor, document) or actor.user_id in document.permissions.editors


def may_own(actor: Actor, document: Document) -> bool:
    """Return whether *actor* may change settings and permissions, and delete."""
    return actor.is_admin or actor.user_id == document.permissions.owner


def require_read(actor: Actor, document: Document) -> None:
    """Raise `PermissionDenied` unless *actor* may read."""
    if not may_read(actor, document):
        raise PermissionDenied(f"user {actor.user_id!r} may not read document {document.id}")


def require_edit(actor: Actor, document: Document) -> None:
    """Raise `PermissionDenied` unless *actor* may edit, now or when the document is active."""
    require_read(actor, document)
    if not may_write(actor, document):
        raise PermissionDenied(f"user {actor.user_id!r} may not edit document {document.id}")


def require_active(document: Document) -> None:
    """Raise `NotWritable` if the document takes no edits."""
    if document.state is not DocumentState.ACTIVE:
        raise NotWritable(f"document {document.id} is {document.state}: it takes no edits")


def require_own(actor: Actor, document: Document) -> None:
    """Raise `PermissionDenied` unless *actor* owns the document."""
    require_read(actor, document)
    if not may_own(actor, document):
        raise PermissionDenied(
            f"only the owner of document {document.id} may do this, not {actor.user_id!r}"
        )

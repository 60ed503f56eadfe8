"""The session stores there are: one line each."""

from session.store import SessionStore
from svckit.registry import Registry

STORES: Registry[SessionStore] = Registry(
    "session store",
    "quantum.session_stores",
    {
        "memory": "session.stores.memory:MemoryStore",
        "sqlite": "session.stores.sqlite:SqliteStore",
    },
)

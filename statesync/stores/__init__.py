"""The state stores there are: one line each."""

from statesync.store import StateStore
from svckit.registry import Registry

STORES: Registry[StateStore] = Registry(
    "state store",
    "quantum.state_stores",
    {
        "memory": "statesync.stores.memory:MemoryStore",
        "sqlite": "statesync.stores.sqlite:SqliteStore",
    },
)

"""Fixtures and settings for every test."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A suite started in the background ignores SIGINT, and so would each program under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two cores are shared by two workers: a slow example is the machine's, not the code's.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name holds an address in memory: no two workers would agree on it."""
    nameless = [item.nodeid for item in items if " at 0x" in item.name]
    if nameless:
        raise pytest.UsageError(f"give this parameter an id that stays the same: {nameless[0]}")

"""A machine without TUN cannot run these tests; one that checks changes must be able to."""

import os

import pytest

from bench.link import why_not


@pytest.fixture(scope="session")
def link_here() -> None:
    """Fail where CI is set and a link cannot be made; skip elsewhere."""
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(f"the bench's link cannot be tested: {reason}")
        pytest.skip(reason)

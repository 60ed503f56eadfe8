"""docs/gateway.md says what the gateway does: routes, error codes, close codes, settings."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from gateway import document_handlers, session_handlers
from gateway.close_codes import CloseCode
from gateway.config import example
from gateway.errors import RULES
from gateway.middleware.circuit_breaker import Breakers
from gateway.rest_routes import RestRoutes
from svckit.clock import SystemClock

PAGE = Path(__file__).resolve().parents[2] / "docs/gateway.md"


class RecordingApi:
    """Stands where `gateway.rest.Api` makes routes, and notes what it is asked to make."""

    def __init__(self) -> None:
        self.rows: set[tuple[str, str, str]] = set()

    def route(self, path: str, methods: Mapping[str, Any], *, is_open: bool = False) -> None:
        self.rows |= {(method, path, "no" if is_open else "yes") for method in methods}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under *heading*, without its two head rows."""
    section = PAGE.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^\|(.*)\|$", section, re.M)
    return [[cell.strip().strip("`") for cell in line.split("|")] for line in lines[2:]]


def settings(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key of a configuration with its dots, and its value."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_the_route_table_lists_every_route_and_whether_it_needs_a_token() -> None:
    api = RecordingApi()
    unused = cast(Any, None)
    backends = {**session_handlers.BACKENDS, **document_handlers.BACKENDS}
    breakers = Breakers(SystemClock(), backends)
    RestRoutes(cast(Any, api), unused, unused, unused, unused, unused, breakers, unused).routes()
    rows = [(method, path, token) for method, path, token, *_ in table("The REST routes")]
    assert len(rows) == len(set(rows))
    assert set(rows) == api.rows


def test_the_error_table_is_the_table_of_rules() -> None:
    said = [(code, status, retry) for code, status, retry, *_ in table("Errors")]
    assert said == [
        (code.value, str(rule.status), "yes" if rule.retry else "no")
        for code, rule in RULES.items()
    ]


def test_the_close_code_table_is_the_table_of_close_codes() -> None:
    assert table("Close codes") == [
        [str(int(code)), code.name, code.sentence, "yes" if code.may_reconnect else "no"]
        for code in CloseCode
    ]


def test_the_configuration_table_has_every_key_at_its_default() -> None:
    said = [(key, yaml.safe_load(default)) for key, default, *_ in table("Configuration")]
    assert said == list(settings(yaml.safe_load(example())))

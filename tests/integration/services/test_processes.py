"""``python -m session`` and ``python -m statesync`` as a person runs them."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from session.api import NewSession
from session.rpc.client import GrpcSessionClient
from statesync.api import DocumentType, Durability, NewDocument, Stamp
from statesync.rpc.client import GrpcStateSyncClient
from svckit.grpc import channel
from tests.support.services import ANNA, Editor

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def start(
    module: str, environment: dict[str, str], *arguments: str
) -> asyncio.subprocess.Process:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("QUANTUM_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(module: str, environment: dict[str, str]) -> AsyncIterator[str]:
    """Yield the address of a process, which must end well on SIGTERM."""
    prefix = f"QUANTUM_{module.upper()}__"
    child = await start(module, {f"{prefix}PORT": "0", **environment})
    assert child.stdout is not None
    line = (await child.stdout.readline()).decode()
    assert "listening on" in line, (await child.communicate())[1]
    yield line.split()[-1]
    child.send_signal(signal.SIGTERM)
    _, errors = await child.communicate()
    assert child.returncode == 0, errors


async def test_sessions_survive_a_restart_of_their_process(tmp_path: Path) -> None:
    environment = {
        "QUANTUM_SESSION__STORE": "sqlite",
        "QUANTUM_SESSION__LOCATION": str(tmp_path / "sessions.db"),
        "QUANTUM_SESSION__SESSION__TIMEOUT_S": "120",
    }
    async with running("session", environment) as address, channel(address) as opened:
        created = await GrpcSessionClient(opened).create(NewSession("anna", "c-1"))
        assert created.session.timeout_s == 120
    async with running("session", environment) as address, channel(address) as opened:
        client = GrpcSessionClient(opened)
        found = await client.verify(created.session.id, created.token)
        assert found == created.session
        assert await client.get_by_connection("c-1") == found


async def test_documents_survive_a_restart_of_their_process(tmp_path: Path) -> None:
    environment = {
        "QUANTUM_STATESYNC__STORE": "sqlite",
        "QUANTUM_STATESYNC__LOCATION": str(tmp_path / "documents.db"),
        "QUANTUM_STATESYNC__STATESYNC__DURABILITY": "D2",
    }
    async with running("statesync", environment) as address, channel(address) as opened:
        client = GrpcStateSyncClient(opened)
        made = await client.create_document(ANNA, NewDocument("a", DocumentType.SHEET))
        # Unstamped: the process has the clock of the machine, the builder that of the tests.
        operation = replace(Editor(made, "a1").put("k", value=1), stamp=Stamp())
        answer = await client.apply(ANNA, operation)
        assert answer.durability is Durability.D2
    environment["QUANTUM_STATESYNC__METRICS_PORT"] = str(free_port())
    async with running("statesync", environment) as address, channel(address) as opened:
        port = environment["QUANTUM_STATESYNC__METRICS_PORT"]
        page = await asyncio.to_thread(urlopen, f"http://127.0.0.1:{port}/metrics")
        with page:
            assert b'statesync_held{what="open_documents"} 0.0' in page.read()
        snapshot = await GrpcStateSyncClient(opened).get_document(ANNA, made.id)
        assert (snapshot.version, snapshot.content) == (1, {"k": 1})


@pytest.mark.parametrize("module", ["session", "statesync"])
@pytest.mark.parametrize(
    ("key", "value", "status", "says"),
    [
        ("STROE", "x", 2, "did you mean 'store'"),
        ("PORT", "many", 2, "'port' is wrong"),
        ("STORE", "oracle", 2, "no "),
        ("STORE", "sqlite", 2, "needs a location"),
        ("LOG_LEVEL", "loud", 2, "log level 'loud' is unknown"),
        ("HOST", "203.0.113.1", 1, "cannot listen"),
    ],
)
async def test_a_wrong_setting_is_one_clear_sentence(
    module: str, key: str, value: str, status: int, says: str
) -> None:
    child = await start(module, {f"QUANTUM_{module.upper()}__{key}": value})
    _, errors = await child.communicate()
    assert child.returncode == status, errors
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"{module}: ")
    assert says in last
    assert b"Traceback" not in errors


async def test_a_configuration_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    child = await start("session", {}, "--config", str(tmp_path / "no.yaml"))
    _, errors = await child.communicate()
    assert (child.returncode, b"does not exist" in errors) == (2, True)


async def test_a_store_that_gives_too_little_refuses_to_start() -> None:
    child = await start("statesync", {"QUANTUM_STATESYNC__STATESYNC__DURABILITY": "D2"})
    _, errors = await child.communicate()
    assert child.returncode == 1
    assert b"D2 is configured, this store gives D0" in errors.splitlines()[-1]

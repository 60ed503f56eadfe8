"""The gateway as a process: its command line, its signals, and kill -9."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from gateway import messages as m
from gateway.app import DEV_PASSWORD
from gateway.close_codes import CloseCode
from tests.support.dialers import Ended, dial
from tests.support.gateways import Speaker
from tests.support.web import request

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A running gateway and its doors."""

    def __init__(self, process: asyncio.subprocess.Process, urls: dict[str, str]) -> None:
        self.process = process
        self.urls = urls
        self.port = int(urls["websocket"].split(":")[2].partition("/")[0])

    async def speak(self, user: str = "alice") -> Speaker:
        speaker = Speaker(await dial("websocket", self.urls["websocket"]), "protobuf")
        speaker.session = await speaker.ask(
            m.Login(username=user, password=DEV_PASSWORD), m.Session
        )
        return speaker

    async def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()


async def spawn(*arguments: str, stdin: bytes | None = None) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if stdin is not None and process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    return process


async def run(*arguments: str, stdin: bytes | None = None) -> tuple[int | None, str, str]:
    """Run a verb to its end; returns status, output and errors."""
    process = await spawn(*arguments, stdin=stdin)
    async with asyncio.timeout(20):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Process]:
    process = await spawn(
        "serve", "--dev", "--quantum-port", "0", "--http-port", "0", "--data-dir", str(folder),
        "--log-level", "error",
    )  # fmt: skip
    urls: dict[str, str] = {}
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while (line := (await process.stdout.readline()).decode().split()) != ["ready"]:
                if not line and process.stdout.at_eof():
                    _, errors = await process.communicate()
                    pytest.fail(f"the gateway did not start: {errors.decode()}")
                if len(line) == 2 and "://" in line[1]:
                    urls[line[0]] = line[1]
        yield Process(process, urls)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_sigterm_moves_the_clients_and_exits_with_0(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        client = await gateway.speak()
        assert (await request(gateway.port, "GET", "/ready")).status == 200
        assert await gateway.stop(signal.SIGTERM) == 0
        assert isinstance((await client.push()).body, m.GoingAway)
        assert await client.end() == CloseCode.GOING_AWAY


async def test_a_request_in_flight_is_answered_before_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        client = await gateway.speak()
        created = await client.ask(m.DocumentCreate("n", "canvas"), m.Document)
        assert created.info is not None
        document = created.info.document
        asked = [
            await client.post(m.Submit(document, "update", "c", n, (f"k{n}",), value=n))
            for n in range(1, 301)
        ]
        first = await client.reply(asked[0], m.Ack)
        assert first.version == 1
        stopping = asyncio.create_task(gateway.stop(signal.SIGTERM))
        answered = 1
        try:
            for request_id in asked[1:]:
                await client.reply(request_id, m.Ack)
                answered += 1
        except Ended:
            pass
        assert await stopping == 0
        assert await client.end() == CloseCode.GOING_AWAY
        async with serving(tmp_path) as again:
            client = await again.speak()
            opened = await client.ask(m.DocumentOpen(document, quiet=True), m.DocumentOpened)
            assert opened.version >= answered
            await client.cut()


async def test_nothing_acknowledged_is_lost_or_applied_twice_by_kill_9(tmp_path: Path) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    document, session = "", None
    written = version = 0
    epoch = ""
    pending: list[m.Submit] = []
    for round_number in range(3):
        async with serving(tmp_path) as gateway:
            if session is None:
                client = await gateway.speak()
                session = client.session
                created = await client.ask(m.DocumentCreate("n", "text"), m.Document)
                assert created.info is not None
                document = created.info.document
                epoch = created.info.epoch
            else:
                client = Speaker(await dial("websocket", gateway.urls["websocket"]), "protobuf")
                position = m.Position(m.document_channel(document), version, epoch)
                resume = m.Resume(session.session, session.session_token, (position,))
                resumed = await client.ask(resume, m.Session)
                assert resumed.resumed
                assert resumed.channels[0].recovered
            for _ in range(60):
                before = doc.get_state()
                text.insert(len(str(text)), f"{written} ")
                written += 1
                update = doc.get_update(before)
                pending.append(m.Submit(document, "text", "me", written, update=update))
            asked = [(body, await client.post(body)) for body in pending]
            kill_after = 20 + 15 * round_number
            for body, request_id in asked[:kill_after]:
                ack = await client.reply(request_id, m.Ack)
                assert ack.durability == "D2"
                assert ack.version == body.client_seq
                version = ack.version
            assert await gateway.stop(signal.SIGKILL) == -signal.SIGKILL
            await client.end()
            # What was answered before the end counts as acknowledged as well.
            for _, request_id in asked[kill_after:]:
                try:
                    version = (await client.reply(request_id, m.Ack)).version
                except Ended:
                    break
            pending = [body for body in pending if body.client_seq > version]
    async with serving(tmp_path) as gateway:
        client = await gateway.speak()
        opened = await client.ask(m.DocumentOpen(document, quiet=True), m.DocumentOpened)
        assert opened.version >= version
        for body in pending:
            ack = await client.ask(body, m.Ack)
            assert ack.version == body.client_seq
            assert ack.duplicate == (body.client_seq <= opened.version)
        opened = await client.ask(m.DocumentOpen(document, quiet=True), m.DocumentOpened)
        assert opened.snapshot is not None
        replica: pycrdt.Doc[Any] = pycrdt.Doc()
        replica_text = replica.get("text", type=pycrdt.Text)
        replica.apply_update(opened.snapshot.update)
        assert str(replica_text) == "".join(f"{n} " for n in range(written))
        await client.cut()


async def test_a_login_survives_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        client = await gateway.speak()
        session = client.session
        assert session is not None
        assert await gateway.stop(signal.SIGTERM) == 0
        await client.end()
    async with serving(tmp_path) as gateway:
        answer = await request(gateway.port, "GET", "/api/v1/auth/me", token=session.access_token)
        assert answer.json["data"]["username"] == "alice"
        body = {"refresh_token": session.refresh_token}
        assert (await request(gateway.port, "POST", "/api/v1/auth/refresh", body)).status == 200


async def test_the_server_keeps_the_key_that_its_clients_pin(tmp_path: Path) -> None:
    pins = []
    for _ in range(2):
        async with serving(tmp_path) as gateway:
            pins.append(gateway.urls["quantum"].partition("pin=")[2])
            client = Speaker(await dial("quantum", gateway.urls["quantum"]), "protobuf")
            assert (await client.ask(m.Hello(1), m.Welcome)).protocol == 1
            assert await gateway.stop(signal.SIGTERM) == 0
            assert await client.end() == CloseCode.GOING_AWAY
    assert pins[0] == pins[1] != ""


async def test_secrets_are_kept_from_other_users(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with serving(folder):
        pass
    assert folder.stat().st_mode & 0o777 == 0o700
    names = ("identity.key", "users.yaml", "refresh.sqlite")
    for path in [*folder.glob("jwt/*.pem"), *(folder / name for name in names)]:
        assert path.stat().st_mode & 0o077 == 0, path
    (folder / "users.yaml").chmod(0o644)
    status, _, errors = await run("serve", "--dev", "--no-quantum", "--data-dir", str(folder))
    assert status == 2
    assert "chmod 600" in errors


async def test_a_port_that_is_taken_gives_one_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as gateway:
        status, _, errors = await run(
            "serve", "--dev", "--no-quantum", "--http-port", str(gateway.port),
            "--data-dir", str(tmp_path / "two"), "--log-level", "error",
        )  # fmt: skip
        assert status == 1
        assert f"cannot listen on TCP 127.0.0.1:{gateway.port}" in errors
        assert "Traceback" not in errors

"""A gateway as a process of its own: started on free ports, killed, and started again on the same.

For the demo, the replay example and tests. It knows the command line and what it prints, nothing
else of the gateway.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 30.0
_STOP_S = 20.0


class GatewayFailed(Exception):
    """The gateway did not start; the message has what it said."""


class GatewayProcess:
    """One gateway in *data_dir*, with its development users.

    Args:
        data_dir: keys, users and databases; a gateway started there again goes on with them.
        store: ``sqlite`` (what is acknowledged survives power loss) or ``memory``.
        with_quantum: whether to open the UDP door.
    """

    def __init__(self, data_dir: Path, *, store: str = "sqlite", with_quantum: bool = True) -> None:
        self.data_dir = data_dir
        self.urls: dict[str, str] = {}
        self.pin = ""
        self.kills = 0
        self._store = store
        self._with_quantum = with_quantum
        self._process: asyncio.subprocess.Process | None = None
        self._log = data_dir / "gateway.log"

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Start and wait until it is ready. Raises `GatewayFailed` with what it said."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        arguments = ["-m", "gateway", "serve", "--dev", "--log-level", "warning"]
        arguments += ["--data-dir", str(self.data_dir), "--store", self._store]
        arguments += ["--http-port", str(self.port("websocket"))]
        if self._with_quantum:
            arguments += ["--quantum-port", str(self.port("quantum"))]
        else:
            arguments += ["--no-quantum"]
        # It must find the package where this process found it, installed or not.
        path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # A Ctrl-C at the terminal is for us, and we then stop it in order.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        try:
            async with asyncio.timeout(_START_S):
                await self._read_announcement(self._process)
        except TimeoutError:
            await self.kill()
            raise GatewayFailed(f"the gateway was not ready within {_START_S:g} s") from None

    async def kill(self) -> None:
        """Kill it as power loss would: no warning, nothing flushed."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
            self.kills += 1
        self._process = None

    async def stop(self) -> int:
        """Ask it to stop and wait; returns its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def wait(self) -> int:
        """Return its exit status when it ends by itself."""
        return await self._process.wait() if self._process is not None else 0

    def port(self, door: str) -> int:
        """The port of a door, 0 before the first start; later starts take the same."""
        url = self.urls.get(door)
        return int(url.split("://")[1].split("/")[0].split("?")[0].rpartition(":")[2]) if url else 0

    @property
    def log_tail(self) -> str:
        """The last lines that it logged."""
        try:
            return self._log.read_text(errors="replace")[-2000:].strip()
        except OSError:
            return ""

    async def _read_announcement(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := (await process.stdout.readline()).decode(errors="replace"):
            words = line.split()
            if words == ["ready"]:
                self.pin = self.urls.get("quantum", "").partition("pin=")[2]
                return
            if len(words) == 2 and "://" in words[1]:
                self.urls[words[0]] = words[1]
        status = await process.wait()
        raise GatewayFailed(
            f"the gateway ended with status {status}: {self.log_tail or 'silently'}"
        )

"""The life of a process: start, ready, drain, stop; its signals and its background tasks.

```
async with Lifecycle() as life:
    server = await start()
    life.on_drain(server.stop_accepting)
    life.on_stop(server.close)
    life.spawn(sweep(), name="sweep")
    await life.run()                # ready, until a signal, `stop` or a task that fails
```

Steps run in reverse order of registration, all drains before all stops; one that fails or overruns
is logged and does not keep the others from running.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from types import TracebackType
from typing import Any

from svckit.logs import logger

Step = Callable[[], Awaitable[object]]

_log = logger("lifecycle")


class Phase(StrEnum):
    """Where the process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class TaskFailed(RuntimeError):
    """A supervised task ended with an exception, so the process cannot go on."""


class Lifecycle:
    """Runs a process from start to stop."""

    def __init__(self, *, drain_timeout_s: float = 20.0, signals: bool = True) -> None:
        """Give each step at most *drain_timeout_s*; *signals* installs SIGTERM and SIGINT."""
        self.phase = Phase.STARTING
        self._drain_timeout_s = drain_timeout_s
        self._signals = (signal.SIGTERM, signal.SIGINT) if signals else ()
        self._drains: list[Step] = []
        self._stops: list[Step] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop_asked = asyncio.Event()
        self._failure: TaskFailed | None = None
        self._phase_hooks: list[Callable[[Phase], None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether new work is welcome."""
        return self.phase is Phase.READY

    def on_drain(self, step: Step) -> None:
        """Register what refuses new work and finishes the old."""
        self._drains.append(step)

    def on_stop(self, step: Step) -> None:
        """Register what releases resources, after all drains."""
        self._stops.append(step)

    def on_phase(self, hook: Callable[[Phase], None]) -> None:
        """Register *hook* to hear of every change of phase."""
        self._phase_hooks.append(hook)

    def spawn(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Run *work* until the stop; if it raises, the process drains and `run` raises."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def stop(self, reason: str = "asked") -> None:
        """Ask the process to drain and stop."""
        if not self._stop_asked.is_set():
            _log.info("stopping", reason=reason)
            self._stop_asked.set()

    async def run(self) -> None:
        """Be ready until asked to stop; raises `TaskFailed` if a supervised task failed."""
        if not self._stop_asked.is_set():
            self._enter(Phase.READY)
            await self._stop_asked.wait()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> "Lifecycle":
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._enter(Phase.DRAINING)
        for step in reversed(self._drains):
            await self._take(step)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in reversed(self._stops):
            await self._take(step)
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.remove_signal_handler(number)
        self._enter(Phase.STOPPED)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        _log.info("phase", phase=phase.value)
        for hook in self._phase_hooks:
            hook(phase)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._failure = self._failure or TaskFailed(f"task {task.get_name()!r} failed")
        self._failure.__cause__ = task.exception()
        self.stop(str(self._failure))

    async def _take(self, step: Step) -> None:
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await step()
        except Exception:
            _log.exception("step failed", step=getattr(step, "__qualname__", repr(step)))

"""``python -m session``: the session service as a process of its own."""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from uuid_utils.compat import uuid7

from session.api import SessionError
from session.config import SessionConfig
from session.rpc.server import serve_sessions
from session.service import LocalSessionService
from session.stores import STORES
from svckit import logs
from svckit.clock import SystemClock
from svckit.config import ConfigError, load
from svckit.lifecycle import Lifecycle
from svckit.metrics import Metrics
from svckit.registry import UnknownName

_PREFIX = "QUANTUM_SESSION__"


@dataclass(frozen=True)
class ProcessConfig:
    """Where the process listens and what it keeps sessions in."""

    host: str = "127.0.0.1"
    port: int = 9001
    metrics_port: int = 0
    """Port of ``/metrics``; 0 serves none."""
    store: str = "memory"
    location: str = ""
    """What the store needs: a file for sqlite."""
    log_level: str = "info"
    log_format: logs.LogFormat = "json"
    session: SessionConfig = field(default_factory=SessionConfig)


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; return 2 when the configuration is wrong, 1 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m session", description=__doc__)
    parser.add_argument("--config", type=Path, help="a YAML or TOML file; the environment wins")
    options = parser.parse_args(arguments)
    try:
        config = load(ProcessConfig, prefix=_PREFIX, file=options.config)
        logs.configure(level=config.log_level, form=config.log_format)
        store = STORES.load(config.store)(config.location)
    except (ConfigError, UnknownName, ValueError) as error:
        sys.stderr.write(f"session: {error}\n")
        return 2
    service = LocalSessionService(store, SystemClock(), uuid7, config.session)
    try:
        asyncio.run(_serve(config, service))
    except (OSError, SessionError) as error:
        sys.stderr.write(f"session: {error}\n")
        return 1
    return 0


async def _serve(config: ProcessConfig, service: LocalSessionService) -> None:
    async with Lifecycle() as life:
        await service.start()
        life.on_stop(service.close)
        server = await serve_sessions(service, host=config.host, port=config.port)
        life.on_drain(server.close)
        life.spawn(service.run(), name="sweep")
        if config.metrics_port:
            metrics = Metrics("session", process=True)
            metrics.read("sessions", "Sessions created and ended.", lambda: service.counts, "what")
            metrics.read("held", "What the process holds.", service.gauges, "what", "gauge")
            endpoint = metrics.serve(config.host, config.metrics_port)
            life.on_stop(lambda: asyncio.to_thread(endpoint.close))
        sys.stdout.write(f"session: listening on {config.host}:{server.port}\n")
        sys.stdout.flush()
        await life.run()


if __name__ == "__main__":
    sys.exit(main())

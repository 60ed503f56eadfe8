"""``python -m statesync``: the state service as a process of its own."""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from uuid_utils.compat import uuid7

from statesync.api import StateSyncError
from statesync.config import StateSyncConfig
from statesync.rpc.server import serve_documents
from statesync.service import LocalStateSyncService
from statesync.stores import STORES
from statesync.strategies import STRATEGIES
from svckit import logs
from svckit.clock import SystemClock
from svckit.config import ConfigError, load
from svckit.lifecycle import Lifecycle
from svckit.metrics import Metrics
from svckit.registry import UnknownName

_PREFIX = "QUANTUM_STATESYNC__"


@dataclass(frozen=True)
class ProcessConfig:
    """Where the process listens and what it keeps documents in."""

    host: str = "127.0.0.1"
    port: int = 9002
    metrics_port: int = 0
    """Port of ``/metrics``; 0 serves none."""
    store: str = "memory"
    location: str = ""
    """What the store needs: a file for sqlite."""
    log_level: str = "info"
    log_format: logs.LogFormat = "json"
    statesync: StateSyncConfig = field(default_factory=StateSyncConfig)


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; return 2 when the configuration is wrong, 1 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m statesync", description=__doc__)
    parser.add_argument("--config", type=Path, help="a YAML or TOML file; the environment wins")
    options = parser.parse_args(arguments)
    try:
        config = load(ProcessConfig, prefix=_PREFIX, file=options.config)
        logs.configure(level=config.log_level, form=config.log_format)
        store = STORES.load(config.store)(config.location)
    except (ConfigError, UnknownName, ValueError) as error:
        sys.stderr.write(f"statesync: {error}\n")
        return 2
    service = LocalStateSyncService(store, SystemClock(), uuid7, STRATEGIES, config.statesync)
    try:
        asyncio.run(_serve(config, service))
    except (OSError, ValueError, StateSyncError) as error:
        sys.stderr.write(f"statesync: {error}\n")
        return 1
    return 0


async def _serve(config: ProcessConfig, service: LocalStateSyncService) -> None:
    async with Lifecycle() as life:
        await service.start()
        life.on_stop(service.close)
        server = await serve_documents(service, host=config.host, port=config.port)
        life.on_drain(server.close)
        life.spawn(service.run(), name="locks")
        if config.metrics_port:
            metrics = Metrics("statesync", process=True)
            metrics.read("operations", "Operations accepted.", lambda: service.accepted, "status")
            metrics.read("refused", "Operations refused.", lambda: service.refused, "code")
            metrics.read("held", "What the process holds.", service.gauges, "what", "gauge")
            endpoint = metrics.serve(config.host, config.metrics_port)
            life.on_stop(lambda: asyncio.to_thread(endpoint.close))
        sys.stdout.write(f"statesync: listening on {config.host}:{server.port}\n")
        sys.stdout.flush()
        await life.run()


if __name__ == "__main__":
    sys.exit(main())

"""Structured logs by structlog: JSON lines for machines, colours for a terminal.

Everything written through the standard library (gRPC, uvicorn) takes the same shape. Trace and
request ids are bound with `structlog.contextvars` and appear on every line of their task.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.types import Processor

LogFormat = Literal["json", "console"]


def configure(
    *, level: str = "info", form: LogFormat = "json", stream: TextIO | None = None
) -> None:
    """Set up logging for this process; the last call wins. Raises ValueError for a bad level."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is unknown; use debug, info, warning or error")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger called *name*; usable before `configure`."""
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return found

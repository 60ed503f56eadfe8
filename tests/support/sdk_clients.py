"""Clients of the fake gateway, and the one way tests wait for them: on a condition."""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.sdk import Client, ClientConfig
from gateway.sdk.address import parse
from tests.support.fake_gateway import FakeGateway

EAGER = ClientConfig(backoff_min_s=0, backoff_max_s=0, ping_interval_s=0.05, dead_after_s=5)
WAIT_S = 10.0


def make_client(gateway: FakeGateway, config: ClientConfig = EAGER, **kwargs: Any) -> Client:
    """Return a client that is not connected yet."""
    return Client(
        parse("ws://127.0.0.1:1/ws"),
        login=kwargs.pop("login", ("ann", gateway.password)),
        config=config,
        open_door=gateway.open_door,
        **kwargs,
    )


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Let the loop turn until *condition* holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - conditions are of many objects
            await asyncio.sleep(0)

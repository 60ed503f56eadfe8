"""Token buckets: a client that sends too fast is read more slowly; a stranger is refused.

Slowing the reading keeps a client's order and costs it nothing but time. Tables of buckets by
address are bounded: the address that was quiet longest is forgotten first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.messages import Body, Envelope
from gateway.middleware import Handler
from svckit.clock import Clock

_MAX_ADDRESSES = 65_536
_ATTACHMENT = "rate"


class Bucket:
    """Tokens that come at a steady rate, up to a burst."""

    __slots__ = ("_at_ns", "_burst", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_ns: int) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_ns = now_ns

    def take(self, now_ns: int) -> float:
        """Take a token; returns the seconds until it would have been there, 0.0 if it was."""
        self._refill(now_ns)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def try_take(self, now_ns: int) -> float:
        """Take a token if there is one; returns 0.0, or the seconds until there is."""
        self._refill(now_ns)
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._rate
        self._tokens -= 1.0
        return 0.0

    def _refill(self, now_ns: int) -> None:
        elapsed_s = (now_ns - self._at_ns) / 1e9
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
        self._at_ns = now_ns


class AddressLimiter:
    """A bucket for each address, in a bounded table."""

    def __init__(
        self, clock: Clock, rate_per_s: float, burst: float, max_addresses: int = _MAX_ADDRESSES
    ) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._burst = burst
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self.refused = 0

    def check(self, address: str, what: str) -> None:
        """Count one *what* from *address*. Raises `GatewayError` when there were too many."""
        now_ns = self._clock.monotonic_ns()
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self._max_addresses:
                self._buckets.popitem(last=False)
            bucket = self._buckets[address] = Bucket(self._rate, self._burst, now_ns)
        else:
            self._buckets.move_to_end(address)
        wait_s = bucket.try_take(now_ns)
        if wait_s:
            self.refused += 1
            raise GatewayError(
                Code.RATE_LIMITED,
                f"too many {what} from this address; try again in {wait_s:.1f} s",
                retry_after_ms=int(wait_s * 1000) + 1,
            )

    def __len__(self) -> int:
        return len(self._buckets)


class RateLimit:
    """Slows each client down to *rate_per_s* requests, after a burst."""

    def __init__(
        self,
        clock: Clock,
        rate_per_s: float,
        burst: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._burst = burst
        self._sleep = sleep
        self.delayed = 0

    def __call__(self, handler: Handler) -> Handler:
        """Wrap *handler*."""

        async def handle(client: Client, envelope: Envelope) -> Body | None:
            now_ns = self._clock.monotonic_ns()
            bucket = client.attachments.get(_ATTACHMENT)
            if bucket is None:
                bucket = client.attachments[_ATTACHMENT] = Bucket(self._rate, self._burst, now_ns)
            wait_s = bucket.take(now_ns)
            if wait_s:
                self.delayed += 1
                await self._sleep(wait_s)
            return await handler(client, envelope)

        return handle

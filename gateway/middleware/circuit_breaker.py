"""Circuit breakers: a backend that fails is left alone for a while. Closed, open, half-open.

A failure is a backend's (it cannot be reached, or does not answer in time), never a client's. A
result that comes late, after the breaker has moved on, is not counted.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.messages import Body, Envelope, Kind
from gateway.middleware import Handler
from gateway.service_errors import to_gateway_error
from svckit.clock import Clock

_BACKEND_FAULTS = frozenset({Code.TIMEOUT, Code.UNAVAILABLE})


class BreakerState(StrEnum):
    """Where a breaker is."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Trigger(StrEnum):
    """What can happen to a breaker."""

    TRIP = "trip"
    COOL_DOWN = "cool_down"
    RECOVER = "recover"
    RESET = "reset"


_S, _T = BreakerState, Trigger

TRANSITIONS: dict[tuple[BreakerState, Trigger], BreakerState] = {
    (_S.CLOSED, _T.TRIP): _S.OPEN,
    (_S.CLOSED, _T.RESET): _S.CLOSED,
    (_S.OPEN, _T.COOL_DOWN): _S.HALF_OPEN,
    (_S.OPEN, _T.RESET): _S.CLOSED,
    (_S.HALF_OPEN, _T.TRIP): _S.OPEN,
    (_S.HALF_OPEN, _T.RECOVER): _S.CLOSED,
    (_S.HALF_OPEN, _T.RESET): _S.CLOSED,
}


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and how it closes."""

    min_requests: int = 5
    error_rate: float = 0.5
    consecutive_failures: int = 5
    interval_s: float = 10.0
    """Seconds after which a closed breaker's counters begin anew."""
    open_s: float = 5.0
    """Seconds an open breaker waits before it lets some through."""
    probes: int = 3
    """Successes in a row that close it again, and how many may run at once."""


class CircuitBreaker:
    """One backend's breaker."""

    def __init__(self, name: str, clock: Clock, limits: BreakerLimits) -> None:
        self.name = name
        self._clock = clock
        self._limits = limits
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._since_ns = clock.monotonic_ns()
        self._running_probes = 0
        self.requests = self.failures = self.successes = 0
        self.consecutive_failures = self.consecutive_successes = 0
        self.trips = 0

    @property
    def state(self) -> BreakerState:
        """Where it is now; an open breaker whose time has passed is half open."""
        elapsed_s = (self._clock.monotonic_ns() - self._since_ns) / 1e9
        if self._state is BreakerState.OPEN and elapsed_s >= self._limits.open_s:
            self._move(Trigger.COOL_DOWN)
        elif self._state is BreakerState.CLOSED and elapsed_s >= self._limits.interval_s:
            self._begin()
        return self._state

    @property
    def error_rate(self) -> float:
        """The share of failures since the counters began."""
        done = self.failures + self.successes
        return self.failures / done if done else 0.0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let a call through, and learn from it. Raises `GatewayError` while it is open."""
        state = self.state
        probing = state is BreakerState.HALF_OPEN
        if state is BreakerState.OPEN or (probing and self._running_probes >= self._limits.probes):
            left_s = self._limits.open_s - (self._clock.monotonic_ns() - self._since_ns) / 1e9
            raise GatewayError(
                Code.UNAVAILABLE,
                f"the {self.name} service is failing; try again shortly",
                retry_after_ms=max(100, int(left_s * 1000)),
            )
        generation = self._generation
        self.requests += 1
        self._running_probes += probing
        try:
            yield
        except Exception as error:
            known = to_gateway_error(error)
            self._learn(generation, failed=known is None or known.code in _BACKEND_FAULTS)
            raise
        except BaseException:  # cancelled: nobody knows how it would have ended
            if generation == self._generation:
                self._running_probes -= probing
            raise
        self._learn(generation, failed=False)

    def reset(self) -> None:
        """Close it, whatever it has seen."""
        self._move(Trigger.RESET)

    def _learn(self, generation: int, *, failed: bool) -> None:
        if generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._running_probes -= 1
        if failed:
            self.failures += 1
            self.consecutive_failures += 1
            self.consecutive_successes = 0
        else:
            self.successes += 1
            self.consecutive_successes += 1
            self.consecutive_failures = 0
        if self._must_trip(failed):
            self.trips += 1
            self._move(Trigger.TRIP)
        elif (
            self._state is BreakerState.HALF_OPEN
            and self.consecutive_successes >= self._limits.probes
        ):
            self._move(Trigger.RECOVER)

    def _must_trip(self, failed: bool) -> bool:
        if not failed:
            return False
        if self._state is BreakerState.HALF_OPEN:
            return True
        if self.consecutive_failures >= self._limits.consecutive_failures:
            return True
        done = self.failures + self.successes
        return done >= self._limits.min_requests and self.error_rate >= self._limits.error_rate

    def _move(self, trigger: Trigger) -> None:
        self._state = TRANSITIONS[self._state, trigger]
        self._begin()

    def _begin(self) -> None:
        self._generation += 1
        self._since_ns = self._clock.monotonic_ns()
        self._running_probes = 0
        self.requests = self.failures = self.successes = 0
        self.consecutive_failures = self.consecutive_successes = 0


class Breakers:
    """The breakers of all backends, and the middleware that uses them."""

    def __init__(
        self, clock: Clock, backends: Mapping[Kind, str], limits: BreakerLimits | None = None
    ) -> None:
        """*backends* says which service each kind of request needs."""
        self._backends = backends
        limits = limits or BreakerLimits()
        self.by_name = {
            name: CircuitBreaker(name, clock, limits) for name in sorted(set(backends.values()))
        }

    def __call__(self, handler: Handler) -> Handler:
        """Wrap *handler*."""

        async def handle(client: Client, envelope: Envelope) -> Body | None:
            backend = self._backends.get(envelope.kind)
            if backend is None:
                return await handler(client, envelope)
            with self.by_name[backend].guard():
                return await handler(client, envelope)

        return handle

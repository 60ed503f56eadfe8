"""Rate limits and circuit breakers, by an injected clock."""

import asyncio
from typing import cast

import pytest

from gateway import messages as m
from gateway.client import Client
from gateway.errors import Code, GatewayError
from gateway.middleware import compose
from gateway.middleware.circuit_breaker import BreakerLimits, Breakers, BreakerState, CircuitBreaker
from gateway.middleware.rate_limit import AddressLimiter, RateLimit
from session.api import ServiceUnavailable, SessionNotFound
from tests.support.gateway_clock import ManualClock

LIMITS = BreakerLimits(min_requests=4, consecutive_failures=3, open_s=5.0, probes=2)


class Someone:
    """As much of a client as middlewares need."""

    def __init__(self) -> None:
        self.attachments: dict[str, object] = {}


def someone() -> Client:
    return cast(Client, Someone())


def use(breaker: CircuitBreaker, error: Exception | None = None) -> None:
    with breaker.guard():
        if error is not None:
            raise error


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ServiceUnavailable):
            use(breaker, ServiceUnavailable("down"))


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker("session", ManualClock(), LIMITS)
    fail(breaker, 3)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(GatewayError, match="the session service is failing") as caught:
        use(breaker)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.retry_after_ms > 0


def test_a_breaker_opens_at_its_error_rate() -> None:
    breaker = CircuitBreaker("session", ManualClock(), LIMITS)
    for _ in range(2):
        use(breaker)
        fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN


def test_a_clients_mistake_is_not_the_backends() -> None:
    breaker = CircuitBreaker("session", ManualClock(), LIMITS)
    for _ in range(10):
        with pytest.raises(SessionNotFound):
            use(breaker, SessionNotFound("no"))
    assert breaker.state is BreakerState.CLOSED


def test_an_open_breaker_tries_again_and_closes_when_it_works() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("session", clock, LIMITS)
    fail(breaker, 3)
    clock.advance(5)
    assert breaker.state is BreakerState.HALF_OPEN
    use(breaker)
    assert breaker.state is BreakerState.HALF_OPEN
    use(breaker)
    assert breaker.state is BreakerState.CLOSED


def test_a_failed_probe_opens_it_again() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("session", clock, LIMITS)
    fail(breaker, 3)
    clock.advance(5)
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.trips == 2


def test_only_so_many_probes_run_at_once() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("session", clock, LIMITS)
    fail(breaker, 3)
    clock.advance(5)
    with breaker.guard(), breaker.guard(), pytest.raises(GatewayError):
        use(breaker)


def test_a_result_that_comes_late_is_not_counted() -> None:
    breaker = CircuitBreaker("session", ManualClock(), LIMITS)
    with breaker.guard():
        fail(breaker, 3)
        breaker.reset()
    assert breaker.successes == 0


def test_a_cancelled_probe_gives_its_place_back() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("session", clock, LIMITS)
    fail(breaker, 3)
    clock.advance(5)
    for _ in range(5):
        with pytest.raises(asyncio.CancelledError), breaker.guard():
            raise asyncio.CancelledError
    use(breaker)


async def test_a_breaker_guards_only_the_kinds_of_its_backend() -> None:
    breakers = Breakers(ManualClock(), {m.Kind.LOGIN: "session"}, LIMITS)
    fail(breakers.by_name["session"], 3)

    async def pong(client: Client, envelope: m.Envelope) -> m.Body:
        return m.Pong()

    handler = compose(pong, [breakers])
    assert await handler(someone(), m.Envelope(m.Ping())) == m.Pong()
    with pytest.raises(GatewayError, match="failing"):
        await handler(someone(), m.Envelope(m.Login()))


async def test_a_fast_client_is_slowed_to_its_rate() -> None:
    clock = ManualClock()
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)

    async def pong(client: Client, envelope: m.Envelope) -> m.Body:
        return m.Pong()

    limit = RateLimit(clock, 10.0, 5.0, sleep)
    handler, client = compose(pong, [limit]), someone()
    for _ in range(25):
        await handler(client, m.Envelope(m.Ping()))
    assert sum(waited) == pytest.approx(2.0, abs=0.01)
    await handler(someone(), m.Envelope(m.Ping()))
    assert sum(waited) == pytest.approx(2.0, abs=0.01), "another client was slowed as well"


def test_an_address_is_refused_after_its_burst_and_let_in_later() -> None:
    clock = ManualClock()
    limiter = AddressLimiter(clock, 1.0, 3.0)
    for _ in range(3):
        limiter.check("1.2.3.4", "logins")
    with pytest.raises(GatewayError, match="too many logins from this address") as caught:
        limiter.check("1.2.3.4", "logins")
    assert 0 < caught.value.retry_after_ms <= 1001
    limiter.check("5.6.7.8", "logins")
    clock.advance(1.01)
    limiter.check("1.2.3.4", "logins")


def test_the_table_of_addresses_is_bounded() -> None:
    limiter = AddressLimiter(ManualClock(), 1.0, 3.0, max_addresses=100)
    for n in range(10_000):
        limiter.check(str(n), "logins")
    assert len(limiter) == 100

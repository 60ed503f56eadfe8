"""What a session service does, whether it is in process or behind gRPC."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from session.api import (
    AlreadyLoggedIn,
    DuplicateLogin,
    IllegalTransition,
    InvalidArgument,
    NewSession,
    SessionChange,
    SessionExpired,
    SessionFilter,
    SessionNotFound,
    SessionState,
    SessionStats,
    TokenRejected,
    TooManySessions,
    VersionMismatch,
)
from session.config import SessionConfig
from tests.support.services import Sessions, sessions

FORMS = ["local-memory", "local-sqlite", "grpc-memory"]
UNKNOWN = "01890000-0000-7000-8000-000000000000"
CONFIG = SessionConfig(
    timeout_s=100, idle_after_s=30, retain_s=50, max_sessions=20, max_sessions_per_user=5
)


@pytest.fixture(params=FORMS)
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sessions]:
    async with sessions(request.param, tmp_path, CONFIG) as opened:
        yield opened


async def test_a_new_session_is_connecting_and_found_three_ways(door: Sessions) -> None:
    new = NewSession(
        "anna", "c-1", "10.0.0.1", 4433, "edge-1", metadata={"app": "draw"}, timeout_s=60
    )
    session = (await door.service.create(new)).session
    assert session.state is SessionState.CONNECTING
    assert (session.user_id, session.connection_id, session.client_port) == ("anna", "c-1", 4433)
    assert session.metadata == {"app": "draw"}
    assert session.expires_at_ns - session.created_at_ns == 60_000_000_000
    assert await door.service.get(session.id) == session
    assert await door.service.get_by_connection("c-1") == session
    page = await door.service.list(SessionFilter(user_id="anna"))
    assert page.sessions == (session,)


async def test_the_token_opens_its_session_and_no_other(door: Sessions) -> None:
    mine = await door.service.create(NewSession("anna"))
    other = await door.service.create(NewSession("ben"))
    assert len(mine.token) >= 43
    assert await door.service.verify(mine.session.id, mine.token) == mine.session
    for wrong in (other.token, "", mine.token[:-1], mine.token + "A"):
        with pytest.raises(TokenRejected):
            await door.service.verify(mine.session.id, wrong)


async def test_silence_makes_a_session_idle_and_then_expired(door: Sessions) -> None:
    created = await door.service.create(NewSession("anna", "c-1"))
    session_id = created.session.id
    beat = await door.service.heartbeat(session_id)
    assert beat.remaining_s == 100
    assert (await door.service.get(session_id)).state is SessionState.ACTIVE
    door.clock.advance(31)
    await door.local.sweep()
    assert (await door.service.get(session_id)).state is SessionState.IDLE
    await door.service.heartbeat(session_id)
    assert (await door.service.get(session_id)).state is SessionState.ACTIVE
    door.clock.advance(101)
    with pytest.raises(SessionExpired):
        await door.service.verify(session_id, created.token)
    with pytest.raises(SessionExpired):
        await door.service.heartbeat(session_id)
    with pytest.raises(SessionNotFound):
        await door.service.get_by_connection("c-1")
    expired = await door.service.list(SessionFilter(state=SessionState.EXPIRED))
    assert [s.id for s in expired.sessions] == [session_id]
    door.clock.advance(51)
    await door.local.sweep()
    with pytest.raises(SessionNotFound):
        await door.service.get(session_id)


async def test_the_time_out_of_a_session_is_its_own(door: Sessions) -> None:
    short = (await door.service.create(NewSession("anna", timeout_s=5))).session
    long = (await door.service.create(NewSession("ben", timeout_s=1000))).session
    door.clock.advance(6)
    with pytest.raises(SessionExpired):
        await door.service.get(short.id)
    door.clock.advance(900)
    assert (await door.service.get(long.id)).id == long.id


async def test_a_wall_clock_that_is_set_expires_nobody(door: Sessions) -> None:
    session = (await door.service.create(NewSession("anna"))).session
    for jump in (3600, -7200):
        door.clock.set_wall(jump)
        await door.local.sweep()
        assert (await door.service.get(session.id)).id == session.id
    door.clock.advance(101)
    with pytest.raises(SessionExpired):
        await door.service.get(session.id)


async def test_an_update_changes_what_it_names(door: Sessions) -> None:
    session = (
        await door.service.create(NewSession("anna", "c-1", metadata={"a": "1", "b": "2"}))
    ).session
    stats = SessionStats(packets_sent=2**63, current_rtt_ms=12)
    changed = await door.service.update(
        session.id,
        SessionChange(
            state=SessionState.ACTIVE,
            connection_id="c-2",
            metadata={"b": "", "c": "3"},
            stats=stats,
        ),
    )
    assert changed == replace(
        session,
        state=SessionState.ACTIVE,
        connection_id="c-2",
        metadata={"a": "1", "c": "3"},
        stats=stats,
        version=2,
    )
    assert (await door.service.get_by_connection("c-2")).id == session.id
    with pytest.raises(SessionNotFound):
        await door.service.get_by_connection("c-1")


async def test_of_two_updates_from_one_version_the_second_is_refused(door: Sessions) -> None:
    session = (await door.service.create(NewSession("anna"))).session
    await door.service.update(session.id, SessionChange(client_ip="a"), expected_version=1)
    with pytest.raises(VersionMismatch) as refused:
        await door.service.update(session.id, SessionChange(client_ip="b"), expected_version=1)
    assert refused.value.detail == {"version": "2"}
    assert (await door.service.get(session.id)).client_ip == "a"


async def test_a_heartbeat_does_not_fail_an_update(door: Sessions) -> None:
    session = (await door.service.create(NewSession("anna"))).session
    await door.service.heartbeat(session.id)
    version = (await door.service.get(session.id)).version
    await door.service.heartbeat(session.id)
    await door.service.update(session.id, SessionChange(), expected_version=version)


async def test_a_deleted_session_is_closed_for_good(door: Sessions) -> None:
    created = await door.service.create(NewSession("anna", "c-1"))
    closed = await door.service.delete(created.session.id, "bye")
    assert closed.state is SessionState.CLOSED
    assert closed.metadata["close_reason"] == "bye"
    assert (await door.service.delete(created.session.id)).version == closed.version
    with pytest.raises(SessionExpired):
        await door.service.verify(created.session.id, created.token)
    with pytest.raises(SessionExpired):
        await door.service.update(created.session.id, SessionChange(state=SessionState.ACTIVE))
    assert (await door.service.list()).total == 0
    await door.service.create(NewSession("ben", "c-1"))


async def test_states_move_only_as_the_table_says(door: Sessions) -> None:
    session = (await door.service.create(NewSession("anna"))).session
    with pytest.raises(IllegalTransition):
        await door.service.update(session.id, SessionChange(state=SessionState.IDLE))
    with pytest.raises(IllegalTransition):
        await door.service.update(session.id, SessionChange(state=SessionState.EXPIRED))
    leaving = await door.service.update(session.id, SessionChange(state=SessionState.DISCONNECTING))
    assert leaving.state is SessionState.DISCONNECTING
    await door.service.heartbeat(session.id)
    assert (await door.service.get(session.id)).state is SessionState.ACTIVE


async def test_pages_are_in_order_and_complete(door: Sessions) -> None:
    made = [(await door.service.create(NewSession(f"u{n}"))).session.id for n in range(7)]
    seen: list[str] = []
    after = ""
    while True:
        page = await door.service.list(after=after, limit=3)
        assert page.total == 7
        seen += [s.id for s in page.sessions]
        after = page.next_after
        if not after:
            break
    assert seen == sorted(made)
    active = await door.service.list(SessionFilter(state=SessionState.ACTIVE))
    assert active.total == 0


async def test_a_user_has_a_bounded_number_of_sessions(door: Sessions) -> None:
    for _ in range(5):
        await door.service.create(NewSession("anna"))
    with pytest.raises(TooManySessions):
        await door.service.create(NewSession("anna"))
    await door.service.create(NewSession("ben"))
    door.clock.advance(101)
    await door.service.create(NewSession("anna"))


async def test_the_service_has_a_bounded_number_of_sessions(door: Sessions) -> None:
    for number in range(20):
        await door.service.create(NewSession(f"u{number}"))
    with pytest.raises(TooManySessions):
        await door.service.create(NewSession("one more"))


async def test_a_connection_has_one_session(door: Sessions) -> None:
    await door.service.create(NewSession("anna", "c-1"))
    with pytest.raises(InvalidArgument, match="c-1"):
        await door.service.create(NewSession("ben", "c-1"))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (NewSession(""), "user_id is missing"),
        (NewSession("x" * 257), "user_id has 257"),
        (NewSession("a", client_port=70_000), "client_port"),
        (NewSession("a", client_port=-1), "client_port|cannot be sent"),
        (NewSession("a", timeout_s=-1), "timeout_s"),
        (NewSession("a", timeout_s=1e9), "timeout_s"),
        (NewSession("a", timeout_s=float("nan")), "timeout_s"),
        (NewSession("a", metadata={str(n): "" for n in range(65)}), "65 entries"),
        (NewSession("a", metadata={"k": "v" * 9000}), "bytes"),
        (NewSession("\ud800"), "surrogate"),
    ],
)
async def test_a_wrong_new_session_is_refused_in_one_sentence(
    door: Sessions, new: NewSession, says: str
) -> None:
    with pytest.raises(InvalidArgument, match=says) as refused:
        await door.service.create(new)
    assert "\n" not in refused.value.reason
    assert (await door.service.list()).total == 0


async def test_wrong_and_unknown_ids_are_told_apart(door: Sessions) -> None:
    for call in (door.service.get, door.service.delete, door.service.heartbeat):
        with pytest.raises(InvalidArgument, match="must be a UUID"):
            await call("not-a-uuid")
        with pytest.raises(SessionNotFound):
            await call(UNKNOWN)
    with pytest.raises(InvalidArgument, match="connection_id is missing"):
        await door.service.get_by_connection("")
    with pytest.raises(InvalidArgument, match="limit"):
        await door.service.list(limit=0)
    with pytest.raises(InvalidArgument, match="limit"):
        await door.service.list(limit=1001)


@pytest.mark.parametrize("form", FORMS)
async def test_a_second_login_is_refused_where_the_policy_says_so(
    form: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, duplicate_login=DuplicateLogin.REFUSE)
    async with sessions(form, tmp_path, config) as door:
        first = await door.service.create(NewSession("anna"))
        with pytest.raises(AlreadyLoggedIn):
            await door.service.create(NewSession("anna"))
        await door.service.delete(first.session.id)
        await door.service.create(NewSession("anna"))


@pytest.mark.parametrize("form", FORMS)
async def test_a_second_login_replaces_where_the_policy_says_so(form: str, tmp_path: Path) -> None:
    config = replace(CONFIG, duplicate_login=DuplicateLogin.REPLACE)
    async with sessions(form, tmp_path, config) as door:
        first = await door.service.create(NewSession("anna"))
        second = await door.service.create(NewSession("anna"))
        with pytest.raises(SessionExpired):
            await door.service.get(first.session.id)
        assert [s.id for s in (await door.service.list()).sessions] == [second.session.id]

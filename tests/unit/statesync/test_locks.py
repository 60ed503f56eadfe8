"""The lock table against the one property that matters: no two holders of one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statesync.api import Actor, Locked, Operation, OperationType, StaleLock, TooMany
from statesync.locks import MAX_LOCKS, LockTable
from statesync.tree import overlaps

ANNA, BEN = Actor("anna", "1"), Actor("ben", "2")
targets = st.sampled_from([(), ("a",), ("a", "x"), ("b",)])
scripts = st.lists(
    st.tuples(
        st.sampled_from(["take", "release", "write"]),
        st.sampled_from([ANNA, BEN]),
        targets,
        st.integers(0, 8),
    ),
    max_size=40,
)


def write(target: tuple[str, ...], token: int = 0) -> Operation:
    return Operation("d", "c", 1, OperationType.UPDATE, target, 1, fencing_token=token)


@given(scripts)
def test_two_users_never_hold_overlapping_places(
    script: list[tuple[str, Actor, tuple[str, ...], int]],
) -> None:
    table, now, tokens = LockTable(), 0, [0]
    for verb, actor, target, number in script:
        now += number
        held = table.current(now)
        try:
            if verb == "take":
                lock = table.plan(actor, "d", target, ttl_ns=5, now_ns=now, wall_ns=0)
                table.take(lock)
                tokens.append(lock.lock.fencing_token)
            elif verb == "release":
                table.find(actor, tokens[-1], now)
                table.release(tokens[-1])
            else:
                table.admit(write(target, number), actor, now)
                blocking = [
                    k for k in held if overlaps(k.target, target) and k.fencing_token != number
                ]
                assert not blocking
                if number:
                    (own,) = (k for k in held if k.fencing_token == number)
                    assert own.user_id == actor.user_id
        except (Locked, StaleLock):
            pass
        now_held = table.current(now)
        for left in now_held:
            for right in now_held:
                if left.user_id != right.user_id:
                    assert not overlaps(left.target, right.target)
    # Who takes what is held already keeps the token.
    assert list(dict.fromkeys(tokens)) == sorted(set(tokens))


def test_locks_of_one_document_are_bounded() -> None:
    table = LockTable()
    for number in range(MAX_LOCKS):
        table.take(table.plan(ANNA, "d", (str(number),), ttl_ns=9, now_ns=0, wall_ns=0))
    with pytest.raises(TooMany):
        table.plan(ANNA, "d", ("more",), ttl_ns=9, now_ns=0, wall_ns=0)
    assert len(table.expired(9)) == MAX_LOCKS
    table.plan(ANNA, "d", ("more",), ttl_ns=9, now_ns=9, wall_ns=0)


def test_an_admin_may_end_anothers_lock() -> None:
    table = LockTable()
    table.take(table.plan(ANNA, "d", (), ttl_ns=9, now_ns=0, wall_ns=0))
    with pytest.raises(Locked):
        table.find(BEN, 1, 0)
    assert table.find(Actor("root", is_admin=True), 1, 0).user_id == "anna"

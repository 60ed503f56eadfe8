from gateway.sdk.inbox import Inbox, RemoteOperation, Taken


def remote(version: int, client: str = "c", seq: int | None = None) -> RemoteOperation:
    return RemoteOperation(client, seq or version, version)


def test_the_next_operation_is_kept_and_an_old_one_is_dropped() -> None:
    inbox = Inbox(3, 10)
    assert inbox.take(remote(4)) is Taken.KEPT
    assert inbox.take(remote(4)) is Taken.SEEN
    assert inbox.take(remote(2)) is Taken.SEEN
    assert (inbox.received, inbox.applied, inbox.duplicates) == (4, 3, 2)


def test_what_comes_after_a_gap_is_not_taken() -> None:
    inbox = Inbox(0, 10)
    assert inbox.take(remote(2)) is Taken.GAP
    assert inbox.received == 0


def test_a_full_inbox_takes_no_more() -> None:
    inbox = Inbox(0, 2)
    assert [inbox.take(remote(v)) for v in (1, 2, 3)] == [Taken.KEPT, Taken.KEPT, Taken.FULL]
    assert inbox.received == 2


def test_operations_are_released_in_order_and_known_by_key() -> None:
    inbox = Inbox(0, 10)
    inbox.take(remote(1, "a", 1))
    inbox.take(remote(2, "b", 1))
    assert inbox.has_received(("b", 1))
    assert not inbox.has_applied(("b", 1))
    assert not inbox.has_received(("a", 2))
    released = [inbox.release(), inbox.release(), inbox.release()]
    assert [item.key if item else None for item in released] == [("a", 1), ("b", 1), None]
    assert inbox.has_applied(("b", 1))


def test_the_table_of_authors_is_bounded() -> None:
    inbox = Inbox(0, 20_000)
    for version in range(1, 10_002):
        inbox.take(remote(version, f"client {version}"))
    assert not inbox.has_received(("client 1", 1))
    assert inbox.has_received(("client 10001", 10001))

"""RecvBatch and SendBatch over real loopback sockets."""

import errno
import select
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_ext.udp import RecvBatch, SendBatch, SocketAbilities, open_socket


class Side(NamedTuple):
    """One bound socket."""

    sock: socket.socket
    abilities: SocketAbilities

    @property
    def fd(self) -> int:
        return self.sock.fileno()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getsockname()[:2]
        return host, port


@pytest.fixture
def pair() -> Iterator[tuple[Side, Side]]:
    left, right = Side(*open_socket("127.0.0.1")), Side(*open_socket("127.0.0.1"))
    yield left, right
    left.sock.close()
    right.sock.close()


def drain(side: Side, batch: RecvBatch, datagrams: int) -> list[tuple[bytes, int, object, int]]:
    """Read trains until they hold *datagrams* datagrams, waiting on the socket."""
    trains: list[tuple[bytes, int, object, int]] = []
    while sum(-(-len(t[0]) // t[1]) for t in trains) < datagrams:
        ready, _, _ = select.select([side.fd], [], [], 5)
        assert ready, f"only {trains} arrived"
        trains += batch.read(side.fd)
    return trains


def cut(trains: list[tuple[bytes, int, object, int]]) -> list[bytes]:
    return [t[0][i : i + t[1]] for t in trains for i in range(0, len(t[0]), t[1])]


def waiting(sock: socket.socket) -> list[bytes]:
    """Read every datagram that waits on a plain socket."""
    found: list[bytes] = []
    while select.select([sock], [], [], 0)[0]:
        found.append(sock.recv(100))
    return found


def test_equal_datagrams_leave_as_one_run_and_arrive_as_one_train(pair: tuple[Side, Side]) -> None:
    left, right = pair
    assert left.abilities.gso
    assert right.abilities.gro
    send, receive = SendBatch(), RecvBatch()
    sent = [bytes([i]) * 1200 for i in range(20)] + [b"tail"]
    assert all(send.append(d, right.address) for d in sent)
    assert send.runs() == [([1200] * 20 + [4], right.address, 0)]
    assert send.send(left.fd) == 0
    trains = drain(right, receive, 21)
    assert [(len(data), segment, peer) for data, segment, peer, _ in trains] == [
        (20 * 1200 + 4, 1200, left.address)
    ]
    assert cut(trains) == sent
    assert send.counters()["messages"] == 1
    assert send.counters()["datagrams"] == receive.counters()["datagrams"] == 21


def test_a_run_ends_at_its_segment_limit_at_another_peer_at_another_mark_and_at_a_longer_datagram(
    pair: tuple[Side, Side],
) -> None:
    left, right = pair
    send = SendBatch(max_segments=4)
    for size, peer, ecn in [
        *[(100, right, 0)] * 5,  # the fifth begins a second run
        (100, left, 0),
        (100, left, 2),
        (101, left, 2),
        (50, left, 2),  # shorter: joins and ends the run
        (50, left, 2),
    ]:
        assert send.append(b"x" * size, peer.address, ecn)
    assert send.runs() == [
        ([100] * 4, right.address, 0),
        ([100], right.address, 0),
        ([100], left.address, 0),
        ([100], left.address, 2),
        ([101, 50], left.address, 2),
        ([50], left.address, 2),
    ]
    assert send.send(left.fd) == 0
    assert [len(d) for d in cut(drain(left, RecvBatch(), 5))] == [100, 100, 101, 50, 50]


def test_a_train_of_64_kib_is_not_truncated(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send, receive = SendBatch(max_segments=64), RecvBatch()
    sent = [bytes([i]) * 1031 for i in range(63)]  # 64,953 bytes; one more would not fit
    assert all(send.append(d, right.address) for d in sent)
    assert len(send.runs()) == 1
    send.send(left.fd)
    assert cut(drain(right, receive, 63)) == sent
    assert receive.counters()["truncated"] == 0


def test_the_largest_datagram_of_all_arrives_whole(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send = SendBatch()
    assert send.append(b"z" * 65507, right.address)
    assert send.send(left.fd) == 0
    assert cut(drain(right, RecvBatch(), 1)) == [b"z" * 65507]
    assert not send.append(b"z" * 65508, right.address)


def test_a_run_never_passes_the_largest_payload(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send = SendBatch(max_segments=64)
    for _ in range(50):
        assert send.append(b"y" * 1400, right.address)
    assert [sum(sizes) for sizes, _, _ in send.runs()] == [46 * 1400, 4 * 1400]
    assert send.send(left.fd) == 0
    assert len(cut(drain(right, RecvBatch(), 50))) == 50


def test_a_full_batch_refuses_then_takes_again_after_the_flush(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send = SendBatch(slots=2, max_segments=2)
    taken = 0
    while send.append(b"m" * 10, right.address):
        taken += 1
    assert taken == 4
    assert send.send(left.fd) == 0
    assert send.append(b"m", right.address)
    assert len(cut(drain(right, RecvBatch(), 4))) == 4


@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize("gro", [True, False])
def test_the_same_bytes_arrive_with_and_without_offload(gso: bool, gro: bool) -> None:
    left, right = Side(*open_socket("127.0.0.1")), Side(*open_socket("127.0.0.1", gro=gro))
    with left.sock, right.sock:
        send, receive = SendBatch(slots=40, gso=gso), RecvBatch()
        sent = [bytes([i % 251]) * (1200 if i % 9 else 700) for i in range(200)]
        assert all(send.append(d, right.address) for d in sent)
        assert send.send(left.fd) == 0
        assert cut(drain(right, receive, 200)) == sent
        assert (send.counters()["messages"] == 200) is not gso
        assert right.abilities.gro is gro


def test_an_ipv6_socket_speaks_to_both_families_and_marks_both() -> None:
    dual, four, six = (Side(*open_socket(h)) for h in ("::", "127.0.0.1", "::1"))
    with dual.sock, four.sock, six.sock:
        port = dual.address[1]
        send, receive = SendBatch(family=socket.AF_INET6), RecvBatch()
        assert send.append(b"to four", four.address, 2)
        assert send.append(b"to six", ("::1", six.address[1]), 1)
        assert send.send(dual.fd) == 0
        assert drain(four, receive, 1) == [(b"to four", 7, ("127.0.0.1", port), 2)]
        assert drain(six, receive, 1) == [(b"to six", 6, ("::1", port), 1)]
        from_four, from_six = SendBatch(), SendBatch(family=socket.AF_INET6)
        from_four.append(b"hello", ("127.0.0.1", port), 3)
        from_six.append(b"hello", ("::1", port), 2)
        from_four.send(four.fd)
        assert drain(dual, receive, 1) == [(b"hello", 5, four.address, 3)]
        from_six.send(six.fd)
        assert drain(dual, receive, 1) == [(b"hello", 5, ("::1", six.address[1]), 2)]


def test_what_the_socket_does_not_take_is_kept_for_the_next_flush() -> None:
    # A Unix datagram pair has a short queue, so the sender really meets EAGAIN.
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        send = SendBatch(slots=64, gso=False, connected=True)
        sent = [b"%04d" % i for i in range(300)]
        assert all(send.append(d, ("127.0.0.1", 9)) for d in sent)
        left = send.send(near.fileno())
        assert left > 0
        assert send.counters()["would_block"] == 1
        got: list[bytes] = []
        while left:
            got += waiting(far)
            left = send.send(near.fileno())
        got += waiting(far)
        assert got == sent
        assert send.runs() == []


def test_nothing_joins_a_run_that_the_kernel_has_in_part() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        send = SendBatch(max_segments=64, gso=False, connected=True)
        for i in range(40):
            assert send.append(b"%04d" % i, ("127.0.0.1", 9))
        assert send.send(near.fileno()) == 1
        assert send.append(b"0040", ("127.0.0.1", 9))
        assert len(send.runs()) == 2


def test_a_datagram_too_big_for_the_socket_is_dropped_and_counted_and_the_rest_goes_out() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        send = SendBatch(gso=False, connected=True)
        for data in (b"small", b"B" * 60000, b"after"):
            assert send.append(data, ("127.0.0.1", 9))
        assert send.send(near.fileno()) == 0
        assert [far.recv(100), far.recv(100)] == [b"small", b"after"]
        assert send.counters()["too_big"] == 1


def test_a_run_that_the_kernel_refuses_is_sent_datagram_by_datagram(
    pair: tuple[Side, Side],
) -> None:
    left, right = pair
    # Without checksums the kernel refuses segmentation with EINVAL.
    left.sock.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
    send = SendBatch()
    sent = [bytes([i]) * 500 for i in range(6)]
    assert all(send.append(d, right.address) for d in sent)
    assert send.send(left.fd) == 0
    assert cut(drain(right, RecvBatch(), 6)) == sent
    assert send.counters()["split"] == 1
    assert send.gso, "one run was refused, not segmentation as such"


def test_a_device_that_cannot_checksum_runs_turns_segmentation_off_for_good() -> None:
    # UDP-Lite is the one socket that answers EIO without special hardware.
    try:
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)
    except OSError as error:
        pytest.skip(f"this kernel has no UDP-Lite: {error}")
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)
    with near, far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(5)
        send = SendBatch()
        for i in range(3):
            assert send.append(bytes([i]) * 100, far.getsockname())
        assert send.send(near.fileno()) == 0
        assert [far.recv(200) for _ in range(3)] == [bytes([i]) * 100 for i in range(3)]
        assert not send.gso
        assert send.counters()["gso_lost"] == send.counters()["split"] == 1


def test_a_refused_datagram_does_not_stop_those_behind_it(pair: tuple[Side, Side]) -> None:
    left, _ = pair
    gone = Side(*open_socket("127.0.0.1"))
    address = gone.address
    gone.sock.close()
    left.sock.connect(address)
    send = SendBatch(connected=True)
    for _ in range(3):
        assert send.append(b"anyone?", address)
        assert send.send(left.fd) == 0
    assert send.counters()["refused"] >= 1
    assert RecvBatch().read(left.fd) == []


def test_a_datagram_that_can_go_nowhere_is_dropped_alone(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send = SendBatch()
    assert send.append(b"lost", ("127.0.0.1", 0))  # port 0 is no destination
    assert send.append(b"found", right.address)
    assert send.send(left.fd) == 0
    assert cut(drain(right, RecvBatch(), 1)) == [b"found"]
    assert send.counters()["unreachable"] == 1


def test_a_closed_descriptor_is_an_error_of_the_caller(pair: tuple[Side, Side]) -> None:
    left, right = pair
    send = SendBatch()
    send.append(b"x", right.address)
    fd = left.fd
    left.sock.close()
    with pytest.raises(OSError, match="sendmmsg") as sending:
        send.send(fd)
    assert sending.value.errno == errno.EBADF
    with pytest.raises(OSError, match="recvmmsg"):
        RecvBatch().read(fd)


def test_an_empty_datagram_is_dropped_and_counted(pair: tuple[Side, Side]) -> None:
    left, right = pair
    left.sock.sendto(b"", right.address)
    left.sock.sendto(b"x", right.address)
    receive = RecvBatch()
    assert cut(drain(right, receive, 1)) == [b"x"]
    assert receive.counters()["unaddressed"] == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: RecvBatch(0),
        lambda: SendBatch(0),
        lambda: SendBatch(max_segments=65),
        lambda: SendBatch(family=socket.AF_UNIX),
    ],
)
def test_impossible_sizes_are_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match="must be"):
        build()


@pytest.mark.parametrize("address", [("localhost", 1), ("127.0.0.1", 70000), ("127.0.0.1",)])
def test_an_address_that_is_none_is_refused(address: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        SendBatch().append(b"x", address)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 1500), st.booleans(), st.sampled_from([0, 2])), max_size=120),
    st.integers(1, 64),
    st.booleans(),
)
def test_every_peer_gets_its_datagrams_whole_and_in_order(
    plan: list[tuple[int, bool, int]], max_segments: int, gso: bool
) -> None:
    sides = [Side(*open_socket("127.0.0.1")) for _ in range(3)]
    try:
        source, *targets = sides
        send, receive = SendBatch(slots=8, max_segments=max_segments, gso=gso), RecvBatch()
        expected: list[list[bytes]] = [[], []]
        for index, (size, which, ecn) in enumerate(plan):
            data = (b"%d-" % index * size)[:size]
            if not send.append(data, targets[which].address, ecn):
                assert send.send(source.fd) == 0
                assert send.append(data, targets[which].address, ecn)
            expected[which].append(data)
        assert send.send(source.fd) == 0
        for target, datagrams in zip(targets, expected, strict=True):
            assert cut(drain(target, receive, len(datagrams))) == datagrams
    finally:
        for side in sides:
            side.sock.close()

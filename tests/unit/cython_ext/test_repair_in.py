"""What a server does with repair blocks: whatever is lost comes back, whatever lies is bounded."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_ext.core import CloseCause, ConnectionState, Params, TransportError
from cython_ext.fec import ReedSolomon
from cython_ext.wire import encode_ack
from tests.support.memory import resident_bytes
from tests.support.raw_client import (
    ACK,
    FEC,
    PING,
    RawClient,
    datagram,
    message,
    new_server,
    repair,
    stream,
    varint,
)

E = TransportError
MS = 1_000_000
PROPERTIES = settings(max_examples=60, deadline=None)


def parities(plains: Sequence[bytes], count: int) -> list[bytes]:
    """Return the parity shards of packets with these plaintexts."""
    return ReedSolomon(len(plains), count).encode(plains)


def recovered_in(frames: Sequence[tuple[object, ...]]) -> set[int]:
    """Return the numbers in recovered ranges of the ACK frames."""
    found: set[int] = set()
    for frame in frames:
        if frame[0] in (0x04, 0x05):
            ranges = frame[4]
            assert isinstance(ranges, list)
            for low, high in ranges:
                found.update(range(low, high + 1))
    return found


class Block:
    """Sources that a raw client numbered and did not send yet."""

    def __init__(self, client: RawClient, plains: Sequence[bytes], count: int) -> None:
        self.client, self.plains = client, list(plains)
        self.first = client.number
        client.number += len(self.plains)
        self.numbers = list(range(self.first, client.number))
        self.parities = parities(self.plains, count)

    def source(self, at: int, flags: int = FEC) -> bytes:
        """Return the datagram of a source."""
        return self.client.seal(self.plains[at], flags=flags, number=self.numbers[at])

    def repair(self, index: int) -> bytes:
        """Return the REPAIR frame of a parity."""
        return repair(self.numbers, len(self.parities), index, self.parities[index])


@st.composite
def losses(draw: st.DrawFn) -> tuple[list[bytes], int, set[int], list[int], int]:
    """Contents, how many parities there are, which sources are lost, which parities arrive."""
    k = draw(st.integers(1, 24))
    m = draw(st.integers(1, 12))
    random = Random(draw(st.integers(0, 1 << 30)))
    bodies = [random.randbytes(draw(st.integers(0, 300))) for _ in range(k)]
    lost = draw(st.integers(1, min(k, m)))
    gone = set(random.sample(range(k), lost))
    arriving = random.sample(range(m), draw(st.integers(lost, m)))
    return bodies, m, gone, arriving, draw(st.integers(0, 1 << 30))


@given(losses())
@PROPERTIES
def test_any_losses_up_to_the_parities_are_rebuilt_to_the_byte(
    case: tuple[list[bytes], int, set[int], list[int], int],
) -> None:
    bodies, m, gone, arriving, shuffle = case
    client = RawClient(new_server()).connect()
    handle = client.handle
    block = Block(client, [message(n, body) for n, body in enumerate(bodies)], m)
    packets = [block.source(at) for at in range(len(bodies)) if at not in gone]
    packets += [client.seal(block.repair(index)) for index in arriving]
    Random(shuffle).shuffle(packets)
    client.deliver(*packets)
    assert sorted(handle.receive_messages()) == sorted(bodies)
    stats = handle.stats()
    # A source that is overtaken by enough parities is rebuilt, and comes late.
    assert stats["fec_packets_recovered"] - stats["fec_recovered_late"] == len(gone)
    assert stats["fec_blocks_failed"] == 0
    assert recovered_in(client.receive()) == {block.numbers[at] for at in gone}
    assert handle.state == ConnectionState.ESTABLISHED


def test_one_parity_too_few_rebuilds_nothing_until_another_source_comes() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    block = Block(client, [datagram(bytes([n]) * 20) for n in range(4)], 2)
    client.deliver(block.source(0), client.seal(block.repair(1)))
    assert handle.receive_datagrams() == [bytes(20)]
    client.deliver(client.seal(block.repair(1)), client.seal(block.repair(0)))
    assert handle.receive_datagrams() == [], "three are missing, and one parity came twice"
    client.deliver(block.source(2))
    assert sorted(handle.receive_datagrams()) == [bytes([n]) * 20 for n in (1, 2, 3)]


def test_what_was_rebuilt_is_reported_until_the_peer_knows_and_not_longer() -> None:
    client = RawClient(new_server()).connect()
    block = Block(client, [datagram(b"a"), datagram(b"b")], 1)
    client.deliver(block.source(0))
    told = client.send(block.repair(0))
    assert recovered_in(told) == {block.numbers[1]}
    assert recovered_in(client.send(PING, PING)) == {block.numbers[1]}
    newest = client.sent_by_server[-1]
    client.send(encode_ack([(newest, newest)], 0))
    assert recovered_in(client.send(PING, PING)) == set()


def test_a_packet_that_comes_after_it_was_rebuilt_is_acknowledged_and_not_done_again() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    block = Block(client, [datagram(b"a"), datagram(b"b")], 1)
    client.send(block.repair(0))
    client.deliver(block.source(0))
    assert recovered_in(client.receive()) == {block.numbers[1]}
    assert sorted(handle.receive_datagrams()) == [b"a", b"b"]
    late = block.source(1)
    client.deliver(late)
    acks = [f for f in client.receive() if f[0] in (0x02, 0x04)]
    assert recovered_in(acks) == set()
    ranges = acks[0][2]
    assert isinstance(ranges, list)
    assert any(low <= block.numbers[1] <= high for low, high in ranges)
    assert handle.receive_datagrams() == []
    assert handle.stats()["fec_recovered_late"] == 1
    client.deliver(late)
    assert client.server.stats()["replayed"] == 1


def test_a_repair_of_what_arrived_is_counted_as_unused() -> None:
    client = RawClient(new_server()).connect()
    block = Block(client, [datagram(b"a"), datagram(b"b")], 2)
    client.deliver(block.source(0), block.source(1))
    client.send(block.repair(0), block.repair(1))
    stats = client.handle.stats()
    assert (stats["fec_repairs_received"], stats["fec_repairs_unused"]) == (2, 2)
    assert stats["fec_blocks_failed"] == 0


def test_an_endpoint_that_does_not_repair_ignores_flag_and_frame() -> None:
    client = RawClient(new_server(Params(repair_sources=0))).connect()
    handle = client.handle
    block = Block(client, [datagram(b"a"), datagram(b"b")], 1)
    client.deliver(block.source(0))
    client.send(block.repair(0))
    assert handle.receive_datagrams() == [b"a"]
    assert handle.state == ConnectionState.ESTABLISHED
    assert handle.stats()["fec_packets_recovered"] == 0


# -- rules ---------------------------------------------------------------------------------------


def close_code(client: RawClient) -> object:
    """Return the code of the CLOSE that the server sends now."""
    (code,) = [frame[1] for frame in client.receive() if frame[0] == 0x31]
    return code


@pytest.mark.parametrize(
    "plain",
    [
        PING,
        encode_ack([(0, 0)], 0),
        b"\x08\x00abc",
        b"\x07\x00\x00",
        b"\x30" + bytes(16),
        b"\x31\x00\x00",
        datagram(b"fine") + PING,
        repair([0], 1, 0, b"x"),
    ],
    ids=["PING", "ACK", "STREAM to the end", "STOP", "DONE", "CLOSE", "PING at last", "REPAIR"],
)
@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_a_frame_that_no_source_may_have_closes(plain: bytes, is_rebuilt: bool) -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    if is_rebuilt:
        block = Block(client, [plain], 1)
        client.deliver(client.seal(block.repair(0)))
    else:
        client.deliver(client.seal(plain, flags=FEC))
    assert close_code(client) == E.PROTOCOL_VIOLATION
    assert handle.cause == CloseCause.LOCAL_ERROR


@pytest.mark.parametrize("ahead", [0, 1, 1_000, 1 << 40])
def test_a_source_that_cannot_have_been_sent_closes(ahead: int) -> None:
    client = RawClient(new_server()).connect()
    numbers = [client.number - 1, client.number + ahead]
    client.deliver(client.seal(repair(numbers, 1, 0, b"abc")))
    assert close_code(client) == E.PROTOCOL_VIOLATION


def test_garbage_that_was_rebuilt_closes() -> None:
    client = RawClient(new_server()).connect()
    client.number += 1
    client.deliver(client.seal(repair([client.number - 1], 1, 0, b"\x2f\xff\xff")))
    assert close_code(client) == E.FRAME_ENCODING


@pytest.mark.parametrize(
    "frame",
    [
        b"\x20" + varint(0) + varint(1) + varint(0) + varint(1) + varint(1) + b"x",
        b"\x20" + varint(1) + varint(0) + varint(0) + varint(1) + varint(1) + b"x",
        b"\x20" + varint(1) + varint(1) + varint(1) + varint(1) + varint(1) + b"x",
        b"\x20" + varint(200) + varint(57) + varint(0) + bytes(200) + varint(1) + b"x",
        b"\x20" + varint((1 << 62) - 1) + varint(1) + varint(0) + bytes(50),
        b"\x20" + varint(1) + varint((1 << 62) - 1) + varint(0) + bytes(50),
        b"\x20" + varint(1) + varint(1) + varint(0) + varint(0) + varint(0),
        b"\x20" + varint(1) + varint(1) + varint(0) + varint(0) + varint(9) + b"short",
        repair([(1 << 62) - 2], 1, 0, b"x").replace(b"\x01\x01\x00", b"\x02\x01\x00") + b"\x3f",
    ],
)
def test_a_repair_that_does_not_parse_closes(frame: bytes) -> None:
    client = RawClient(new_server()).connect()
    client.deliver(client.seal(frame))
    assert close_code(client) == E.FRAME_ENCODING


@pytest.mark.parametrize("recovered", [(500, 500), (1, 900)])
def test_a_recovered_range_of_what_was_not_sent_closes(recovered: tuple[int, int]) -> None:
    client = RawClient(new_server()).connect()
    low, high = recovered
    largest = high + 1
    body = varint(largest) + varint(0) + varint(0) + varint(0)
    client.deliver(client.seal(b"\x04" + body + varint(1) + varint(0) + varint(high - low)))
    assert close_code(client) == E.PROTOCOL_VIOLATION


def test_a_number_skipped_on_purpose_may_not_be_recovered() -> None:
    client = RawClient(new_server()).connect()
    for _ in range(900):
        client.send(PING, PING)
    sent = client.sent_by_server
    skipped = max(set(range(sent[0], sent[-1])) - set(sent))
    newest = sent[-1]
    body = varint(newest) + varint(0) + varint(0) + varint(0) + varint(1)
    client.deliver(client.seal(b"\x04" + body + varint(newest - skipped - 1) + varint(0)))
    assert close_code(client) == E.PROTOCOL_VIOLATION


# -- lies and floods -----------------------------------------------------------------------------


def refused(client: RawClient, *packets: bytes) -> int:
    """Deliver *packets*; return how many blocks were dropped, the connection being alive."""
    handle = client.handle
    client.deliver(*packets)
    client.receive()
    assert handle.state == ConnectionState.ESTABLISHED
    assert handle.stats()["fec_packets_recovered"] == 0
    return handle.stats()["fec_blocks_failed"]


def test_blocks_that_contradict_themselves_are_dropped_and_counted() -> None:
    plains = [datagram(bytes([n]) * 9) for n in range(4)]
    for lie in range(3):
        client = RawClient(new_server()).connect()
        block = Block(client, plains, 2)
        other = [
            repair(block.numbers[:3], 2, 1, block.parities[1]),
            repair([*block.numbers[:3], client.number], 2, 1, block.parities[1]),
            repair(block.numbers, 2, 1, block.parities[1] + b"\0"),
        ][lie]
        client.number += 1
        assert refused(client, client.seal(block.repair(0)), client.seal(other)) == 1


def test_blocks_with_sources_that_do_not_fit_are_dropped_and_counted() -> None:
    plains = [datagram(bytes([n]) * 9) for n in range(3)]
    client = RawClient(new_server()).connect()
    block = Block(client, plains, 1)
    # One came without the flag.
    packets = [block.source(0), block.source(1, flags=0), client.seal(block.repair(0))]
    assert refused(client, *packets) == 1
    # The same, the other way round.
    client = RawClient(new_server()).connect()
    block = Block(client, plains, 1)
    assert refused(client, client.seal(block.repair(0)), block.source(0), block.source(1, 0)) == 1
    # One is longer than the shards.
    client = RawClient(new_server()).connect()
    block = Block(client, plains, 1)
    short = repair(block.numbers, 1, 0, block.parities[0][:-1])
    assert refused(client, block.source(0), block.source(1), client.seal(short)) == 1
    # One is not held any more.
    client = RawClient(new_server(Params(repair_sources=4))).connect()
    block = Block(client, plains, 1)
    more = [client.seal(datagram(b"more"), flags=FEC) for _ in range(4)]
    packets = [block.source(0), block.source(1), *more, client.seal(block.repair(0))]
    assert refused(client, *packets) == 1


def test_more_sources_than_are_kept_are_not_even_noted() -> None:
    client = RawClient(new_server(Params(repair_sources=8))).connect()
    client.number += 250
    numbers = list(range(client.number - 250, client.number))
    assert refused(client, client.seal(repair(numbers, 6, 5, bytes(1_000)))) == 1


def test_open_blocks_are_bounded_and_the_oldest_give_way() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    blocks = [Block(client, [datagram(b"a%d" % n), datagram(b"b%d" % n)], 2) for n in range(100)]
    for block in blocks:
        client.deliver(client.seal(block.repair(0)))
    assert handle.stats()["fec_blocks_failed"] == 100 - 16
    client.deliver(client.seal(blocks[-1].repair(1)))
    assert sorted(handle.receive_datagrams()) == [b"a99", b"b99"]


def test_parities_are_bounded_over_all_blocks() -> None:
    client = RawClient(new_server()).connect()
    blocks = [Block(client, [datagram(bytes([n, i])) for i in range(40)], 30) for n in range(3)]
    packets = [client.seal(block.repair(i)) for block in blocks for i in range(30)]
    assert refused(client, *packets) == 1, "three blocks of 30 do not fit into 64"


def test_a_flood_of_blocks_and_sources_grows_nothing() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    random = Random(7)
    before = 0
    for turn in range(6_000):
        if turn == 600:
            before = resident_bytes()
        client.deliver(client.seal(datagram(random.randbytes(1_000)), flags=FEC))
        client.number += 3
        numbers = sorted(random.sample(range(client.number - 200, client.number), 40))
        if numbers[0] >= 0:
            client.deliver(client.seal(repair(numbers, 40, random.randrange(40), bytes(1_000))))
        if turn % 16 == 0:
            client.datagrams()
            handle.receive_datagrams()
            client.now_ns += MS
    assert resident_bytes() - before < 2 << 20
    assert handle.state == ConnectionState.ESTABLISHED
    assert handle.stats()["fec_blocks_failed"] > 3_000


def test_what_is_kept_is_freed_after_three_quiet_probe_timeouts() -> None:
    client = RawClient(new_server()).connect()
    handle = client.handle
    block = Block(client, [datagram(b"a"), datagram(b"b"), datagram(b"c")], 2)
    client.deliver(block.source(0), client.seal(block.repair(0)))
    assert handle.stats()["fec_blocks_failed"] == 0
    client.wait(4_000 * MS)
    # The block was open until then; and its source is not held any more.
    assert handle.stats()["fec_blocks_failed"] == 1
    assert refused(client, client.seal(block.repair(0)), client.seal(block.repair(1))) >= 2


def test_stream_data_that_was_rebuilt_counts_in_flow_control() -> None:
    client = RawClient(new_server(Params(max_data=4_000, max_stream_data=2_000))).connect()
    handle = client.handle
    block = Block(client, [stream(0, 0, b"x" * 900), stream(0, 900, b"y" * 1_100)], 2)
    client.send(block.repair(0), block.repair(1))
    assert handle.stream_read(0, 5_000) == b"x" * 900 + b"y" * 1_100
    block = Block(client, [stream(4, 0, b"z" * 1_000), stream(4, 1_900, b"z" * 101)], 2)
    client.deliver(client.seal(block.repair(0)), client.seal(block.repair(1)))
    assert close_code(client) == E.FLOW_CONTROL


def test_the_header_may_carry_both_flags() -> None:
    client = RawClient(new_server()).connect()
    newest = client.sent_by_server[-1]
    client.deliver(client.seal(datagram(b"a"), flags=FEC | ACK, ack=newest + 1))
    assert client.handle.receive_datagrams() == [b"a"]

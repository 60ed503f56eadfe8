"""The pair: connects, carries, repeats itself to the byte, and says when nothing comes."""

from random import Random

import pytest

from cython_ext.core import EventKind, Params
from quantum.testing import Impairment, Pair, Stalled
from quantum.testing.pair import SECOND_NS

MS = 1_000_000
BAD = Impairment(
    delay_ns=10 * MS, loss=0.1, duplicate=0.05, reorder=0.1, reorder_delay_ns=5 * MS, corrupt=0.01
)


def data(size: int) -> bytes:
    return Random(size).randbytes(size)


def test_bytes_go_both_ways_over_a_bad_path() -> None:
    pair = Pair(BAD, seed=1).connect()
    took = pair.exchange(data(300_000), data(200_000))
    assert 20 * MS < took < 20 * SECOND_NS
    assert pair.now_ns > took


def test_a_perfect_path_takes_no_time() -> None:
    pair = Pair().connect()
    assert pair.exchange(b"up", b"down") < 50 * MS


def test_the_same_seed_repeats_to_the_byte_and_another_differs() -> None:
    def wire(seed: int) -> list[bytes]:
        leaving: list[bytes] = []
        pair = Pair(BAD, seed=seed)

        def note(number: int, datagram: bytes) -> list[bytes]:
            leaving.append(datagram)
            return [datagram]

        pair.client.tap = note
        pair.connect()
        pair.exchange(data(50_000), data(50_000))
        return leaving

    assert wire(5) == wire(5)
    assert wire(5) != wire(6)


def test_messages_and_datagrams_are_kept_as_they_arrive() -> None:
    pair = Pair(Impairment(delay_ns=MS)).connect()
    pair.client.send_messages([b"one", b"", b"two"])
    pair.server.open.send_datagram(b"position")
    pair.drive(lambda: len(pair.server.messages) == 3, SECOND_NS)
    assert pair.server.messages == [b"one", b"", b"two"]
    pair.drive(lambda: pair.client.datagrams == [b"position"], SECOND_NS)


def test_a_stream_larger_than_every_buffer_is_written_as_it_is_taken() -> None:
    small = Params(max_stream_data=20_000, max_data=20_000, send_buffer_bytes=5_000)
    pair = Pair(Impairment(delay_ns=MS), client_params=small, server_params=small).connect()
    stream_id = pair.client.send_stream(data(400_000))
    assert pair.client.writes_waiting()
    pair.drive(lambda: stream_id in pair.server.ended, 60 * SECOND_NS)
    assert pair.server.received[stream_id] == data(400_000)
    assert not pair.client.writes_waiting()


def test_a_writer_gives_up_when_the_peer_stops_the_stream() -> None:
    small = Params(send_buffer_bytes=5_000, max_stream_data=10_000)
    pair = Pair(Impairment(delay_ns=MS), client_params=small, server_params=small).connect()
    pair.server.reads_streams = False
    stream_id = pair.client.send_stream(data(100_000))
    pair.run_for(SECOND_NS)
    pair.server.open.stream_stop(stream_id, 3)
    pair.drive(lambda: pair.client.saw(EventKind.STREAM_STOPPED_BY_PEER), SECOND_NS)
    pair.client.write(stream_id, b"more")
    assert not pair.client.writes_waiting()


def test_what_does_not_happen_is_told_with_the_time_that_passed() -> None:
    pair = Pair(Impairment(loss=1.0))
    with pytest.raises(
        Stalled, match=r"is_established does not hold after 3\.000 s of virtual time"
    ):
        pair.connect(3 * SECOND_NS)


def test_the_path_can_be_changed_under_way() -> None:
    pair = Pair(Impairment(delay_ns=MS)).connect()
    pair.impair(Impairment(delay_ns=MS, loss=1.0), Impairment(delay_ns=MS))
    pair.client.open.send_datagram(b"lost")
    pair.server.open.send_datagram(b"arrives")
    pair.run_for(20 * MS)
    assert (pair.server.datagrams, pair.client.datagrams) == ([], [b"arrives"])


def test_without_a_connection_nothing_can_be_sent() -> None:
    with pytest.raises(LookupError, match=r"call Pair\.connect first"):
        Pair().client.send_stream(b"x")


def test_more_streams_than_allowed_are_refused_clearly() -> None:
    pair = Pair(server_params=Params(max_streams_bidi=1)).connect()
    pair.client.send_stream(b"x")
    with pytest.raises(LookupError, match="allows no further stream"):
        pair.client.send_stream(b"y")


def test_a_tap_sees_every_datagram_and_decides() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    numbers: list[int] = []

    def twice(number: int, datagram: bytes) -> list[bytes]:
        numbers.append(number)
        return [datagram, datagram]

    pair.client.tap = twice
    pair.connect()
    assert numbers == list(range(len(numbers)))
    assert pair.server.endpoint.stats()["datagrams_received"] == 2 * len(numbers)
    assert pair.client.datagrams_sent == len(numbers)

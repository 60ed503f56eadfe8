"""Sessions of random commands over random links, with random limits: everything arrives, once."""

import random
from dataclasses import replace
from typing import Any

import pytest

from interop.reference import Config
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.state import State
from tests.support.core_end import CoreEnd
from tests.support.mixed_pair import MS, blob, closed, ended, messages, mixed, stream_bytes
from tests.support.oracle import Pair
from tests.support.virtual_link import Path


def random_pair(chance: random.Random, seed: int) -> Pair:
    """Return a pair whose link, limits, buffers and periods are drawn from *chance*."""
    pick = chance.choice
    path = Path(
        loss=pick([0, 0.05, 0.2]),
        duplication=pick([0, 0.1]),
        corruption=pick([0, 0.02]),
        delay_ns=pick([1, 10, 100]) * MS,
        jitter_ns=pick([0, 5, 50]) * MS,
        congestion=pick([0, 0.05]),
        bleaches=pick([False, False, True]),
    )
    parameters = replace(
        DEFAULT_PARAMETERS,
        max_data=pick([3000, 20_000, 1 << 20]),
        max_stream_data=pick([1500, 9000, 1 << 18]),
        max_message_data=pick([5001, 30_000, 1 << 20]),
        max_message_bytes=5000,
        max_streams_uni=pick([3, 100]),
        idle_timeout_ms=0,
        max_ack_delay_us=pick([0, 1000, 25_000]),
        repair_sources=pick([0, 5, 64]),
    )
    config = Config(
        parameters=parameters,
        suites=(pick([1, 2]),),
        skip_every_packets=pick([0, 17]),
        update_after_packets=pick([30, 1 << 20]),
        max_datagram_bytes=pick([1200, 1400]),
        handshake_timeout_ns=60_000 * MS,
        protect=pick([None, (3, 1), (20, 6)]),
        mark_ect0=pick([False, True]),
    )
    return mixed(
        pick([True, False]),
        path,
        config,
        config,
        seed=seed,
        controller=pick(["bbr", "new_reno"]),
        fec=pick(["off", "auto", "always"]),
        key_update_packets=pick([25, 1 << 20]),
        send_buffer_bytes=pick([1200, 1 << 20]),
        message_buffer_bytes=pick([1200, 1 << 20]),
    )


class Session:
    """What was asked of a pair, to be compared with what came out of it."""

    def __init__(self, pair: Pair, chance: random.Random) -> None:
        self.pair = pair
        self.chance = chance
        self.ends = (pair.client, pair.server)
        self.streams: dict[int, int] = {}
        self.written: dict[int, bytes] = {}
        self.finished: set[int] = set()
        self.given_up: set[int] = set()
        self.messages: tuple[list[bytes], list[bytes]] = ([], [])

    def step(self) -> None:
        """Do one random thing at a random end."""
        side = self.chance.randrange(2)
        what = self.chance.choices(
            (self.open, self.write, self.reset, self.stop, self.message, self.datagram),
            (35, 35, 5, 3, 17, 5),
        )[0]
        what(side)
        if self.chance.random() < 0.5:
            self.pair.run_for(self.chance.random() * 0.2)

    def open(self, side: int) -> None:
        end, unidirectional = self.ends[side], self.chance.random() < 0.3
        if isinstance(end, CoreEnd):
            stream = end.connection.open_stream(not unidirectional)
        else:
            stream = end.open_stream(unidirectional)
        if stream is not None:
            self.streams[stream] = side
            self.written[stream] = b""

    def write(self, side: int) -> None:
        stream = self.some_stream()
        if stream is None or stream in self.finished | self.given_up:
            return
        data = blob(self.chance.choice([0, 1, 50, 3000, 40_000]), f"{len(self.written[stream])}")
        fin = self.chance.random() < 0.4
        self.ends[self.streams[stream]].write_stream(stream, data, fin)
        self.written[stream] += data
        if fin:
            self.finished.add(stream)

    def reset(self, side: int) -> None:
        stream = self.some_stream()
        if stream is not None and self.knows(self.streams[stream], stream, "send"):
            self.given_up.add(stream)
            self.ends[self.streams[stream]].reset_stream(stream, self.chance.randrange(9))

    def stop(self, side: int) -> None:
        stream = self.some_stream()
        if stream is not None and self.knows(1 - self.streams[stream], stream, "receive"):
            self.given_up.add(stream)
            self.ends[1 - self.streams[stream]].stop_stream(stream, 5)

    def message(self, side: int) -> None:
        message = blob(self.chance.choice([0, 1, 30, 1150, 4999]), f"m{len(self.messages[side])}")
        self.messages[side].append(message)
        self.ends[side].send_message(message)

    def datagram(self, side: int) -> None:
        self.ends[side].send_datagram(b"unreliable")

    def some_stream(self) -> int | None:
        return self.chance.choice(list(self.streams)) if self.streams else None

    def knows(self, side: int, stream: int, half: str) -> bool:
        """Tell whether an end can be asked about a stream; the oracle forgets ended ones."""
        end: Any = self.ends[side]
        return isinstance(end, CoreEnd) or stream in getattr(end.streams, half)

    def finish(self) -> None:
        """End every stream that has no end yet."""
        for stream, side in self.streams.items():
            if stream in self.finished | self.given_up:
                continue
            if self.knows(side, stream, "send"):
                self.ends[side].write_stream(stream, b"", fin=True)
                self.finished.add(stream)

    def check(self) -> None:
        """Assert that each end was told what the other one sent."""
        told = (self.pair.server_events, self.pair.client_events)
        for stream in self.finished - self.given_up:
            events = told[self.streams[stream]]
            assert stream_bytes(events).get(stream, b"") == self.written[stream]
            assert stream in ended(events)
        for side in (0, 1):
            assert sorted(messages(told[side])) == sorted(self.messages[side])


@pytest.mark.parametrize("seed", range(40))
def test_a_random_session_loses_nothing(seed: int) -> None:
    chance = random.Random(seed)
    pair = random_pair(chance, seed)
    pair.establish()
    session = Session(pair, chance)
    for _ in range(chance.randrange(5, 60)):
        session.step()
    session.finish()
    pair.run_until(lambda: pair.client.is_flushed and pair.server.is_flushed, 900)
    pair.run_for(20)
    assert pair.client.state is pair.server.state is State.ESTABLISHED
    assert closed(pair.client_events) == closed(pair.server_events) == []
    session.check()

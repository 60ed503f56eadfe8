"""Vectors of repair blocks: parities, and conversations in which lost packets are rebuilt."""

from dataclasses import replace

from interop.crypto_vectors import (
    NOW_NS,
    PIN,
    SEED,
    client_inputs,
    handshake_inputs,
    material,
    server_inputs,
)
from interop.reference import Client, Config, Server
from interop.reference.codec import HEADER_BYTES
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.events import DatagramReceived, MessageReceived, StreamData
from interop.reference.frames import (
    Ack,
    Datagram,
    Frame,
    Message,
    MessageExpired,
    MessagePart,
    Stream,
    decode_frames,
)
from interop.reference.reed_solomon import parity, rebuild
from interop.wire_vectors import Vector, plain

PARAMETERS = replace(DEFAULT_PARAMETERS, repair_sources=64)
SHAPES = [(1, 1), (1, 255), (2, 2), (4, 2), (5, 5), (10, 3), (20, 10), (250, 6), (255, 1)]


def shards() -> list[Vector]:
    """Sources of different lengths, and all parities; numbers count sources, then parities.

    ``kept`` names k shards from which the sources are to be rebuilt.
    """
    rows: list[Vector] = []
    for k, m in SHAPES:
        sizes = [material(f"size {k} {m} {n}", 1)[0] % 7 for n in range(k)]
        sizes[k // 2] = 8
        sources = [material(f"source {k} {m} {n}", size) for n, size in enumerate(sizes)]
        parities = [parity(sources, index) for index in range(m)]
        kept = [*range(min(k, m), k), *range(k + m - min(k, m), k + m)]
        length = max(map(len, sources))
        every = [source.ljust(length, b"\0") for source in sources] + parities
        assert rebuild({number: every[number] for number in kept}, k) == every[:k]
        rows.append(
            {
                "id": f"{k}-sources-{m}-parities",
                "section": "5.7",
                "k": k,
                "m": m,
                "sources": sources,
                "parities": parities,
                "kept": kept,
            }
        )
    return rows


class _Conversation:
    """A client that protects with *k* and *m*, and an established server that repairs."""

    def __init__(self, name: str, k: int, m: int) -> None:
        config = Config(parameters=PARAMETERS, protect=(k, m))
        self.client = Client(config, PIN, client_inputs(name))
        self.server = Server(Config(parameters=PARAMETERS), SEED, server_inputs(name))
        self.sent: list[Vector] = []
        self.client.connect(NOW_NS)
        (syn,) = self.client.poll_datagrams(NOW_NS)
        self.inputs = handshake_inputs(self.client, self.server, syn)
        self.inputs["k"], self.inputs["m"] = k, m
        self.server.handle_datagram(syn, NOW_NS)
        (syn_ack,) = self.server.poll_datagrams(NOW_NS)
        self.client.handle_datagram(syn_ack, NOW_NS)
        (psh,) = self.client.poll_datagrams(NOW_NS)
        self.server.handle_datagram(psh, NOW_NS)
        (done,) = self.server.poll_datagrams(NOW_NS)
        self.client.handle_datagram(done, NOW_NS)
        self.server.poll_events()
        self.hellos = [syn, psh]

    def send(self, *frames: Frame) -> None:
        """Let the client send one packet of *frames*, and the parities of a block it fills."""
        self._note(self.client._seal(list(frames), NOW_NS), "source")
        assert self.client.protector is not None
        if not self.client.protector.block:
            self.end_burst()

    def end_burst(self) -> None:
        """Let the client send the parities that are due."""
        for datagram in self.client.poll_datagrams(NOW_NS):
            self._note(datagram, "parity")

    def _note(self, datagram: bytes, name: str) -> None:
        header, sealed = datagram[:HEADER_BYTES], datagram[HEADER_BYTES:]
        number = int.from_bytes(header[22:26], "big")
        assert self.client.phases is not None
        plaintext = self.client.phases.send.open(number, header, sealed)
        row = {"name": name, "number": number, "plaintext": plaintext, "bytes": datagram}
        self.sent.append(row)

    def vector(self, name: str, arrivals: list[int]) -> Vector:
        """Deliver the packets *arrivals*, and return all that is known of the conversation."""
        seen: dict[str, list[object]] = {"messages": [], "datagrams": [], "streams": []}
        for index in arrivals:
            self.server.handle_datagram(self.sent[index]["bytes"], NOW_NS)
            for event in self.server.poll_events():
                match event:
                    case MessageReceived():
                        seen["messages"].append(event.data)
                    case DatagramReceived():
                        seen["datagrams"].append(event.data)
                    case StreamData():
                        seen["streams"].append(plain(event))
        assert self.server.phases is not None
        secret = self.server.phases.send.secret
        (answer,) = self.server.poll_datagrams(NOW_NS)
        number = int.from_bytes(answer[22:26], "big")
        plaintext = self.server.phases.send.open(
            number, answer[:HEADER_BYTES], answer[HEADER_BYTES:]
        )
        assert plaintext is not None
        (ack,) = [frame for frame in decode_frames(plaintext) if isinstance(frame, Ack)]
        return {
            "id": name,
            "section": "5.7",
            "inputs": self.inputs,
            "handshake": self.hellos,
            "s_ap": secret,
            "sent": self.sent,
            "arrivals": arrivals,
            "delivered": seen,
            "acknowledged": ack.ranges,
            "recovered": ack.recovered,
        }


def conversations() -> list[Vector]:
    """Packets of a client that protects them, and what an established server makes of them.

    ``handshake`` are the client's hello and Finished. ``arrivals`` are the places in ``sent`` of
    the packets that arrive, in their order. ``delivered`` is what the application gets, in any
    order; ``acknowledged`` and ``recovered`` are the ranges of the ACK that follows at once.
    """
    return [_one(), _two(), _short(), _late(), _parities_alone(), _expired(), _streams(), _wide()]


def _words(count: int) -> list[bytes]:
    return [material(f"word {n}", 3 + 5 * n) for n in range(count)]


def _messages(name: str, k: int, m: int, count: int) -> _Conversation:
    talk = _Conversation(name, k, m)
    for number, word in enumerate(_words(count)):
        talk.send(Message(number, word))
    return talk


def _one() -> Vector:
    return _messages("one lost", 3, 1, 3).vector("one-lost", [0, 2, 3])


def _two() -> Vector:
    return _messages("two lost", 4, 2, 4).vector("two-lost-parity-first", [5, 4, 3, 1])


def _short() -> Vector:
    talk = _messages("short", 10, 2, 2)
    talk.end_burst()
    return talk.vector("block-ends-with-the-burst", [1, 3])


def _late() -> Vector:
    return _messages("late", 3, 1, 3).vector("comes-after-it-was-rebuilt", [0, 2, 3, 1, 1])


def _parities_alone() -> Vector:
    return _messages("parities", 2, 3, 2).vector("parities-alone", [4, 2])


def _expired() -> Vector:
    talk = _Conversation("expired", 3, 1)
    talk.send(MessagePart(0, 9, 0, b"given"))
    talk.send(MessageExpired(0, 9), Message(1, b"kept"))
    talk.send(MessageExpired(2, 4000), Datagram(b"tick"))
    talk.send(MessagePart(0, 9, 5, b" up."))
    talk.end_burst()
    return talk.vector("expiry-is-rebuilt", [0, 2, 3, 4, 5])


def _streams() -> Vector:
    talk = _Conversation("streams", 3, 2)
    talk.send(Stream(0, 0, b"a stream "), Stream(2, 0, b"one way", fin=True))
    talk.send(Stream(0, 9, b"that is repaired"))
    talk.send(Stream(0, 25, b".", fin=True))
    return talk.vector("streams", [2, 3, 4])


def _wide() -> Vector:
    talk = _messages("wide", 20, 5, 20)
    return talk.vector("five-of-twenty-lost", [*range(1, 5), *range(6, 14), *range(17, 25)])

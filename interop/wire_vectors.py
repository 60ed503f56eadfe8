"""Vectors of bytes alone: integers, headers, packet numbers, parameters, frames, replay."""

from dataclasses import fields, is_dataclass
from typing import Any

from interop.reference.codec import (
    CleartextPacket,
    Flag,
    Header,
    Kind,
    ReplayWindow,
    encode_varint,
    kind_of,
    recover_number,
)
from interop.reference.errors import Drop
from interop.reference.frames import (
    Ack,
    Close,
    Datagram,
    Done,
    Frame,
    MaxData,
    MaxMessageData,
    MaxStreamData,
    MaxStreams,
    Message,
    MessageExpired,
    MessagePart,
    Padding,
    Ping,
    Repair,
    ResetStream,
    StopSending,
    Stream,
    is_ack_eliciting,
)
from interop.reference.hello import Parameters

Vector = dict[str, Any]
CONNECTION_ID = bytes.fromhex("018f2b6a1c3d7e4f8a5b6c7d8e9fa0b1")


def plain(value: object) -> Any:
    """Return *value* as JSON can hold it: bytes as hex, dataclasses as objects."""
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def varints() -> list[Vector]:
    """Variable-length integers; those without ``shortest`` are legal, but longer than needed."""
    edges = [0, 1, 37, 63, 64, 15293, 16383, 16384, 494878333, 2**30 - 1, 2**30]
    edges += [151288809941952652, 2**62 - 1]
    rows = [
        {"id": f"shortest-{value}", "value": value, "bytes": encode_varint(value), "shortest": True}
        for value in edges
    ]
    rows += [
        {
            "id": f"long-{value}-in-{size}",
            "value": value,
            "bytes": encode_varint(value, size),
            "shortest": False,
        }
        for value, size in ((37, 2), (0, 8), (63, 4), (16383, 8))
    ]
    rows += [
        {"id": f"truncated-{data}", "bytes": bytes.fromhex(data), "expected": "truncated"}
        for data in ("", "40", "7b", "9d7f3e", "c2197c5eff14e8")
    ]
    return [{"section": "preamble", **row} for row in rows]


def headers_v1() -> list[Vector]:
    """Cleartext packets of version 1, and datagrams that are not."""

    def packet(
        name: str,
        flags: int,
        sequence: int,
        ack: int,
        sack: tuple[tuple[int, int], ...] = (),
        payload: bytes = b"",
    ) -> Vector:
        value = CleartextPacket(flags, CONNECTION_ID, sequence, ack, sack, payload)
        return {"id": name, "section": "9", "packet": value, "datagram": value.encode()}

    eight = tuple((n * 10, n * 10 + 4) for n in range(1, 9))
    good = [
        packet("syn", Flag.SYN, 0, 0),
        packet("syn-ack", Flag.SYN | Flag.ACK, 0, 1),
        packet("ack-of-handshake", Flag.ACK, 1, 1),
        packet("data", 0, 1, 0, (), b"Hello, Quantum!"),
        packet("ack-with-sack", Flag.ACK, 0, 4, ((6, 8), (10, 10))),
        packet("keepalive", 0, 0, 0),
        packet("fin", Flag.FIN, 0, 0),
        packet("fec-flag", Flag.FEC, 0, 0, (), b"\x01\x02\x03\x04"),
        packet("sack-and-payload", Flag.ACK, 7, 4, ((6, 8),), b"eight by"),
        packet("eight-sack-blocks", Flag.ACK, 0, 4, eight),
        packet("largest-numbers", 0xFF, 2**32 - 1, 2**32 - 1),
    ]
    syn = good[0]["datagram"]
    bad = [
        ("one-byte-short", syn[:31], Drop.TOO_SHORT),
        ("wrong-magic", b"QUNX" + syn[4:], Drop.MAGIC),
        ("version-3", syn[:4] + b"\x03" + syn[5:], Drop.VERSION),
        ("room-is-not-whole-blocks", syn + b"\x00" * 7, Drop.LENGTH),
        ("length-beyond-the-end", syn[:30] + b"\x00\x01", Drop.LENGTH),
        ("nine-blocks", syn + b"\x00" * 72, Drop.SACK),
        ("block-ends-before-it-starts", syn + bytes.fromhex("0000000800000006"), Drop.SACK),
    ]
    return good + [
        {"id": name, "section": "9", "datagram": data, "expected": "drop", "reason": reason}
        for name, data, reason in bad
    ]


def headers_v2() -> list[Vector]:
    """Headers of version 2 in every kind of packet, and headers that are dropped."""
    rows: list[Vector] = []
    for flags in range(256):
        kind = kind_of(flags)
        header = Header(flags, CONNECTION_ID, 0x01020304, 0x0A0B0C0D, 20)
        row: Vector = {
            "id": f"flags-{flags:02x}",
            "section": "2.2",
            "datagram": header.encode() + bytes(20),
        }
        if kind is None:
            row |= {"expected": "drop", "reason": Drop.FLAGS}
        else:
            row |= {"header": header, "kind": kind.name}
        rows.append(row)
    extreme = Header(0, b"\xff" * 16, 2**32 - 1, 0, 0)
    rows.append(
        {
            "id": "no-payload",
            "section": "2.1",
            "datagram": extreme.encode(),
            "header": extreme,
            "kind": Kind.PROTECTED.name,
        }
    )
    good = Header(Flag.SYN, CONNECTION_ID, 0, 0, 20).encode() + bytes(20)
    bad = [
        ("empty", b"", Drop.TOO_SHORT),
        ("one-byte-short", good[:31], Drop.TOO_SHORT),
        ("wrong-magic", b"qunt" + good[4:], Drop.MAGIC),
        ("length-too-small", good + b"\x00", Drop.LENGTH),
        ("length-too-large", good[:-1], Drop.LENGTH),
        ("zero-id", good[:6] + bytes(16) + good[22:], Drop.ZERO_ID),
    ]
    rows += [
        {"id": name, "section": "2.1", "datagram": data, "expected": "drop", "reason": reason}
        for name, data, reason in bad
    ]
    return rows


def packet_numbers() -> list[Vector]:
    """Full numbers from their low 32 bits; ``largest`` is null before any packet was opened."""
    window, half = 2**32, 2**31
    cases: list[tuple[str, int | None, int]] = [
        ("first", None, 0),
        ("first-is-not-zero", None, 5),
        ("first-in-the-upper-half", None, window - 1),
        ("next", 41, 42),
        ("same", 42, 42),
        ("a-little-older", 1000, 990),
        ("just-before-the-wrap", window - 2, window - 1),
        ("over-the-wrap", window - 1, 0),
        ("far-over-the-wrap", window - 1, 1_000_000),
        ("back-over-the-wrap", window + 5, window - 3),
        ("old-before-the-first-wrap", 5, window - 3),
        ("exactly-half-ahead", 99, 100 + half),
        ("one-more-than-half-ahead", window + 99, 101 + half),
        ("exactly-half-behind", window + half + 99, 100),
        ("one-less-than-half-behind", window + half + 99, 101),
        ("high-numbers", 0x00AB_CDEF_FFFF_FFFE, 0x0000_0001),
        ("near-the-end", 2**62 - 10, 2**32 - 1),
        ("not-beyond-the-end", 2**62 - 10, 3),
    ]
    return [
        {
            "id": name,
            "section": "2.4",
            "largest": largest,
            "low": low % window,
            "number": recover_number(low % window, largest),
        }
        for name, largest, low in cases
    ]


def replay() -> list[Vector]:
    """Numbers in the order of arrival, for a window of 8,192 to 16,384; all of them open."""
    runs = {
        "in-order": [0, 1, 2, 3],
        "twice": [5, 5, 5],
        "out-of-order": [3, 1, 2, 3, 1, 0],
        "lowest-number-in-the-window": [8191, 0, 8192, 1, 0, 1],
        "below-the-window": [100_000, 91_809, 83_616, 91_809],
        "jump": [7, 2**40, 7, 2**40 - 8191, 2**40 - 16_384],
    }
    rows: list[Vector] = []
    for name, numbers in runs.items():
        window, accepted = ReplayWindow(), []
        for number in numbers:
            accepted.append(window.is_new(number))
            if accepted[-1]:
                window.commit(number)
        rows.append({"id": name, "section": "2.5", "numbers": numbers, "accepted": accepted})
    return rows


def parameters() -> list[Vector]:
    """Parameters of hellos. ``canonical``: the oracle writes these bytes for these values."""
    full = Parameters(1 << 20, 1 << 18, 100, 3, 1 << 24, 65536, 1452, 30_000, 5000, 64)
    rows: list[Vector] = [
        {"id": "defaults-in-full", "parameters": Parameters(), "canonical": True},
        {"id": "all-set", "parameters": full, "canonical": True},
    ]
    for row in rows:
        row["bytes"] = row["parameters"].encode()
    accepted = [
        ("empty", "", Parameters()),
        ("one", "01013f", Parameters(max_data=63)),
        ("descending-ids", "090105" + "010107", Parameters(max_ack_delay_us=5, max_data=7)),
        ("unknown-id-ignored", "40420100" + "010107", Parameters(max_data=7)),
        ("long-integers", "4001" + "4002" + "4007", Parameters(max_data=7)),
        ("largest-ack-delay", "090481000000", Parameters(max_ack_delay_us=1 << 24)),
        ("largest-repair-sources", "0a024100", Parameters(repair_sources=256)),
        ("no-repair-sources", "0a0100", Parameters()),
    ]
    rows += [
        {"id": name, "bytes": bytes.fromhex(data), "parameters": value, "canonical": False}
        for name, data, value in accepted
    ]
    invalid = [
        ("twice", "010107010107"),
        ("twice-with-different-id-lengths", "01010740010107"),
        ("unknown-twice", "200100" + "200100"),
        ("value-shorter-than-its-length", "01020700"),
        ("value-longer-than-its-length", "010140"),
        ("value-of-no-bytes", "0100"),
        ("item-cut-off", "0104"),
        ("id-cut-off", "40"),
        ("datagram-bytes-below-1200", "070244af"),
        ("ack-delay-too-long", "090481000001"),
        ("repair-sources-above-256", "0a024101"),
        ("repair-sources-twice", "0a0140" + "0a0140"),
        ("unknown-id-with-no-integer", "200140"),
    ]
    rows += [
        {"id": name, "bytes": bytes.fromhex(data), "expected": "invalid"} for name, data in invalid
    ]
    return [{"section": "4.1", **row} for row in rows]


_TOKEN = bytes(range(16))
_FRAMES: list[tuple[str, str, Frame]] = [
    ("padding", "5", Padding()),
    ("padding-run", "5", Padding(5)),
    ("ping", "5", Ping()),
    ("ack-one-packet", "5.2", Ack(((0, 0),), 0)),
    ("ack-one-range", "5.2", Ack(((0, 9),), 400)),
    ("ack-three-ranges", "5.2", Ack(((95, 100), (80, 93), (0, 10)), 25_000)),
    ("ack-smallest-gap", "5.2", Ack(((7, 7), (5, 5), (3, 3)), 1)),
    ("ack-ecn", "5.2", Ack(((2, 4),), 7, (10, 0, 3))),
    ("ack-full-numbers", "5.2", Ack(((2**61, 2**61 + 5), (2**40, 2**40)), 2**32)),
    ("ack-recovered", "5.2", Ack(((9, 12), (0, 6)), 400, None, ((7, 8),))),
    ("ack-recovered-next-to-largest", "5.2", Ack(((9, 9), (0, 6)), 3, None, ((7, 8),))),
    ("ack-recovered-several", "5.2", Ack(((90, 99),), 1, None, ((89, 89), (80, 87), (0, 3)))),
    ("ack-recovered-and-acknowledged", "5.2", Ack(((5, 9),), 1, None, ((4, 8), (2, 2)))),
    ("ack-recovered-ecn", "5.2", Ack(((7, 9), (0, 5)), 25, (8, 0, 1), ((6, 6),))),
    (
        "ack-recovered-64-ranges",
        "5.2",
        Ack(((200, 200),), 0, None, tuple((n, n) for n in range(198, 70, -2))),
    ),
    (
        "ack-recovered-full-numbers",
        "5.2",
        Ack(((2**61, 2**61),), 0, (0, 0, 2**62 - 1), ((2**33, 2**60),)),
    ),
    ("reset-stream", "5.3", ResetStream(4, 77, 12345)),
    ("stop-sending", "5.3", StopSending(8, 1)),
    ("stream", "5.3", Stream(0, 0, b"hello")),
    ("stream-offset", "5.3", Stream(5, 1000, b"world")),
    ("stream-fin", "5.3", Stream(4, 0, b"all", fin=True)),
    ("stream-offset-fin-empty", "5.3", Stream(4, 3, b"", fin=True)),
    ("stream-to-the-end", "5.3", Stream(2, 0, b"rest of packet", has_length=False)),
    ("stream-offset-to-the-end", "5.3", Stream(2, 70000, b"rest", has_length=False)),
    ("stream-fin-to-the-end", "5.3", Stream(3, 0, b"", fin=True, has_length=False)),
    ("stream-last-byte", "5.3", Stream(0, 2**62 - 2, b"x", fin=True)),
    ("stream-offset-fin-to-the-end", "5.3", Stream(3, 64, b"end", fin=True, has_length=False)),
    ("max-data", "5.4", MaxData(1 << 20)),
    ("max-stream-data", "5.4", MaxStreamData(4, 1 << 18)),
    ("max-streams-bidi", "5.4", MaxStreams(100)),
    ("max-streams-uni", "5.4", MaxStreams(1 << 60, unidirectional=True)),
    ("message", "5.5", Message(0, b"a message")),
    ("message-empty", "5.5", Message(65, b"")),
    ("message-part", "5.5", MessagePart(3, 4000, 1100, b"part")),
    ("max-message-data", "5.5", MaxMessageData(1 << 24)),
    ("message-expired", "5.5", MessageExpired(3, 4000)),
    ("message-expired-empty", "5.5", MessageExpired(2**62 - 1, 0)),
    ("datagram", "5.6", Datagram(b"tick")),
    ("datagram-empty", "5.6", Datagram(b"")),
    ("repair-of-one", "5.7", Repair((7,), 1, 0, b"shard")),
    ("repair-of-neighbours", "5.7", Repair((7, 8, 9), 2, 1, b"shard")),
    ("repair-with-gaps", "5.7", Repair((0, 1, 70, 20000), 3, 0, bytes(70))),
    ("repair-of-255", "5.7", Repair(tuple(range(1000, 1510, 2)), 1, 0, b"x")),
    ("repair-with-255-parities", "5.7", Repair((1 << 32,), 255, 254, b"x")),
    ("repair-last-number", "5.7", Repair((2**62 - 3, 2**62 - 1), 2, 0, b"x")),
    ("done", "4.4", Done(_TOKEN)),
    ("close-transport", "6.3", Close(2, b"a rule was broken")),
    ("close-application", "6.3", Close(1000, "au revoir, à bientôt".encode(), application=True)),
    ("close-no-reason", "6.3", Close(0)),
    ("close-reason-not-utf-8", "6.3", Close(0, bytes.fromhex("c328"))),
    ("close-longest-reason", "6.3", Close(1, b"r" * 256)),
]


def frame_value(frame: Frame) -> Vector:
    """Return a frame as an object with its type's name."""
    value: Vector = plain(frame)
    return {"frame": type(frame).__name__, **value}


def frames() -> list[Vector]:
    """Plaintexts that parse and what they hold, and plaintexts that close with FRAME_ENCODING."""
    rows: list[Vector] = [
        {
            "id": name,
            "section": section,
            "plaintext": frame.encode(),
            "frames": [frame_value(frame)],
            "ack_eliciting": is_ack_eliciting(frame),
            "canonical": True,
        }
        for name, section, frame in _FRAMES
    ]
    stream = Stream(0, 0, b"hi")
    others: list[tuple[str, str, list[Frame]]] = [
        ("empty", "", []),
        ("long-integers", "08c000000000000000" + "6869", [Stream(0, 0, b"hi", has_length=False)]),
        ("offset-zero-written", "0e0000" + "026869", [stream]),
        (
            "several",
            "01" + "0000" + "0a00026869" + "1c0178",
            [Ping(), Padding(2), stream, Datagram(b"x")],
        ),
        ("ack-and-padding", "0209000009" + "00", [Ack(((0, 9),), 0), Padding()]),
    ]
    rows += [
        {
            "id": name,
            "section": "5",
            "plaintext": bytes.fromhex(data),
            "frames": [frame_value(frame) for frame in value],
            "ack_eliciting": any(is_ack_eliciting(frame) for frame in value),
            "canonical": False,
        }
        for name, data, value in others
    ]
    unknown = [0x14, 0x17, 0x1D, 0x1F, 0x21, 0x24, 0x25, 0x28, 0x29, 0x2C, 0x33, 0xFF]
    broken = [(f"unknown-type-{kind:02x}", bytes([kind]) + bytes(16)) for kind in unknown]
    broken += [
        ("good-frame-then-unknown", b"\x01\xff"),
        ("ack-first-below-zero", bytes.fromhex("0205000006")),
        ("ack-gap-below-zero", bytes.fromhex("02050001000400")),
        ("ack-range-below-zero", bytes.fromhex("020a0001000009")),
        ("ack-more-ranges-than-bytes", bytes.fromhex("020a0002000000")),
        ("ack-ecn-cut-off", bytes.fromhex("03050000000102")),
        ("ack-recovered-zero-ranges", bytes.fromhex("040500000000")),
        ("ack-recovered-no-count", bytes.fromhex("0405000000")),
        ("ack-recovered-cut-off", bytes.fromhex("04050000000100")),
        ("ack-recovered-below-zero", bytes.fromhex("040500000001" + "0500")),
        ("ack-recovered-range-below-zero", bytes.fromhex("040500000001" + "0005")),
        ("ack-recovered-second-below-zero", bytes.fromhex("040500000002" + "00040000")),
        ("ack-recovered-65-ranges", b"\x04\x41\x00\x00\x00\x00\x40\x41" + bytes(130)),
        ("ack-recovered-ecn-zero-ranges", bytes.fromhex("050500000000" + "010203")),
        ("ack-recovered-ecn-cut-off", bytes.fromhex("050500000001" + "0000" + "0102")),
        ("message-expired-cut-off", bytes.fromhex("1b03")),
        ("repair-of-none", bytes.fromhex("20" + "000100" + "07" + "0178")),
        ("repair-no-parities", bytes.fromhex("20" + "010000" + "07" + "0178")),
        ("repair-257-shards", bytes.fromhex("20" + "01410000" + "07" + "0178")),
        ("repair-index-is-m", bytes.fromhex("20" + "010202" + "07" + "0178")),
        ("repair-empty-shard", bytes.fromhex("20" + "010100" + "07" + "00")),
        ("repair-shard-cut-off", bytes.fromhex("20" + "010100" + "07" + "0278")),
        ("repair-gaps-cut-off", bytes.fromhex("20" + "030100" + "07" + "00")),
        (
            "repair-number-of-2-62",
            b"\x20\x02\x01\x00" + encode_varint(2**62 - 1) + b"\x00\x01x",
        ),
        (
            "repair-numbers-over-2-64",
            b"\x20\x05\x01\x00" + encode_varint(2**62 - 1) * 5 + b"\x01x",
        ),
        ("reset-cut-off", bytes.fromhex("060401")),
        ("stream-data-cut-off", bytes.fromhex("0a0005686900")),
        ("stream-beyond-2-62", b"\x0e\x00" + encode_varint(2**62 - 1) + b"\x01x"),
        ("max-streams-above-2-60", b"\x12" + encode_varint(2**60 + 1)),
        ("max-streams-uni-above-2-60", b"\x13" + encode_varint(2**60 + 1)),
        ("message-cut-off", bytes.fromhex("18000568")),
        ("message-part-cut-off", bytes.fromhex("19000a000568")),
        ("datagram-cut-off", bytes.fromhex("1c0278")),
        ("done-cut-off", b"\x30" + bytes(15)),
        ("close-reason-of-257", b"\x31\x00\x41\x01" + b"r" * 257),
        ("close-reason-cut-off", bytes.fromhex("3200056162")),
        ("integer-cut-off", bytes.fromhex("10c000")),
    ]
    rows += [
        {
            "id": name,
            "section": "5",
            "plaintext": data,
            "expected": "close",
            "code": "FRAME_ENCODING",
        }
        for name, data in broken
    ]
    return rows

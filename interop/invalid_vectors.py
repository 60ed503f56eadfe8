"""Vectors of what a receiver must refuse, with the outcome.

``hellos``: datagrams for a server that has no connection. ``server_hellos``: answers for the
client of the handshake vector ``aes-256-gcm``. ``violations``: plaintexts for an established
server; its parameters are in the vector.
"""

from collections.abc import Callable
from dataclasses import replace

from interop.crypto_vectors import (
    NOW_NS,
    PIN,
    SEED,
    client_inputs,
    handshake_peers,
    material,
)
from interop.reference import crypto
from interop.reference.codec import HEADER_BYTES, Flag, Header, encode_varint
from interop.reference.errors import Code, Drop
from interop.reference.frames import (
    Ack,
    Close,
    Done,
    Frame,
    MaxStreamData,
    Message,
    MessageExpired,
    MessagePart,
    Ping,
    Repair,
    ResetStream,
    StopSending,
    Stream,
    encode_frames,
)
from interop.reference.hello import (
    CLEAR_BYTES,
    ClientHello,
    Parameters,
    ServerHelloSealed,
    Transcript,
    decode_server_hello_sealed,
    signed_text,
)
from interop.wire_vectors import Vector

NAME = "aes-256-gcm"
LIMITS = Parameters(
    max_data=3000,
    max_stream_data=2000,
    max_streams_bidi=4,
    max_streams_uni=2,
    max_message_data=2001,
    max_message_bytes=1000,
    repair_sources=16,
)
NUMBER = 100
"""The packet number of a violation; the client used no number from 10 on before."""


def _syn(body: bytes, number: int = 0, ack: int = 0, pin: bytes = PIN) -> bytes:
    identity = client_inputs(NAME).connection_id
    text = Header(Flag.SYN, identity, number, ack, len(body) + 16).encode() + body
    return text + crypto.mac1(pin, text)


def hellos() -> list[Vector]:
    """Client hellos that a server drops without an answer."""
    hello: ClientHello = handshake_peers(NAME)[0].hello
    good = hello.encode()
    two = 1 + 1 + 1 + 2 + 1 + 1  # versions, suites and groups of this hello
    other_pin = crypto.ed25519_public(material("another seed"))
    cases: list[tuple[str, str, bytes, Drop]] = [
        ("wrong-mac1", "4.2", _syn(good)[:-1] + b"\x00", Drop.HELLO_MAC),
        ("mac1-of-another-server", "4.2", _syn(good, pin=other_pin), Drop.HELLO_MAC),
        ("number-changed-after-mac1", "4.2", _changed(_syn(good), 25), Drop.HELLO_MAC),
        ("id-changed-after-mac1", "4.2", _changed(_syn(good), 21), Drop.HELLO_MAC),
        ("random-changed-after-mac1", "4.2", _changed(_syn(good), 45), Drop.HELLO_MAC),
        (
            "another-key-id",
            "4.2",
            _syn(replace(hello, key_id=bytes(8)).encode()),
            Drop.HELLO_KEY_ID,
        ),
        ("no-version-2", "4.2", _syn(replace(hello, versions=(3, 4)).encode()), Drop.HELLO_VERSION),
        ("no-versions", "4.2", _syn(replace(hello, versions=()).encode()), Drop.HELLO_VERSION),
        ("no-known-suite", "4.2", _syn(replace(hello, suites=(7,)).encode()), Drop.HELLO_SUITE),
        ("no-known-group", "4.2", _syn(replace(hello, groups=(2,)).encode()), Drop.HELLO_GROUP),
        ("non-zero-padding", "4.2", _syn(good[:-1] + b"\x01"), Drop.HELLO_PADDING),
        ("lists-beyond-the-end", "4.2", _syn(b"\xff" * len(good)), Drop.HELLO_MALFORMED),
        (
            "parameters-beyond-the-end",
            "4.2",
            _syn(good[: two + 73] + b"\xff\xff" + good[two + 75 :]),
            Drop.HELLO_MALFORMED,
        ),
        ("ack-is-not-zero", "4.2", _syn(good, ack=1), Drop.HELLO_MALFORMED),
        (
            "name-is-not-utf-8",
            "4.2",
            _syn(replace(hello, server_name="nn").encode().replace(b"\x02nn", b"\x02\xc3\x28")),
            Drop.HELLO_MALFORMED,
        ),
        ("cookie", "4.2", _syn(replace(hello, cookie=b"c").encode()), Drop.HELLO_MALFORMED),
        ("ticket", "4.2", _syn(replace(hello, ticket=b"t").encode()), Drop.HELLO_MALFORMED),
        (
            "parameter-twice",
            "4.1",
            _syn(replace(hello, parameters=bytes.fromhex("010107010107")).encode()),
            Drop.HELLO_MALFORMED,
        ),
        (
            "repair-sources-above-256",
            "4.1",
            _syn(replace(hello, parameters=b"\x0a\x02" + encode_varint(257)).encode()),
            Drop.HELLO_MALFORMED,
        ),
        (
            "datagrams-below-1200",
            "4.1",
            _syn(replace(hello, parameters=b"\x07\x02" + encode_varint(1199)).encode()),
            Drop.HELLO_MALFORMED,
        ),
        (
            "all-zero-secret",
            "3.2",
            _syn(replace(hello, public_key=bytes(32)).encode()),
            Drop.SHARED_SECRET,
        ),
        ("too-small", "2.6", _syn(good[:-1]), Drop.HELLO_SIZE),
        ("too-large", "2.6", _syn(good + b"\x00"), Drop.HELLO_SIZE),
    ]
    return [
        {"id": f"hello-{name}", "section": section, "datagram": data, **_drop(reason)}
        for name, section, data, reason in cases
    ]


def _changed(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def _drop(reason: Drop) -> Vector:
    return {"expected": "drop", "reason": reason}


def server_hellos() -> list[Vector]:
    """Server hellos that the client of the handshake vector drops."""
    client, server = handshake_peers(NAME)
    client.connect(NOW_NS)
    (syn,) = client.poll_datagrams(NOW_NS)
    server.handle_datagram(syn, NOW_NS)
    (good,) = server.poll_datagrams(NOW_NS)
    split = HEADER_BYTES + CLEAR_BYTES
    shared = crypto.x25519_shared(
        client.inputs.x25519_private, crypto.x25519_public(server.inputs.x25519_private)
    )
    assert shared is not None
    schedule = crypto.KeySchedule(shared)

    def before_sealed() -> tuple[Transcript, bytes]:
        transcript = Transcript(client.own_id)
        transcript.add(client.hello.encode())
        return transcript, schedule.handshake_secrets(transcript.add(good[HEADER_BYTES:split]))[1]

    s_hs = before_sealed()[1]
    plaintext = crypto.PacketKeys(crypto.Suite.AES_256_GCM, s_hs).open(
        0, good[:split], good[split:]
    )
    assert plaintext is not None
    sealed = decode_server_hello_sealed(plaintext)

    def seal(plaintext: bytes, ack: int = 1) -> bytes:
        length = CLEAR_BYTES + len(plaintext) + 16
        header = Header(Flag.SYN | Flag.ACK, client.own_id, 0, ack, length).encode()
        associated = header + good[HEADER_BYTES:split]
        keys = crypto.PacketKeys(crypto.Suite.AES_256_GCM, s_hs)
        return associated + keys.seal(0, associated, plaintext)

    def signed(part: ServerHelloSealed, seed: bytes = SEED) -> ServerHelloSealed:
        transcript, _ = before_sealed()
        text = signed_text(transcript.add(part.encode_before_signature()))
        signature = crypto.sign(seed, text)
        return replace(
            part,
            signature=signature,
            finished=crypto.finished(s_hs, transcript.add(signature)),
        )

    def refinished(part: ServerHelloSealed) -> ServerHelloSealed:
        transcript, _ = before_sealed()
        transcript.add(part.encode_before_signature())
        return replace(part, finished=crypto.finished(s_hs, transcript.add(part.signature)))

    other_seed = material("another seed")
    other = replace(sealed, identity=crypto.ed25519_public(other_seed))
    cases: list[tuple[str, str, bytes, Drop]] = [
        ("sealed-part-changed", "4.3", _changed(good, len(good) - 20), Drop.UNOPENED),
        ("random-changed", "4.3", _changed(good, 40), Drop.UNOPENED),
        ("key-share-changed", "4.3", _changed(good, 70), Drop.UNOPENED),
        ("number-changed", "4.3", _changed(good, 25), Drop.UNOPENED),
        ("version-not-2", "4.3", good[:32] + b"\x03" + good[33:], Drop.HELLO_MALFORMED),
        ("suite-not-offered", "4.3", good[:33] + b"\x09" + good[34:], Drop.HELLO_MALFORMED),
        ("group-not-offered", "4.3", good[:34] + b"\x02" + good[35:], Drop.HELLO_MALFORMED),
        ("all-zero-secret", "3.2", good[:67] + bytes(32) + good[99:], Drop.SHARED_SECRET),
        ("answers-a-hello-never-sent", "4.3", seal(plaintext, ack=9), Drop.HELLO_MALFORMED),
        ("identity-is-not-the-pin", "4.3", seal(signed(other, other_seed).encode()), Drop.IDENTITY),
        (
            "identity-of-unknown-type",
            "4.3",
            seal(signed(replace(sealed, identity_type=2)).encode()),
            Drop.IDENTITY,
        ),
        (
            "signature-by-another-key",
            "4.3",
            seal(signed(sealed, other_seed).encode()),
            Drop.SIGNATURE,
        ),
        (
            "signature-of-another-text",
            "4.3",
            seal(refinished(replace(sealed, signature=crypto.sign(SEED, b"text"))).encode()),
            Drop.SIGNATURE,
        ),
        (
            "wrong-finished",
            "4.3",
            seal(replace(sealed, finished=_changed(sealed.finished, 0)).encode()),
            Drop.FINISHED,
        ),
        ("bytes-after-finished", "4.3", seal(plaintext + b"\x00"), Drop.HELLO_MALFORMED),
        ("cut-off", "4.3", seal(plaintext[:-1]), Drop.HELLO_MALFORMED),
        (
            "zero-server-id",
            "2.3",
            seal(signed(replace(sealed, connection_id=bytes(16))).encode()),
            Drop.HELLO_MALFORMED,
        ),
        (
            "parameter-twice",
            "4.1",
            seal(signed(replace(sealed, parameters=bytes.fromhex("010107010107"))).encode()),
            Drop.HELLO_MALFORMED,
        ),
    ]
    return [
        {"id": f"server-hello-{name}", "section": section, "datagram": data, **_drop(reason)}
        for name, section, data, reason in cases
    ]


def violations() -> list[Vector]:
    """Frames that close the connection: sent by the client to a server with `LIMITS`.

    The server opened no stream and sent packet numbers 0 and 1 only. The frames of a vector come
    in one packet, with the number and the flags of the vector.
    """
    part, expired = MessagePart, MessageExpired
    cases: list[tuple[str, str, Code, list[Frame]]] = [
        ("done-from-a-client", "5", Code.PROTOCOL_VIOLATION, [Done(bytes(16))]),
        ("ack-of-a-packet-never-sent", "5.2", Code.PROTOCOL_VIOLATION, [Ack(((0, 1000),), 0)]),
        ("stream-beyond-the-limit", "5.3", Code.STREAM_LIMIT, [Stream(16, 0, b"x")]),
        ("uni-stream-beyond-the-limit", "5.3", Code.STREAM_LIMIT, [Stream(10, 0, b"x")]),
        ("stop-of-stream-beyond-the-limit", "5.3", Code.STREAM_LIMIT, [StopSending(16, 0)]),
        ("stream-the-server-did-not-open", "5.3", Code.STREAM_STATE, [Stream(1, 0, b"x")]),
        ("uni-stream-of-the-server", "5.3", Code.STREAM_STATE, [Stream(3, 0, b"x")]),
        ("reset-of-uni-stream-of-the-server", "5.3", Code.STREAM_STATE, [ResetStream(3, 0, 0)]),
        ("stop-of-uni-stream-of-the-client", "5.3", Code.STREAM_STATE, [StopSending(2, 0)]),
        ("credit-for-uni-stream-of-the-client", "5.3", Code.STREAM_STATE, [MaxStreamData(2, 9)]),
        ("credit-for-a-stream-not-open", "5.3", Code.STREAM_STATE, [MaxStreamData(1, 9)]),
        (
            "fin-moves",
            "5.3",
            Code.FINAL_SIZE,
            [Stream(0, 4, b"x", fin=True), Stream(0, 5, b"x", fin=True)],
        ),
        (
            "data-beyond-fin",
            "5.3",
            Code.FINAL_SIZE,
            [Stream(0, 4, b"x", fin=True), Stream(0, 5, b"x")],
        ),
        (
            "fin-before-data",
            "5.3",
            Code.FINAL_SIZE,
            [Stream(0, 5, b"x"), Stream(0, 1, b"", fin=True)],
        ),
        ("reset-before-data", "5.3", Code.FINAL_SIZE, [Stream(0, 5, b"x"), ResetStream(0, 0, 5)]),
        (
            "reset-moves-fin",
            "5.3",
            Code.FINAL_SIZE,
            [Stream(0, 4, b"x", fin=True), ResetStream(0, 0, 6)],
        ),
        ("stream-data-beyond-its-limit", "5.4", Code.FLOW_CONTROL, [Stream(0, 2000, b"x")]),
        ("reset-beyond-the-stream-limit", "5.4", Code.FLOW_CONTROL, [ResetStream(0, 0, 2001)]),
        (
            "data-beyond-the-connection-limit",
            "5.4",
            Code.FLOW_CONTROL,
            [Stream(0, 1999, b"x"), Stream(4, 1000, b"x")],
        ),
        ("message-too-large", "5.5", Code.MESSAGE_LIMIT, [part(0, 1001, 0, b"x")]),
        ("part-beyond-its-message", "5.5", Code.MESSAGE_LIMIT, [part(0, 10, 5, b"123456")]),
        ("size-changes", "5.5", Code.MESSAGE_LIMIT, [part(0, 10, 0, b"1"), part(0, 11, 1, b"2")]),
        ("id-too-far-ahead", "5.5", Code.MESSAGE_LIMIT, [Message(65536, b"")]),
        (
            "messages-beyond-the-limit",
            "5.5",
            Code.MESSAGE_LIMIT,
            [part(0, 1000, 0, b"x"), part(1, 999, 0, b"x"), part(2, 0, 0, b"")],
        ),
        ("expired-message-too-large", "5.5", Code.MESSAGE_LIMIT, [expired(0, 1001)]),
        ("expired-id-too-far-ahead", "5.5", Code.MESSAGE_LIMIT, [expired(65536, 0)]),
        (
            "expired-size-changes",
            "5.5",
            Code.MESSAGE_LIMIT,
            [part(0, 10, 0, b"1"), expired(0, 11)],
        ),
        (
            "expired-beyond-the-limit",
            "5.5",
            Code.MESSAGE_LIMIT,
            [expired(0, 1000), part(1, 999, 0, b"x"), expired(2, 0)],
        ),
        (
            "recovered-range-of-a-packet-never-sent",
            "5.2",
            Code.PROTOCOL_VIOLATION,
            [Ack(((1000, 1000),), 0, None, ((999, 999),))],
        ),
        (
            "repair-of-a-packet-sent-later",
            "5.7",
            Code.PROTOCOL_VIOLATION,
            [Repair((NUMBER - 1, NUMBER + 1), 1, 0, b"x")],
        ),
        (
            "repair-of-its-own-packet",
            "5.7",
            Code.PROTOCOL_VIOLATION,
            [Repair((NUMBER,), 1, 0, b"x")],
        ),
        (
            "rebuilt-frame-is-not-protected",
            "5.7",
            Code.PROTOCOL_VIOLATION,
            [Repair((NUMBER - 1,), 1, 0, encode_frames([Ping()]))],
        ),
        (
            "rebuilt-stream-without-length",
            "5.7",
            Code.PROTOCOL_VIOLATION,
            [Repair((NUMBER - 1,), 1, 0, b"\x08\x00data")],
        ),
        (
            "rebuilt-frame-does-not-parse",
            "5",
            Code.FRAME_ENCODING,
            [Repair((NUMBER - 1,), 1, 0, b"\xff")],
        ),
        (
            "rebuilt-stream-beyond-its-limit",
            "5.7",
            Code.FLOW_CONTROL,
            [Repair((NUMBER - 1,), 1, 0, encode_frames([Stream(0, 2000, b"x")]))],
        ),
    ]
    unprotected: list[tuple[str, Frame]] = [
        ("ping", Ping()),
        ("ack", Ack(((0, 0),), 0)),
        ("stop-sending", StopSending(0, 0)),
        ("stream-without-length", Stream(0, 0, b"x", has_length=False)),
        ("repair", Repair((NUMBER - 1,), 1, 0, b"x")),
        ("done", Done(bytes(16))),
        ("close", Close(0)),
    ]
    flagged: list[tuple[str, str, Code, list[Frame]]] = [
        (f"fec-flag-with-{name}", "5.7", Code.PROTOCOL_VIOLATION, [frame])
        for name, frame in unprotected
    ]
    return [
        {
            "id": f"violation-{name}",
            "section": section,
            "server_parameters": LIMITS,
            "number": NUMBER,
            "flags": flags,
            "plaintext": encode_frames(frames),
            "expected": "close",
            "code": code.name,
        }
        for flags, rows in ((0, cases), (Flag.FEC, flagged))
        for name, section, code, frames in rows
    ]


def invalid() -> list[Vector]:
    """Return all of them; ``receiver`` says for whom each is."""
    parts: list[tuple[str, Callable[[], list[Vector]]]] = [
        ("server without a connection", hellos),
        (f"client of the handshake vector {NAME} after its first hello", server_hellos),
        ("established server", violations),
    ]
    return [{"receiver": receiver, **row} for receiver, rows in parts for row in rows()]

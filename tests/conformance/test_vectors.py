"""The core satisfies every golden vector; test_vectors_reference.py asks the same of the oracle."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from cython_ext.core import CloseCause, Endpoint, Replay, TransportError
from cython_ext.core.handshake import Secrets, _Schedule, mac1_key, reset_key
from cython_ext.core.params import Params, decode_params, decode_varint, encode_varint
from cython_ext.crypto import PacketKey, expand
from cython_ext.crypto import suite as crypto
from cython_ext.fec import ReedSolomon
from cython_ext.wire import (
    Verdict,
    decode_header,
    decode_packet_number,
    decode_v1,
    encode_header,
    encode_v1,
    parse_frames,
)
from interop import invalid_vectors, make_vectors
from interop.crypto_vectors import NOW_NS, PIN, SEED, handshake_peers
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.events import Closed, HandshakeDone, StreamData
from interop.reference.frames import Ack, decode_frames
from interop.reference.hello import Parameters
from interop.reference.state import State
from interop.repair_vectors import PARAMETERS
from interop.wire_vectors import plain
from tests.support.core_end import CLIENT, SERVER, CoreEnd, Script, core_params, id_pieces
from tests.support.frame_values import oracle_frames
from tests.support.oracle import entropy
from tests.support.repaired import delivered, expected_delivery

Vector = dict[str, Any]
HEADER = 32
CLIENT_NAMES = ("client hello", "client finished", "first protected packet")
# The vectors' ids were drawn in June 2025; this is how far the core's clock is ahead of theirs.
CLOCK_NS = 50_000_000_000_000_000

VERDICTS = {
    "hello_mac": Verdict.HELLO_MAC,
    "hello_size": Verdict.HELLO_SIZE,
    "hello_padding": Verdict.HELLO_MALFORMED,
    "hello_malformed": Verdict.HELLO_MALFORMED,
    "hello_key_id": Verdict.HELLO_UNACCEPTABLE,
    "hello_version": Verdict.HELLO_UNACCEPTABLE,
    "hello_suite": Verdict.HELLO_UNACCEPTABLE,
    "hello_group": Verdict.HELLO_UNACCEPTABLE,
    "shared_secret": Verdict.HELLO_MALFORMED,
    "unopened": Verdict.DOES_NOT_OPEN,
    "identity": Verdict.BAD_IDENTITY,
    "signature": Verdict.BAD_SIGNATURE,
    "finished": Verdict.BAD_FINISHED,
    "too_short": Verdict.TOO_SHORT,
    "magic": Verdict.BAD_MAGIC,
    "length": Verdict.BAD_LENGTH,
    "zero_id": Verdict.ZERO_ID,
    "flags": Verdict.BAD_FLAGS,
}
# Where the core names the reason by what it knows at that point.
SPECIAL = {
    "server-hello-suite-not-offered": Verdict.HELLO_UNACCEPTABLE,
    "server-hello-answers-a-hello-never-sent": Verdict.WRONG_STATE,
}


def each(name: str) -> pytest.MarkDecorator:
    """Run a test once for every vector of a file."""
    vectors = json.loads((make_vectors.FOLDER / f"{name}.json").read_text())["vectors"]
    return pytest.mark.parametrize("vector", vectors, ids=[vector["id"] for vector in vectors])


def raw(vector: Vector, key: str) -> bytes:
    return bytes.fromhex(vector[key])


def never(size: int) -> bytes:
    raise AssertionError("a datagram that is dropped costs no randomness")


@each("varints")
def test_varint(vector: Vector) -> None:
    data = raw(vector, "bytes")
    in_frame = parse_frames(b"\x10" + data)
    if "expected" in vector:
        assert decode_varint(data, 0) is None
        assert in_frame is None
        return
    assert decode_varint(data, 0) == (vector["value"], len(data))
    assert in_frame == [(0x10, vector["value"])]
    assert (encode_varint(vector["value"]) == data) == vector["shortest"]


@each("headers_v1")
def test_header_v1(vector: Vector) -> None:
    decoded = decode_v1(raw(vector, "datagram"))
    if "expected" in vector:
        assert decoded is None
        return
    fields = vector["packet"]
    blocks = [(start, end) for start, end in fields["sack"]]
    values = (fields["flags"], raw(fields, "connection_id"), fields["sequence"], fields["ack"])
    assert decoded == (*values, blocks, raw(fields, "payload"))
    assert encode_v1(*values, blocks, raw(fields, "payload")) == raw(vector, "datagram")


@each("headers_v2")
def test_header_v2(vector: Vector) -> None:
    datagram = raw(vector, "datagram")
    verdict, fields = decode_header(datagram)
    if "expected" in vector:
        assert (verdict, fields) == (VERDICTS[vector["reason"]], None)
        return
    expected = vector["header"]
    assert verdict is Verdict.ACCEPTED
    assert fields == (
        2,
        expected["flags"],
        raw(expected, "connection_id"),
        expected["sequence"],
        expected["ack"],
        expected["length"],
    )
    assert encode_header(*fields) == datagram[:HEADER]


@each("packet_numbers")
def test_packet_number(vector: Vector) -> None:
    expected = 0 if vector["largest"] is None else vector["largest"] + 1
    assert decode_packet_number(vector["low"], expected) == vector["number"]


@each("replay")
def test_replay_window(vector: Vector) -> None:
    window = Replay()
    accepted = []
    for number in vector["numbers"]:
        accepted.append(window.check(number) == 0)
        if accepted[-1]:
            window.commit(number)
    assert accepted == vector["accepted"]


@each("parameters")
def test_parameters(vector: Vector) -> None:
    decoded = decode_params(raw(vector, "bytes"))
    if "expected" in vector:
        assert decoded is None
        return
    assert decoded == vector["parameters"]


def test_the_core_writes_its_parameters_as_the_vector_does() -> None:
    (vector,) = [
        row
        for row in json.loads((make_vectors.FOLDER / "parameters.json").read_text())["vectors"]
        if row["id"] == "all-set"
    ]
    params = core_params(Parameters(**vector["parameters"]))
    assert params.encode() == raw(vector, "bytes")


@each("frames")
def test_frames(vector: Vector) -> None:
    frames = parse_frames(raw(vector, "plaintext"))
    if "expected" in vector:
        assert frames is None
        return
    assert frames is not None
    assert oracle_frames(frames) == vector["frames"]


@each("labels")
def test_labels(vector: Vector) -> None:
    name, context, length = vector["label"], raw(vector, "context"), vector["length"]
    secret = raw(vector, "secret")
    assert crypto.expand_label(secret, name, context, length) == raw(vector, "output")
    if not context and length <= 32:
        assert expand(secret, name.encode(), length) == raw(vector, "output")


@each("key_schedule")
def test_key_schedule(vector: Vector) -> None:
    for mine, theirs in (("client", "server"), ("server", "client")):
        private, public = raw(vector, f"{mine}_private"), raw(vector, f"{theirs}_public")
        share = crypto.KeyShare(private)
        assert share.shared(public) == raw(vector, "shared_secret")
        assert share.public == raw(vector, f"{mine}_public")
    schedule = _Schedule(1, raw(vector, "shared_secret"), raw(vector, "hash_ch_sh"))
    secrets = schedule.secrets(raw(vector, "hash_ch_to_sf"))
    assert (schedule.client, schedule.server) == (raw(vector, "c_hs"), raw(vector, "s_hs"))
    assert (secrets.client, secrets.server) == (raw(vector, "c_ap"), raw(vector, "s_ap"))
    assert secrets.exporter == raw(vector, "exp")
    for name, values in vector["secrets"].items():
        secret = raw(vector, name)
        assert expand(secret, b"key", 32) == raw(values, "key")
        assert expand(secret, b"iv", 12) == raw(values, "iv")
        assert expand(secret, b"ku", 32) == raw(values, "next_secret")
        assert expand(secret, b"finished", 32) == raw(values, "finished_key")


@each("exporter")
def test_exporter(vector: Vector) -> None:
    secrets = Secrets(1, bytes(32), bytes(32), raw(vector, "exp"))
    assert secrets.export(vector["label"], vector["length"]) == raw(vector, "output")


@each("protected")
def test_protected_packet(vector: Vector) -> None:
    secret, suite, number = raw(vector, "secret"), vector["suite"], vector["number"]
    datagram = raw(vector, "datagram")
    key, iv = expand(secret, b"key", 32), expand(secret, b"iv", 12)
    opened = PacketKey(suite, key, iv, False).open(number, datagram[:HEADER], datagram[HEADER:])
    if "expected" in vector:
        assert opened is None
        return
    assert opened == raw(vector, "plaintext")
    sealed = PacketKey(suite, key, iv, True).seal(number, datagram[:HEADER], opened)
    assert sealed == datagram[HEADER:]


@each("key_update")
def test_key_update(vector: Vector) -> None:
    secret = raw(vector["phases"][0], "secret")
    for phase in vector["phases"]:
        datagram = raw(phase, "datagram")
        key, iv = expand(secret, b"key", 32), expand(secret, b"iv", 12)
        assert (secret, key, iv) == (raw(phase, "secret"), raw(phase, "key"), raw(phase, "iv"))
        opener = PacketKey(vector["suite"], key, iv, False)
        opened = opener.open(phase["number"], datagram[:HEADER], datagram[HEADER:])
        assert opened == raw(phase, "plaintext")
        secret = expand(secret, b"ku", 32)


def vector_client(inputs: Vector, now_ns: int = NOW_NS) -> CoreEnd:
    """Return a core client with the randomness of a vector, its first hello sent."""
    pieces = id_pieces(raw(inputs, "client_id"), now_ns + CLOCK_NS)
    pieces += [raw(inputs, "client_x25519_private"), raw(inputs, "client_random")]
    return CoreEnd.client(
        core_params(suites=tuple(inputs["client_suites"])),
        raw(inputs, "server_pin"),
        Script(pieces, entropy("rest")),
        now_ns,
        inputs["server_name"],
        CLOCK_NS,
    )


def vector_server(
    inputs: Vector, now_ns: int, parameters: Parameters = DEFAULT_PARAMETERS
) -> CoreEnd:
    """Return a core server with the randomness of a vector, for a first hello at *now_ns*."""
    pieces = id_pieces(raw(inputs, "server_id"), now_ns + CLOCK_NS)
    pieces += [raw(inputs, "server_x25519_private"), raw(inputs, "server_random")]
    script = Script(pieces, entropy("rest"))
    return CoreEnd.server(core_params(parameters), raw(inputs, "server_seed"), script, CLOCK_NS)


@each("handshake")
def test_both_ends_of_a_handshake_write_the_vector_byte_for_byte(vector: Vector) -> None:
    inputs = vector["inputs"]
    sent = {row["name"]: raw(row, "bytes") for row in vector["datagrams"]}
    client = vector_client(inputs)
    now_ns = NOW_NS
    while sent["client hello"] not in client.poll_datagrams(now_ns):
        due = client.next_timeout()
        assert due is not None
        client.handle_timeout(now_ns := due)
    assert sent["client hello"][-16:] == raw(vector, "mac1")
    assert mac1_key(raw(inputs, "server_pin")) == raw(vector, "mac1_key")

    parameters = handshake_peers("any")[1].config.parameters
    server = vector_server(inputs, now_ns, parameters)
    server.handle_datagram(sent["client hello"], now_ns)
    assert server.poll_datagrams(now_ns) == [sent["server hello"]]
    client.handle_datagram(sent["server hello"], now_ns)
    client.write_stream(client.open_stream(), b"hello", fin=True)
    assert client.poll_datagrams(now_ns) == [
        sent["client finished"],
        sent["first protected packet"],
    ]
    server.handle_datagram(sent["client finished"], now_ns)
    assert server.poll_datagrams(now_ns) == [sent["protected packet with DONE"]]
    server.handle_datagram(sent["first protected packet"], now_ns)
    assert server.poll_events() == [HandshakeDone(), StreamData(0, b"hello", fin=True)]
    client.handle_datagram(sent["protected packet with DONE"], now_ns)
    assert client.state is State.ESTABLISHED
    secrets = client.connection.secrets
    assert secrets == server.connection.secrets
    assert (secrets.client, secrets.server) == (raw(vector, "c_ap"), raw(vector, "s_ap"))
    exported = raw(vector["exporter"], "output")
    assert client.exporter("EXPORTER-token", 32) == exported


@each("repair_shards")
def test_repair_shards(vector: Vector) -> None:
    k, m = vector["k"], vector["m"]
    sources = [bytes.fromhex(source) for source in vector["sources"]]
    parities = [bytes.fromhex(shard) for shard in vector["parities"]]
    code = ReedSolomon(k, m)
    assert code.encode(sources) == parities
    length = max(map(len, sources))
    shards = [*(source.ljust(length, b"\0") for source in sources), *parities]
    kept = [shards[n] if n in vector["kept"] else None for n in range(k + m)]
    assert code.decode(kept) == shards[:k]


@each("repair_conversations")
def test_a_repaired_conversation(vector: Vector) -> None:
    server = vector_server(vector["inputs"], NOW_NS, PARAMETERS)
    for datagram in vector["handshake"]:
        server.handle_datagram(bytes.fromhex(datagram), NOW_NS)
        server.poll_datagrams(NOW_NS)
    server.poll_events()
    for place in vector["arrivals"]:
        server.handle_datagram(raw(vector["sent"][place], "bytes"), NOW_NS)
    assert delivered(server.poll_events()) == expected_delivery(vector)
    answer = server.poll_datagrams(NOW_NS)[-1]
    number = int.from_bytes(answer[22:26], "big")
    secret = raw(vector, "s_ap")
    opener = PacketKey(1, expand(secret, b"key", 32), expand(secret, b"iv", 12), False)
    plaintext = opener.open(number, answer[:HEADER], answer[HEADER:])
    assert plaintext is not None
    (ack,) = [frame for frame in decode_frames(plaintext) if isinstance(frame, Ack)]
    assert plain(ack.ranges) == vector["acknowledged"]
    assert plain(ack.recovered) == vector["recovered"]


@each("stateless_reset")
def test_stateless_reset(vector: Vector) -> None:
    seed, connection_id = raw(vector, "server_seed"), raw(vector, "connection_id")
    assert reset_key(seed) == raw(vector, "reset_key")
    endpoint = Endpoint(Params(), never, seed)
    cause = encode_header(2, 0, connection_id, 7, 0, 17) + bytes(17)
    endpoint.handle_datagram(cause, CLIENT, NOW_NS)
    assert endpoint.poll_datagrams(NOW_NS) == [(CLIENT, raw(vector, "datagram"))]
    endpoint.handle_datagram(cause[:30] + b"\x00\x10" + bytes(16), CLIENT, NOW_NS)
    assert endpoint.poll_datagrams(NOW_NS) == []


@each("version_negotiation")
def test_version_negotiation(vector: Vector) -> None:
    endpoint = Endpoint(Params(), never, SEED)
    endpoint.handle_datagram(raw(vector, "datagram"), CLIENT, NOW_NS)
    answers = [data.hex() for _, data in endpoint.poll_datagrams(NOW_NS)]
    assert answers == ([] if vector["answer"] is None else [vector["answer"]])


def expected_verdict(vector: Vector) -> Verdict:
    return SPECIAL.get(vector["id"], VERDICTS[vector["reason"]])


def counted(endpoint: Endpoint) -> dict[str, int]:
    """Return the verdicts that were counted, without zeros."""
    names = {verdict.name.lower() for verdict in Verdict}
    return {name: n for name, n in endpoint.stats().items() if name in names and n}


def check_server(vector: Vector) -> None:
    endpoint = Endpoint(core_params(), lambda size: bytes(range(1, size + 1)), SEED)
    endpoint.handle_datagram(raw(vector, "datagram"), CLIENT, NOW_NS)
    assert counted(endpoint) == {expected_verdict(vector).name.lower(): 1}
    assert endpoint.connections() == []
    assert endpoint.stats()["half_open"] == 0
    assert endpoint.poll_datagrams(NOW_NS) == []


def check_client(vector: Vector) -> None:
    (handshake,) = [
        row
        for row in json.loads((make_vectors.FOLDER / "handshake.json").read_text())["vectors"]
        if row["id"] == invalid_vectors.NAME
    ]
    client = vector_client(handshake["inputs"])
    client.poll_datagrams(NOW_NS)
    client.handle_datagram(raw(vector, "datagram"), NOW_NS)
    assert counted(client.endpoint) == {expected_verdict(vector).name.lower(): 1}
    assert client.state is State.HELLO_SENT
    assert client.poll_datagrams(NOW_NS) == []


def check_established(vector: Vector) -> None:
    parameters = Parameters(**vector["server_parameters"])
    server = CoreEnd.server(core_params(parameters), SEED, entropy("server"))
    client = handshake_peers(invalid_vectors.NAME)[0]
    client.connect(NOW_NS)
    while not (client.state is server.state is State.ESTABLISHED):
        for data in client.poll_datagrams(NOW_NS):
            server.handle_datagram(data, NOW_NS)
        for data in server.poll_datagrams(NOW_NS):
            client.handle_datagram(data, NOW_NS)
    client.poll_events()
    assert client.phases is not None
    plaintext = raw(vector, "plaintext")
    client.recovery.next_number = vector["number"]
    number = client.recovery.take_number()
    header = encode_header(2, vector["flags"], client.peer_id, number, 0, len(plaintext) + 16)
    server.handle_datagram(header + client.phases.seal(number, header, plaintext), NOW_NS)
    assert server.connection.cause is CloseCause.LOCAL_ERROR
    (last,) = server.poll_datagrams(NOW_NS)
    client.handle_datagram(last, NOW_NS)
    (closed,) = [event for event in client.poll_events() if isinstance(event, Closed)]
    assert not closed.application
    assert TransportError(closed.code).name == vector["code"]


RECEIVERS: dict[str, Callable[[Vector], None]] = {
    "server": check_server,
    "client": check_client,
    "established": check_established,
}


@each("invalid")
def test_invalid(vector: Vector) -> None:
    RECEIVERS[vector["receiver"].split()[0]](vector)


def test_the_default_parameters_of_both_are_the_specification_s() -> None:
    assert decode_params(b"") == dataclasses.asdict(Parameters())
    assert crypto.ed25519_public(SEED) == PIN
    assert {CLIENT, SERVER} == {("192.0.2.1", 4001), ("192.0.2.2", 4002)}

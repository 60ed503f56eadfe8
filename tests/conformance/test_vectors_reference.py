"""The oracle satisfies the golden vectors, and the committed files are what it writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from interop import invalid_vectors, make_vectors
from interop.crypto_vectors import NOW_NS, PIN, SEED, handshake_peers, server_inputs
from interop.reference import Client, Config, Endpoint, Server, ServerInputs, crypto, reed_solomon
from interop.reference.codec import (
    HEADER_BYTES,
    CleartextPacket,
    Reader,
    ReplayWindow,
    TruncatedError,
    decode_cleartext,
    decode_header,
    encode_varint,
    kind_of,
    recover_number,
)
from interop.reference.errors import Code, DropError, ViolationError
from interop.reference.events import Closed, HandshakeDone, StreamData
from interop.reference.frames import Ack, decode_frames, encode_frames, is_ack_eliciting
from interop.reference.hello import Parameters, decode_parameters
from interop.reference.state import State
from interop.repair_vectors import PARAMETERS
from interop.wire_vectors import frame_value, plain
from tests.support.repaired import delivered, expected_delivery

ROOT = Path(__file__).resolve().parents[2]
Vector = dict[str, Any]


def load(name: str) -> list[Vector]:
    text = (make_vectors.FOLDER / f"{name}.json").read_text()
    vectors: list[Vector] = json.loads(text)["vectors"]
    return vectors


def each(name: str) -> pytest.MarkDecorator:
    """Run a test once for every vector of a file."""
    vectors = load(name)
    return pytest.mark.parametrize("vector", vectors, ids=[vector["id"] for vector in vectors])


def raw(vector: Vector, key: str) -> bytes:
    return bytes.fromhex(vector[key])


@pytest.mark.parametrize("name", make_vectors.SETS)
def test_the_committed_file_is_what_the_oracle_writes(name: str) -> None:
    assert (make_vectors.FOLDER / f"{name}.json").read_text() == make_vectors.render(name)


def test_every_file_is_written_by_the_oracle() -> None:
    assert {path.stem for path in make_vectors.FOLDER.glob("*.json")} == set(make_vectors.SETS)


@pytest.mark.parametrize("name", make_vectors.SETS)
def test_ids_are_unique_and_sections_exist(name: str) -> None:
    vectors = load(name)
    assert len({vector["id"] for vector in vectors}) == len(vectors)
    specification = (ROOT / "docs/protocol.md").read_text()
    for section in {vector["section"] for vector in vectors} - {"preamble"}:
        assert f"# {section} " in specification


@each("varints")
def test_varint(vector: Vector) -> None:
    reader = Reader(raw(vector, "bytes"))
    if "expected" in vector:
        with pytest.raises(TruncatedError):
            reader.varint()
        return
    assert reader.varint() == vector["value"]
    assert reader.remaining == 0
    assert (encode_varint(vector["value"]) == raw(vector, "bytes")) == vector["shortest"]


def test_varints_agree_with_the_examples_of_rfc_9000() -> None:
    examples = {"c2197c5eff14e88c": 151288809941952652, "9d7f3e7d": 494878333, "7bbd": 15293}
    examples |= {"25": 37, "4025": 37}
    for data, value in examples.items():
        assert Reader(bytes.fromhex(data)).varint() == value


@each("headers_v1")
def test_header_v1(vector: Vector) -> None:
    if "expected" in vector:
        with pytest.raises(DropError) as caught:
            decode_cleartext(raw(vector, "datagram"))
        assert caught.value.reason == vector["reason"]
        return
    fields = vector["packet"]
    packet = CleartextPacket(
        fields["flags"],
        raw(fields, "connection_id"),
        fields["sequence"],
        fields["ack"],
        tuple((start, end) for start, end in fields["sack"]),
        raw(fields, "payload"),
    )
    assert packet.encode() == raw(vector, "datagram")
    assert decode_cleartext(raw(vector, "datagram")) == packet


def test_headers_v1_hold_what_another_implementation_wrote() -> None:
    theirs = (
        ("syn", "51554e540101018f2b6a1c3d7e4f8a5b6c7d8e9fa0b100000000000000000000"),
        ("syn-ack", "51554e540103018f2b6a1c3d7e4f8a5b6c7d8e9fa0b100000000000000010000"),
        ("ack-of-handshake", "51554e540102018f2b6a1c3d7e4f8a5b6c7d8e9fa0b100000001000000010000"),
        (
            "data",
            "51554e540100018f2b6a1c3d7e4f8a5b6c7d8e9fa0b10000000100000000000f"
            "48656c6c6f2c205175616e74756d21",
        ),
        (
            "ack-with-sack",
            "51554e540102018f2b6a1c3d7e4f8a5b6c7d8e9fa0b10000000000000004000000000006"
            "000000080000000a0000000a",
        ),
        ("keepalive", "51554e540100018f2b6a1c3d7e4f8a5b6c7d8e9fa0b100000000000000000000"),
        ("fin", "51554e540104018f2b6a1c3d7e4f8a5b6c7d8e9fa0b100000000000000000000"),
        ("fec-flag", "51554e540110018f2b6a1c3d7e4f8a5b6c7d8e9fa0b10000000000000000000401020304"),
    )
    ours = {vector["id"]: vector["datagram"] for vector in load("headers_v1")}
    assert [ours[name] for name, _ in theirs] == [data for _, data in theirs]


@each("headers_v2")
def test_header_v2(vector: Vector) -> None:
    datagram = raw(vector, "datagram")
    if "expected" in vector:
        with pytest.raises(DropError) as caught:
            decode_header(datagram)
        assert caught.value.reason == vector["reason"]
        return
    header = decode_header(datagram)
    kind = kind_of(header.flags)
    assert plain(header) == vector["header"]
    assert kind is not None
    assert kind.name == vector["kind"]
    assert header.encode() == datagram[:HEADER_BYTES]


@each("packet_numbers")
def test_packet_number(vector: Vector) -> None:
    assert recover_number(vector["low"], vector["largest"]) == vector["number"]


@each("packet_numbers")
def test_a_recovered_number_is_the_closest_one(vector: Vector) -> None:
    expected = 0 if vector["largest"] is None else vector["largest"] + 1
    number = vector["number"]
    assert number % 2**32 == vector["low"]
    for other in (number - 2**32, number + 2**32):
        if 0 <= other < 2**62:
            assert abs(number - expected) <= abs(other - expected)


@each("replay")
def test_replay_window(vector: Vector) -> None:
    window = ReplayWindow()
    accepted = []
    for number in vector["numbers"]:
        accepted.append(window.is_new(number))
        if accepted[-1]:
            window.commit(number)
    assert accepted == vector["accepted"]


@each("parameters")
def test_parameters(vector: Vector) -> None:
    if "expected" in vector:
        with pytest.raises(DropError):
            decode_parameters(raw(vector, "bytes"))
        return
    parameters = Parameters(**vector["parameters"])
    assert decode_parameters(raw(vector, "bytes")) == parameters
    assert (parameters.encode() == raw(vector, "bytes")) == vector["canonical"]


@each("frames")
def test_frames(vector: Vector) -> None:
    plaintext = raw(vector, "plaintext")
    if "expected" in vector:
        with pytest.raises(ViolationError) as caught:
            decode_frames(plaintext)
        assert caught.value.code.name == vector["code"]
        return
    frames = decode_frames(plaintext)
    assert [frame_value(frame) for frame in frames] == vector["frames"]
    assert any(is_ack_eliciting(frame) for frame in frames) == vector["ack_eliciting"]
    if vector["canonical"]:
        assert encode_frames(frames) == plaintext


@each("labels")
def test_labels_agree_with_an_independent_hkdf(vector: Vector) -> None:
    expand = HKDFExpand(SHA256(), vector["length"], raw(vector, "info"))
    assert expand.derive(raw(vector, "secret")) == raw(vector, "output")
    info = crypto.label_info(vector["label"], raw(vector, "context"), vector["length"])
    assert info == raw(vector, "info")


@each("key_schedule")
def test_key_schedule(vector: Vector) -> None:
    for mine, theirs in (("client", "server"), ("server", "client")):
        private, public = raw(vector, f"{mine}_private"), raw(vector, f"{theirs}_public")
        assert crypto.x25519_shared(private, public) == raw(vector, "shared_secret")
    schedule = crypto.KeySchedule(raw(vector, "shared_secret"))
    assert schedule.master == raw(vector, "master")
    c_hs, s_hs = schedule.handshake_secrets(raw(vector, "hash_ch_sh"))
    c_ap, s_ap, exp = schedule.traffic_secrets(raw(vector, "hash_ch_to_sf"))
    assert (c_hs, s_hs) == (raw(vector, "c_hs"), raw(vector, "s_hs"))
    assert (c_ap, s_ap) == (raw(vector, "c_ap"), raw(vector, "s_ap"))
    assert exp == raw(vector, "exp")


@each("exporter")
def test_exporter(vector: Vector) -> None:
    output = crypto.export(raw(vector, "exp"), vector["label"], vector["length"])
    assert output == raw(vector, "output")


@each("protected")
def test_protected_packet(vector: Vector) -> None:
    keys = crypto.PacketKeys(crypto.Suite(vector["suite"]), raw(vector, "secret"))
    datagram = raw(vector, "datagram")
    header, sealed = datagram[:HEADER_BYTES], datagram[HEADER_BYTES:]
    opened = keys.open(vector["number"], header, sealed)
    if "expected" in vector:
        assert opened is None
        return
    assert (keys.key, keys.iv) == (raw(vector, "key"), raw(vector, "iv"))
    assert opened == raw(vector, "plaintext")
    assert keys.seal(vector["number"], header, opened) == sealed


@each("key_update")
def test_key_update(vector: Vector) -> None:
    first = vector["phases"][0]
    keys = crypto.PacketKeys(crypto.Suite(vector["suite"]), raw(first, "secret"))
    for phase in vector["phases"]:
        datagram = raw(phase, "datagram")
        assert keys.secret == raw(phase, "secret")
        opened = keys.open(phase["number"], datagram[:HEADER_BYTES], datagram[HEADER_BYTES:])
        assert opened == raw(phase, "plaintext")
        assert bool(datagram[5] & 0x40) == bool(phase["phase"] & 1)
        keys = keys.next()


@each("handshake")
def test_each_end_of_a_handshake_takes_the_datagrams_of_the_vector(vector: Vector) -> None:
    inputs = vector["inputs"]
    suites = tuple(inputs["client_suites"])
    client, server = handshake_peers(vector["id"], suites, inputs["server_name"])
    sent = {row["name"]: raw(row, "bytes") for row in vector["datagrams"]}
    client.connect(NOW_NS)
    now_ns = NOW_NS
    while sent["client hello"] not in client.poll_datagrams(now_ns):
        due = client.next_timeout()
        assert due is not None
        now_ns = due
    server.handle_datagram(sent["client hello"], now_ns)
    assert server.poll_datagrams(now_ns) == [sent["server hello"]]
    client.handle_datagram(sent["server hello"], now_ns)
    assert client.poll_datagrams(now_ns) == [sent["client finished"]]
    server.handle_datagram(sent["client finished"], now_ns)
    server.handle_datagram(sent["first protected packet"], now_ns)
    assert server.poll_events() == [HandshakeDone(), StreamData(0, b"hello", fin=True)]
    client.handle_datagram(sent["protected packet with DONE"], now_ns)
    assert client.poll_events() == [HandshakeDone()]
    exported = raw(vector["exporter"], "output")
    assert client.exporter("EXPORTER-token", 32) == exported
    assert server.exporter("EXPORTER-token", 32) == exported


@each("repair_shards")
def test_repair_shards(vector: Vector) -> None:
    k, m = vector["k"], vector["m"]
    sources = [bytes.fromhex(source) for source in vector["sources"]]
    parities = [bytes.fromhex(shard) for shard in vector["parities"]]
    assert [reed_solomon.parity(sources, index) for index in range(m)] == parities
    shards = reed_solomon.padded(sources) + parities
    kept = {number: shards[number] for number in vector["kept"]}
    assert len(kept) == k
    assert reed_solomon.rebuild(kept, k) == shards[:k]


@each("repair_conversations")
def test_a_repaired_conversation(vector: Vector) -> None:
    inputs = vector["inputs"]
    drawn = ServerInputs(
        raw(inputs, "server_id"), raw(inputs, "server_random"), raw(inputs, "server_x25519_private")
    )
    server = Server(Config(parameters=PARAMETERS), raw(inputs, "server_seed"), drawn)
    assert PARAMETERS.encode() == raw(inputs, "server_parameters")
    for datagram in vector["handshake"]:
        server.handle_datagram(bytes.fromhex(datagram), NOW_NS)
        server.poll_datagrams(NOW_NS)
    server.poll_events()
    for place in vector["arrivals"]:
        server.handle_datagram(raw(vector["sent"][place], "bytes"), NOW_NS)
    assert delivered(server.poll_events()) == expected_delivery(vector)
    (answer,) = server.poll_datagrams(NOW_NS)
    number = int.from_bytes(answer[22:26], "big")
    keys = crypto.PacketKeys(crypto.Suite.AES_256_GCM, raw(vector, "s_ap"))
    plaintext = keys.open(number, answer[:HEADER_BYTES], answer[HEADER_BYTES:])
    assert plaintext is not None
    (ack,) = [frame for frame in decode_frames(plaintext) if isinstance(frame, Ack)]
    assert plain(ack.ranges) == vector["acknowledged"]
    assert plain(ack.recovered) == vector["recovered"]


@each("stateless_reset")
def test_stateless_reset(vector: Vector) -> None:
    connection_id = raw(vector, "connection_id")
    endpoint = Endpoint(Config(), raw(vector, "server_seed"), lambda: server_inputs("unused"))
    cause = bytearray(raw(vector, "datagram") + b"\x00")
    cause[5] = 0
    cause[31] += 1
    endpoint.handle_datagram(bytes(cause), NOW_NS, "client")
    assert endpoint.poll_datagrams(NOW_NS) == [(raw(vector, "datagram"), "client")]
    assert raw(vector, "datagram") == (
        b"QUNT\x02\x08" + connection_id + bytes(8) + b"\x00\x10" + raw(vector, "token")
    )


@each("version_negotiation")
def test_version_negotiation(vector: Vector) -> None:
    endpoint = Endpoint(Config(), SEED, lambda: server_inputs("unused"))
    endpoint.handle_datagram(raw(vector, "datagram"), NOW_NS, "client")
    answers = [data.hex() for data, _ in endpoint.poll_datagrams(NOW_NS)]
    assert answers == ([] if vector["answer"] is None else [vector["answer"]])


@each("invalid")
def test_invalid(vector: Vector) -> None:
    match vector["receiver"].split()[0]:
        case "server":
            server = Server(Config(), SEED, server_inputs(invalid_vectors.NAME))
            server.handle_datagram(raw(vector, "datagram"), NOW_NS)
            assert server.counters == {vector["reason"]: 1}
            assert server.state is State.IDLE
            assert server.poll_datagrams(NOW_NS) == []
        case "client":
            client = handshake_peers(invalid_vectors.NAME)[0]
            client.connect(NOW_NS)
            client.handle_datagram(raw(vector, "datagram"), NOW_NS)
            assert client.counters == {vector["reason"]: 1}
            assert client.state is State.HELLO_SENT
        case _:
            assert close_code(vector) == vector["code"]


def close_code(vector: Vector) -> str:
    """Seal the plaintext for an established server; return the code of the CLOSE it sends."""
    client, server = handshake_peers(invalid_vectors.NAME)
    config = Config(parameters=Parameters(**vector["server_parameters"]))
    server = Server(config, SEED, server.inputs)
    complete(client, server)
    assert client.phases is not None
    plaintext = raw(vector, "plaintext")
    assert client.recovery.next_number < 10
    client.recovery.next_number = vector["number"]
    number = client.recovery.take_number()
    header = b"QUNT\x02" + bytes([vector["flags"]]) + client.peer_id
    header += number.to_bytes(4, "big") + bytes(4)
    header += (len(plaintext) + 16).to_bytes(2, "big")
    server.handle_datagram(header + client.phases.seal(number, header, plaintext), NOW_NS)
    (last,) = server.poll_datagrams(NOW_NS)
    client.handle_datagram(last, NOW_NS)
    (closed,) = [event for event in client.poll_events() if isinstance(event, Closed)]
    assert not closed.application
    return Code(closed.code).name


def complete(client: Client, server: Server) -> None:
    client.connect(NOW_NS)
    while client.state is not State.ESTABLISHED:
        for data in client.poll_datagrams(NOW_NS):
            server.handle_datagram(data, NOW_NS)
        for data in server.poll_datagrams(NOW_NS):
            client.handle_datagram(data, NOW_NS)
    assert server.pin == PIN
    client.poll_events()

"""Vectors with keys: labels, schedule, handshakes, protected packets, key update, resets."""

import hashlib
from dataclasses import replace

from interop.reference import Client, ClientInputs, Config, Server, ServerInputs, crypto
from interop.reference.codec import HEADER_BYTES, Flag, Header
from interop.reference.config import DEFAULT_PARAMETERS
from interop.reference.endpoint import stateless_reset, version_negotiation
from interop.reference.frames import (
    Ack,
    Close,
    Datagram,
    Done,
    Frame,
    Message,
    Ping,
    Stream,
    encode_frames,
)
from interop.reference.hello import CLEAR_BYTES, Transcript, draw_connection_id, signed_text
from interop.wire_vectors import CONNECTION_ID, Vector

NOW_NS = 1_000_000_000
NOW_MS = 1_750_000_000_000


def material(name: str, size: int = 32) -> bytes:
    """Return fixed bytes for *name*, so that every run writes the same vectors."""
    return hashlib.shake_256(b"quantum2 vector " + name.encode()).digest(size)


def named_id(name: str, worker: int | None) -> bytes:
    """Return a fixed connection id of the right form."""
    return draw_connection_id(NOW_MS, lambda size: material(f"{name} {size}", size), worker)


SEED = material("server identity seed")
PIN = crypto.ed25519_public(SEED)


def labels() -> list[Vector]:
    """``Label`` with the bytes that HKDF-Expand gets."""
    secret = material("label secret")
    cases = [
        ("key", b"", 32),
        ("iv", b"", 12),
        ("finished", b"", 32),
        ("ku", b"", 32),
        ("derived", crypto.EMPTY_HASH, 32),
        ("c hs", material("a hash"), 32),
        ("exporter", crypto.EMPTY_HASH, 100),
    ]
    return [
        {
            "id": name.replace(" ", "-"),
            "section": "3.1",
            "secret": secret,
            "label": name,
            "context": context,
            "length": length,
            "info": crypto.label_info(name, context, length),
            "output": crypto.label(secret, name, context, length),
        }
        for name, context, length in cases
    ]


def key_schedule() -> list[Vector]:
    """The schedule of section 3.2 from a shared secret and two transcript hashes."""
    rows: list[Vector] = []
    for number in range(2):
        client, server = (
            material(f"schedule client {number}"),
            material(f"schedule server {number}"),
        )
        shared = crypto.x25519_shared(client, crypto.x25519_public(server))
        assert shared is not None
        schedule = crypto.KeySchedule(shared)
        ch_sh, to_sf = material(f"TH(CH, SH) {number}"), material(f"TH(...SF) {number}")
        c_hs, s_hs = schedule.handshake_secrets(ch_sh)
        c_ap, s_ap, exp = schedule.traffic_secrets(to_sf)
        rows.append(
            {
                "id": f"schedule-{number}",
                "section": "3.2",
                "client_private": client,
                "client_public": crypto.x25519_public(client),
                "server_private": server,
                "server_public": crypto.x25519_public(server),
                "shared_secret": shared,
                "hash_ch_sh": ch_sh,
                "hash_ch_to_sf": to_sf,
                "early": schedule.early,
                "early_derived": schedule.early_derived,
                "hs": schedule.hs,
                "hs_derived": schedule.hs_derived,
                "master": schedule.master,
                "c_hs": c_hs,
                "s_hs": s_hs,
                "c_ap": c_ap,
                "s_ap": s_ap,
                "exp": exp,
                "secrets": {
                    name: _expanded(secret)
                    for name, secret in (
                        ("c_hs", c_hs),
                        ("s_hs", s_hs),
                        ("c_ap", c_ap),
                        ("s_ap", s_ap),
                    )
                },
            }
        )
    return rows


def _expanded(secret: bytes) -> Vector:
    return {
        "key": crypto.label(secret, "key", b"", 32),
        "iv": crypto.label(secret, "iv", b"", 12),
        "finished_key": crypto.label(secret, "finished", b"", 32),
        "next_secret": crypto.label(secret, "ku", b"", 32),
    }


def client_inputs(name: str) -> ClientInputs:
    """Return the fixed random inputs of a client."""
    return ClientInputs(
        named_id(f"{name} client id", None),
        material(f"{name} client random"),
        material(f"{name} client x25519"),
    )


def server_inputs(name: str) -> ServerInputs:
    """Return the fixed random inputs of a server's connection."""
    return ServerInputs(
        named_id(f"{name} server id", 0),
        material(f"{name} server random"),
        material(f"{name} server x25519"),
    )


def handshake_peers(
    name: str, suites: tuple[int, ...] = (1, 2), server_name: str = ""
) -> tuple[Client, Server]:
    """Return the client and the server of the handshake vector *name*, not yet started."""
    config = Config(suites=suites)
    server_config = Config(parameters=replace(DEFAULT_PARAMETERS, max_data=1 << 22))
    client = Client(config, PIN, client_inputs(name), server_name)
    return client, Server(server_config, SEED, server_inputs(name))


def handshake_inputs(client: Client, server: Server, syn: bytes) -> Vector:
    """Return everything that decides the bytes of a handshake with the client hello *syn*."""
    return {
        "client_id": client.own_id,
        "client_random": client.inputs.random,
        "client_x25519_private": client.inputs.x25519_private,
        "client_suites": list(client.config.suites),
        "client_parameters": client.hello.parameters,
        "server_name": client.hello.server_name,
        "server_seed": SEED,
        "server_pin": PIN,
        "server_id": server.own_id,
        "server_random": server.inputs.random,
        "server_x25519_private": server.inputs.x25519_private,
        "server_suites": list(server.config.suites),
        "server_parameters": server.config.parameters.encode(),
        "client_hello_number": int.from_bytes(syn[22:26], "big"),
    }


def handshakes() -> list[Vector]:
    """Whole handshakes: every input, every intermediate value, every datagram."""
    return [
        _handshake("aes-256-gcm", (1, 2), "", 0),
        _handshake("chacha20-poly1305", (2,), "quantum.example", 0),
        _handshake("second-hello-answered", (1,), "", 1),
    ]


def _handshake(name: str, suites: tuple[int, ...], server_name: str, lost_hellos: int) -> Vector:
    client, server = handshake_peers(name, suites, server_name)
    now_ns = NOW_NS
    client.connect(now_ns)
    hellos = client.poll_datagrams(now_ns)
    for _ in range(lost_hellos):
        now_ns = client.next_timeout() or now_ns
        hellos = client.poll_datagrams(now_ns)
    (syn,) = hellos
    server.handle_datagram(syn, now_ns)
    (syn_ack,) = server.poll_datagrams(now_ns)
    client.handle_datagram(syn_ack, now_ns)
    stream = client.open_stream()
    client.write_stream(stream, b"hello", fin=True)
    psh, early = client.poll_datagrams(now_ns)
    server.handle_datagram(psh, now_ns)
    (done,) = server.poll_datagrams(now_ns)
    client.handle_datagram(done, now_ns)

    suite = client.suite
    shared = crypto.x25519_shared(
        client.inputs.x25519_private, crypto.x25519_public(server.inputs.x25519_private)
    )
    assert suite is not None
    assert shared is not None
    split = HEADER_BYTES + CLEAR_BYTES
    ch, sh = syn[HEADER_BYTES:-16], syn_ack[HEADER_BYTES:split]
    schedule = crypto.KeySchedule(shared)
    transcript = Transcript(client.own_id)
    hashes = {"CH": transcript.add(ch), "SH": transcript.add(sh)}
    c_hs, s_hs = schedule.handshake_secrets(hashes["SH"])
    number = int.from_bytes(syn_ack[22:26], "big")
    sealed = crypto.PacketKeys(suite, s_hs).open(number, syn_ack[:split], syn_ack[split:])
    assert sealed is not None
    parts = {"SP": sealed[:-96], "SV": sealed[-96:-32], "SF": sealed[-32:]}
    for part, data in parts.items():
        hashes[part] = transcript.add(data)
    c_ap, s_ap, exp = schedule.traffic_secrets(hashes["SF"])
    psh_number = int.from_bytes(psh[22:26], "big")
    return {
        "id": name,
        "section": "4",
        "inputs": handshake_inputs(client, server, syn),
        "suite": suite.value,
        "key_id": crypto.key_id(PIN),
        "mac1_key": crypto.extract(b"quantum2 mac1", PIN),
        "mac1": syn[-16:],
        "CH": ch,
        "SH": sh,
        **parts,
        "transcript_hashes": hashes,
        "signed_text": signed_text(hashes["SP"]),
        "shared_secret": shared,
        "hs": schedule.hs,
        "master": schedule.master,
        "c_hs": c_hs,
        "s_hs": s_hs,
        "c_ap": c_ap,
        "s_ap": s_ap,
        "exp": exp,
        "client_finished": crypto.finished(c_hs, hashes["SF"]),
        "server_hello_plaintext": sealed,
        "client_finished_plaintext": b"\x00" + crypto.finished(c_hs, hashes["SF"]),
        "client_finished_number": psh_number,
        "reset_token": crypto.reset_token(SEED, server.own_id),
        "datagrams": [
            {"from": "client", "name": "client hello", "bytes": syn},
            {"from": "server", "name": "server hello", "bytes": syn_ack},
            {"from": "client", "name": "client finished", "bytes": psh},
            {"from": "client", "name": "first protected packet", "bytes": early},
            {"from": "server", "name": "protected packet with DONE", "bytes": done},
        ],
        "plaintexts": {
            "first protected packet": encode_frames([Stream(0, 0, b"hello", fin=True)]),
            "protected packet with DONE": encode_frames(
                [Done(crypto.reset_token(SEED, server.own_id))]
            ),
        },
        "exporter": {
            "label": "EXPORTER-token",
            "length": 32,
            "output": client.exporter("EXPORTER-token", 32),
        },
    }


def protected() -> list[Vector]:
    """Protected packets with both suites: secret, number, header and plaintext to bytes."""
    cases: list[tuple[str, int, int, int, list[Frame]]] = [
        ("empty", 3, 0, 0, []),
        ("ping", 4, 0, 0, [Ping()]),
        ("ack-in-header-and-frame", 5, Flag.ACK, 100, [Ack(((90, 99),), 20), Ping()]),
        ("stream", 2**32 + 7, Flag.ACK, 2**32 + 1, [Stream(0, 0, b"hello", fin=True)]),
        ("message-and-datagram", 2**40, Flag.FEC, 0, [Message(9, b"m"), Datagram(b"d")]),
        ("key-phase-1", 77, Flag.URG, 0, [Ping()]),
        ("close", 2**61, Flag.FIN | Flag.ACK, 5, [Close(0, b"bye", application=True)]),
    ]
    rows: list[Vector] = []
    for suite in crypto.Suite:
        keys = crypto.PacketKeys(suite, material(f"protected {suite.name}"))
        for name, number, flags, ack, frames in cases:
            plaintext = encode_frames(frames)
            header = Header(flags, CONNECTION_ID, number, ack, len(plaintext) + 16).encode()
            rows.append(
                {
                    "id": f"{suite.name.lower().replace('_', '-')}-{name}",
                    "section": "3.3",
                    "suite": suite.value,
                    "secret": keys.secret,
                    "key": keys.key,
                    "iv": keys.iv,
                    "number": number,
                    "nonce": keys.nonce(number),
                    "header": header,
                    "plaintext": plaintext,
                    "datagram": header + keys.seal(number, header, plaintext),
                }
            )
        rows += _unopenable(suite, keys)
    return rows


def _unopenable(suite: crypto.Suite, keys: crypto.PacketKeys) -> list[Vector]:
    header = Header(0, CONNECTION_ID, 9, 0, 17).encode()
    good = header + keys.seal(9, header, b"\x01")
    changed = {
        "flipped-flag": good[:5] + b"\x10" + good[6:],
        "flipped-id": good[:21] + bytes([good[21] ^ 1]) + good[22:],
        "flipped-sequence": good[:25] + bytes([good[25] ^ 1]) + good[26:],
        "flipped-ack": good[:29] + b"\x01" + good[30:],
        "flipped-ciphertext": good[:32] + bytes([good[32] ^ 1]) + good[33:],
        "flipped-tag": good[:-1] + bytes([good[-1] ^ 0x80]),
        "shorter-than-a-tag": good[:30] + b"\x00\x0f" + good[32:47],
    }
    return [
        {
            "id": f"{suite.name.lower().replace('_', '-')}-{name}",
            "section": "4.6",
            "suite": suite.value,
            "secret": keys.secret,
            "number": int.from_bytes(data[22:26], "big"),
            "datagram": data,
            "expected": "drop",
            "reason": "unopened",
        }
        for name, data in changed.items()
    ]


def key_update() -> list[Vector]:
    """Three phases of one direction, a packet in each."""
    rows: list[Vector] = []
    for suite in crypto.Suite:
        keys = crypto.PacketKeys(suite, material(f"key update {suite.name}"))
        phases: list[Vector] = []
        for phase in range(3):
            number = 100 * phase + 1
            flags = Flag.URG if phase & 1 else Flag(0)
            header = Header(flags, CONNECTION_ID, number, 0, 17).encode()
            phases.append(
                {
                    "phase": phase,
                    "secret": keys.secret,
                    "key": keys.key,
                    "iv": keys.iv,
                    "number": number,
                    "plaintext": b"\x01",
                    "datagram": header + keys.seal(number, header, b"\x01"),
                }
            )
            keys = keys.next()
        name = suite.name.lower().replace("_", "-")
        rows.append({"id": name, "section": "4.7", "suite": suite.value, "phases": phases})
    return rows


def stateless_resets() -> list[Vector]:
    """Tokens and whole packets."""
    rows: list[Vector] = []
    for number in range(2):
        connection_id = named_id(f"reset {number}", number)
        rows.append(
            {
                "id": f"reset-{number}",
                "section": "6.5",
                "server_seed": SEED,
                "reset_key": crypto.extract(b"quantum2 reset", SEED),
                "connection_id": connection_id,
                "token": crypto.reset_token(SEED, connection_id),
                "datagram": stateless_reset(SEED, connection_id),
            }
        )
    return rows


def version_negotiations() -> list[Vector]:
    """Datagrams that a server answers with version negotiation (null: it does not), and how."""
    old_syn = Header(Flag.SYN, CONNECTION_ID, 0, 0, 0, version=1).encode()
    answer = version_negotiation(CONNECTION_ID)

    def other(version: int, size: int) -> bytes:
        header = Header(0x5A, CONNECTION_ID, 1, 2, size - HEADER_BYTES, version=version)
        return header.encode() + material("other version", size - HEADER_BYTES)

    cases = [
        ("version-1-syn", old_syn, answer),
        ("version-1-syn-of-any-length", old_syn[:30] + b"\xff\xff" + b"payload", answer),
        ("version-1-data", old_syn[:5] + b"\x00" + old_syn[6:], None),
        ("version-1-data-of-1200", other(1, 1200), None),
        ("version-3-of-1200", other(3, 1200), answer),
        ("version-255-of-1400", other(255, 1400), answer),
        ("version-3-of-any-length", other(3, 1200)[:30] + bytes(1170), answer),
        ("version-3-of-1199", other(3, 1199), None),
        ("version-0-of-1200", other(0, 1200), None),
    ]
    return [
        {"id": name, "section": "4.8", "datagram": data, "answer": reply}
        for name, data, reply in cases
    ]


def exporters() -> list[Vector]:
    """Exported keying material."""
    exp = material("exporter secret")
    return [
        {
            "id": f"{name or 'empty'}-{length}".replace(" ", "-"),
            "section": "3.2",
            "exp": exp,
            "label": name,
            "length": length,
            "output": crypto.export(exp, name, length),
        }
        for name, length in (("EXPORTER-token", 32), ("EXPORTER-token", 16), ("x", 255), ("", 32))
    ]

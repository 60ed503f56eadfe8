"""Handshakes that are wrong, each in its own way, and what a server counts for it.

Built from docs/protocol.md by the oracle's codec; knows nothing of sockets or of a server's form.
"""

from dataclasses import replace
from typing import NamedTuple

from interop.reference import crypto
from interop.reference.codec import Flag, Header
from interop.reference.hello import ClientHello, Parameters

CLIENT_ID = bytes.fromhex("018f3b1c2d4e7abc8def0123456789ab")
X25519_PRIVATE = bytes(range(1, 33))


class Wrong(NamedTuple):
    """One datagram that must be refused."""

    name: str
    reason: str
    """The counter that rises, as `Listener.stats` names it."""
    datagram: bytes
    answer: bytes = b""
    """How the only answer begins; empty when there must be none."""


def client_hello(pin: bytes) -> ClientHello:
    """Return a valid hello for the server *pin*."""
    return ClientHello(
        bytes(32),
        crypto.x25519_public(X25519_PRIVATE),
        crypto.key_id(pin),
        Parameters(max_data=1 << 20).encode(),
    )


def syn(
    hello: ClientHello | bytes,
    pin: bytes,
    *,
    number: int = 0,
    ack: int = 0,
    connection_id: bytes = CLIENT_ID,
) -> bytes:
    """Return the SYN datagram of *hello*, with the right mac1 for *pin*."""
    body = hello if isinstance(hello, bytes) else hello.encode()
    text = Header(Flag.SYN, connection_id, number, ack, len(body) + 16).encode() + body
    return text + crypto.mac1(pin, text)


def wrong_datagrams(pin: bytes) -> list[Wrong]:
    """Return every kind of datagram that a server with *pin* refuses without any state."""
    good = client_hello(pin)
    body = good.encode()
    datagram = syn(good, pin)
    other = crypto.ed25519_public(bytes(32))

    def flip(at: int, mask: int = 0x01) -> bytes:
        return datagram[:at] + bytes([datagram[at] ^ mask]) + datagram[at + 1 :]

    def sized(size: int) -> bytes:
        cut = datagram[:size].ljust(size, b"\0")
        return cut[:30] + (size - 32).to_bytes(2, "big") + cut[32:]

    def changed(**changes: object) -> bytes:
        return syn(replace(good, **changes), pin)  # type: ignore[arg-type]

    unknown = CLIENT_ID[::-1]
    negotiation = b"QUNT\x00\x00" + CLIENT_ID
    twice = Parameters(max_data=1).encode() * 2
    small_packets = Parameters(max_datagram_bytes=1_199).encode()
    not_utf8 = body.replace(crypto.key_id(pin) + b"\x00", crypto.key_id(pin) + b"\x01\xff", 1)

    def short(flags: Flag, size: int) -> bytes:
        return Header(flags, unknown, 7, 0, size - 32).encode().ljust(size, b"\x55")

    return [
        Wrong("a header cut short", "too_short", datagram[:31]),
        Wrong("a flipped bit in magic", "bad_magic", flip(0)),
        Wrong("a flipped bit in version", "bad_version", flip(4), negotiation),
        Wrong("version 1", "version_one", flip(4, 0x03), negotiation),
        Wrong("version 1, later in a connection", "bad_version", v1(datagram, Flag.ACK)),
        Wrong("version 3 in a small packet", "bad_version", flip(4)[:1_199]),
        Wrong("a flipped bit in flags", "bad_flags", flip(5, 0x04)),
        Wrong("another flipped bit in flags", "unknown_id", flip(5, 0x02)),
        Wrong("a flipped bit in the id", "hello_mac", flip(10)),
        Wrong("an id of zeros", "zero_id", datagram[:6] + bytes(16) + datagram[22:]),
        Wrong("a flipped bit in the sequence", "hello_mac", flip(25)),
        Wrong("a flipped bit in ack", "hello_mac", flip(29)),
        Wrong("a flipped bit in length", "bad_length", flip(31)),
        Wrong("a flipped bit in the random", "hello_mac", flip(50)),
        Wrong("a flipped bit in mac1", "hello_mac", flip(1_199)),
        Wrong("the end is cut off", "bad_length", datagram[:1_000]),
        Wrong("truncated, with a true length", "hello_size", sized(1_199)),
        Wrong("oversized, with a true length", "hello_size", sized(1_201)),
        Wrong("another pin", "hello_mac", syn(client_hello(other), other)),
        Wrong("the key id of another pin", "hello_unacceptable", changed(key_id=bytes(8))),
        Wrong("an ack in a first packet", "hello_malformed", syn(good, pin, ack=1)),
        Wrong("bytes in the padding", "hello_malformed", syn(body[:-1] + b"\x01", pin)),
        Wrong("no common version", "hello_unacceptable", changed(versions=(3,))),
        Wrong("no common suite", "hello_unacceptable", changed(suites=(9,))),
        Wrong("no common group", "hello_unacceptable", changed(groups=(2,))),
        Wrong("a cookie", "hello_malformed", changed(cookie=b"x")),
        Wrong("a ticket", "hello_malformed", changed(ticket=b"x")),
        Wrong("a name that is no UTF-8", "hello_malformed", syn(not_utf8[: len(body)], pin)),
        Wrong("a parameter twice", "hello_malformed", changed(parameters=twice)),
        Wrong("a parameter out of range", "hello_malformed", changed(parameters=small_packets)),
        Wrong("a field that ends nowhere", "hello_malformed", syn(b"\xff" * len(body), pin)),
        Wrong("a key of low order", "hello_malformed", changed(public_key=bytes(32))),
        Wrong("a RETRY for a server", "retry_ignored", short(Flag.SYN | Flag.RST, 64)),
        Wrong("a SYN+ACK for a server", "unknown_id", short(Flag.SYN | Flag.ACK, 300)),
        Wrong("a Finished of nobody", "unknown_id", short(Flag.PSH, 81)),
        Wrong("a stateless reset for a server", "bad_reset", short(Flag.RST, 48)),
        Wrong("a small packet of nobody", "unknown_id", short(Flag(0), 48)),
        Wrong("a packet of nobody", "unknown_id", short(Flag(0), 100), b"QUNT\x02\x08" + unknown),
    ]


def v1(datagram: bytes, flags: Flag) -> bytes:
    """Return *datagram* as one of version 1 with *flags*."""
    return datagram[:4] + bytes([1, flags]) + datagram[6:]


def wrong_finished(datagram: bytes) -> list[Wrong]:
    """Return ways in which a true client finished *datagram* can be spoilt."""

    def flip(at: int) -> bytes:
        return datagram[:at] + bytes([datagram[at] ^ 0x01]) + datagram[at + 1 :]

    shorter = datagram[:30] + (len(datagram) - 33).to_bytes(2, "big") + datagram[32:-1]
    return [
        Wrong("a flipped bit in the id", "unknown_id", flip(10)),
        Wrong("a flipped bit in the sequence", "does_not_open", flip(25)),
        Wrong("a flipped bit in the content", "does_not_open", flip(40)),
        Wrong("a flipped bit in the tag", "does_not_open", flip(len(datagram) - 1)),
        Wrong("one byte less", "does_not_open", shorter),
    ]

"""The codecs, by name; and how to tell them apart by a message's first byte."""

from functools import cache

from gateway.codec import Codec
from svckit.registry import Registry

CODECS: Registry[Codec] = Registry(
    "codec",
    "quantum.codecs",
    {
        "json": "gateway.codecs.json:JsonCodec",
        "protobuf": "gateway.codecs.protobuf:ProtobufCodec",
    },
)


@cache
def load(name: str) -> Codec:
    """Return the one codec called *name*; codecs keep no state. Raises `UnknownName`."""
    return CODECS.load(name)()


def sniff(data: bytes) -> Codec:
    """Return the codec that *data* is written in.

    A JSON envelope begins with a brace or white space. In protobuf that first byte would be the
    tag of a group, or of field 1 or 4 in a wire type that those fields do not have.
    """
    return load("json" if data[:1] in (b"{", b" ", b"\t", b"\r", b"\n") else "protobuf")

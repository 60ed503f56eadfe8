"""Write interop/vectors from the oracle: ``python -m interop.make_vectors``."""

import json
from collections.abc import Callable
from pathlib import Path

from interop import crypto_vectors, invalid_vectors, repair_vectors, wire_vectors
from interop.wire_vectors import Vector, plain

FOLDER = Path(__file__).parent / "vectors"
SETS: dict[str, Callable[[], list[Vector]]] = {
    "varints": wire_vectors.varints,
    "headers_v1": wire_vectors.headers_v1,
    "headers_v2": wire_vectors.headers_v2,
    "packet_numbers": wire_vectors.packet_numbers,
    "replay": wire_vectors.replay,
    "parameters": wire_vectors.parameters,
    "frames": wire_vectors.frames,
    "labels": crypto_vectors.labels,
    "key_schedule": crypto_vectors.key_schedule,
    "exporter": crypto_vectors.exporters,
    "handshake": crypto_vectors.handshakes,
    "protected": crypto_vectors.protected,
    "key_update": crypto_vectors.key_update,
    "stateless_reset": crypto_vectors.stateless_resets,
    "version_negotiation": crypto_vectors.version_negotiations,
    "repair_shards": repair_vectors.shards,
    "repair_conversations": repair_vectors.conversations,
    "invalid": invalid_vectors.invalid,
}


def json_value(value: object) -> object:
    """Return *value* as JSON can hold it."""
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return plain(value)


def render(name: str) -> str:
    """Return the text of one file: a description, and one vector per line."""
    make = SETS[name]
    description = " ".join((make.__doc__ or "").split())
    lines = ",\n".join("    " + json.dumps(json_value(row)) for row in make())
    head = json.dumps({"specification": "docs/protocol.md", "set": name, "about": description})
    return f'{head[:-1]},\n  "vectors": [\n{lines}\n  ]\n}}\n'


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name in SETS:
        (FOLDER / f"{name}.json").write_text(render(name))


if __name__ == "__main__":
    main()

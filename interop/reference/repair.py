"""Repair blocks (section 5.7): what a receiver keeps and rebuilds, what a sender adds.

Knows no key and no time. `Rebuilder` gives back plaintexts; who owns it judges their frames.
"""

from collections import Counter
from collections.abc import Sequence

from interop.reference import reed_solomon
from interop.reference.codec import ReplayWindow, encode_varint
from interop.reference.errors import Code, ViolationError
from interop.reference.frames import (
    SHARDS_MAX,
    Frame,
    Repair,
    encode_frames,
    is_ack_eliciting,
    may_be_source,
)

PARITIES_MAX = 64
BLOCKS_DROPPED = "repair_blocks_dropped"


def check_source(frames: Sequence[Frame]) -> None:
    """Raise `ViolationError` unless a packet with the flag FEC may contain *frames*."""
    # = 5.7: An endpoint MUST close with PROTOCOL_VIOLATION when a packet with the flag FEC, received
    # = or rebuilt, has a frame other than PADDING, STREAM, RESET_STREAM, MESSAGE, MESSAGE_PART,
    # = MESSAGE_EXPIRED, DATAGRAM, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS or MAX_MESSAGE_DATA,
    # = or a STREAM frame without length.
    if not all(may_be_source(frame) for frame in frames):
        raise ViolationError(Code.PROTOCOL_VIOLATION, "a frame that repair does not protect")


class Block:
    """A block of which some parity came."""

    def __init__(self, sources: tuple[int, ...], length: int) -> None:
        self.sources = sources
        self.length = length
        self.parities: dict[int, bytes] = {}


class Rebuilder:
    """What a receiver keeps: the newest sources, and parities of blocks that miss some."""

    def __init__(self, sources_max: int, replay: ReplayWindow, counters: Counter[str]) -> None:
        self.sources_max = sources_max
        self.sources: dict[int, bytes] = {}
        self.blocks: dict[int, Block] = {}
        self._replay = replay
        self._counters = counters

    def keep(self, number: int, plaintext: bytes) -> None:
        """Keep the plaintext of a packet with the flag FEC."""
        self.sources[number] = plaintext
        # = 5.7: A receiver keeps the plaintexts of the newest repair_sources packets with the flag
        while len(self.sources) > self.sources_max:
            del self.sources[min(self.sources)]

    def handle_repair(self, frame: Repair, packet_number: int) -> None:
        """Take a REPAIR frame that came in packet *packet_number*."""
        # = 5.7: An endpoint MUST close with PROTOCOL_VIOLATION when REPAIR names a source number
        # = that is not below the number of the packet it came in.
        if frame.sources[-1] >= packet_number:
            raise ViolationError(Code.PROTOCOL_VIOLATION, "repairs a packet not sent before it")
        if not self.sources_max:
            return
        # = 5.7: So is one of more than repair_sources sources.
        if len(frame.sources) > self.sources_max:
            self._counters[BLOCKS_DROPPED] += 1
            return
        first = frame.sources[0]
        block = self.blocks.setdefault(first, Block(frame.sources, len(frame.shard)))
        # = 5.7: A block with frames that differ in k, sources or length,
        if (block.sources, block.length) != (frame.sources, len(frame.shard)):
            self._drop(first)
            return
        block.parities.setdefault(frame.index, frame.shard)
        # = 5.7: and a bounded number of parities.
        while sum(len(b.parities) for b in self.blocks.values()) > PARITIES_MAX:
            self._drop(min(self.blocks))

    def rebuild(self) -> list[tuple[int, bytes]]:
        """Return (number, plaintext) of missing sources of one block that can be rebuilt now."""
        for first, block in sorted(self.blocks.items()):
            held = {n: self.sources[n] for n in block.sources if n in self.sources}
            # = 5.7: A receiver MUST NOT process a rebuilt packet whose number its replay window has
            # = seen or that lies below the window.
            missing = [n for n in block.sources if n not in held and self._replay.is_new(n)]
            # = 5.7: with a source that came without the flag FEC, with a source longer than the
            # = shards, or with sources that are not held any more is dropped and counted.
            too_long = any(len(plaintext) > block.length for plaintext in held.values())
            if too_long or len(held) + len(missing) < len(block.sources):
                self._drop(first)
            elif not missing:
                del self.blocks[first]
            # = 5.7: When it holds k shards of a block of which a source is missing, it rebuilds the
            # = missing ones.
            elif len(held) + len(block.parities) >= len(block.sources):
                del self.blocks[first]
                rebuilt = self._solve(block, held)
                return [(n, rebuilt[n]) for n in missing]
        return []

    def _solve(self, block: Block, held: dict[int, bytes]) -> dict[int, bytes]:
        """Return all sources of a block, by their packet numbers."""
        k = len(block.sources)
        shards = {k + index: shard for index, shard in block.parities.items()}
        for place, number in enumerate(block.sources):
            if number in held:
                shards[place] = held[number].ljust(block.length, b"\0")
        return dict(zip(block.sources, reed_solomon.rebuild(shards, k), strict=True))

    def _drop(self, first: int) -> None:
        del self.blocks[first]
        self._counters[BLOCKS_DROPPED] += 1


class Protector:
    """The block a sender is filling: *parities* REPAIR frames after every *sources* packets."""

    def __init__(self, sources: int, parities: int) -> None:
        if sources < 1 or parities < 1 or sources + parities > SHARDS_MAX:
            raise ValueError("a block has 1 to 255 sources and parities, together at most 256")
        self.sources = sources
        self.parities = parities
        self.block: dict[int, bytes] = {}

    def limit(self, peer_sources: int) -> None:
        """Make no block larger than the peer repairs; none at all when it repairs nothing."""
        # = 5.7: A sender MUST NOT send REPAIR or the flag FEC to an endpoint whose repair_sources is
        # = 0.
        self.sources = min(self.sources, peer_sources)

    @property
    def overhead(self) -> int:
        """Bytes of a REPAIR packet that are not shard, with gaps of up to 16,383."""
        fixed = 1 + 3 * len(encode_varint(SHARDS_MAX)) + 8 + 4
        return fixed + 2 * (self.sources - 1)

    def covers(self, frames: Sequence[Frame]) -> bool:
        """Tell whether a packet of *frames* is to become a source."""
        return (
            self.sources > 0
            and all(may_be_source(frame) for frame in frames)
            and any(is_ack_eliciting(frame) for frame in frames)
        )

    def add(self, number: int, frames: Sequence[Frame]) -> list[Repair]:
        """Add a source that is sent now; return the parities when it filled the block."""
        self.block[number] = encode_frames(frames)
        return self.finish() if len(self.block) == self.sources else []

    def finish(self) -> list[Repair]:
        """End the block, full or not, and return its parities."""
        # = 5.7: A sender gives all sources of a block different numbers, so they ascend.
        numbers, plaintexts = tuple(self.block), list(self.block.values())
        self.block = {}
        if not numbers:
            return []
        return [
            Repair(numbers, self.parities, index, reed_solomon.parity(plaintexts, index))
            for index in range(self.parities)
        ]

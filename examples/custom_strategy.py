"""A conflict strategy of one's own: of two numbers written at once, the larger stands.

For scores, high-water marks, bids. A strategy is a class with ``laws`` and ``merge``; what it
promises in ``laws`` is what the contract suite checks. Installed under an entry point of the group
``quantum.strategies``, documents choose it by name.
"""

import asyncio

from uuid_utils.compat import uuid7

from statesync.api import (
    Actor,
    DocumentType,
    NewDocument,
    Operation,
    OperationType,
    Stamp,
)
from statesync.service import LocalStateSyncService
from statesync.stores.memory import MemoryStore
from statesync.strategy import ASSOCIATIVE, COMMUTATIVE, IDEMPOTENT, LostWrite, Merged, Strategy
from statesync.strategy import Write as Side
from statesync.tree import Value
from svckit.clock import SystemClock
from svckit.registry import Registry


class LargestStands:
    """The larger number wins; a number beats what is none; the loser is reported."""

    laws = frozenset({COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT})

    def merge(self, base: Value, current: Side, incoming: Side) -> Merged:
        """Return the larger of two sides that both started from *base*."""
        winner, loser = sorted([current, incoming], key=_rank, reverse=True)
        if winner.value == loser.value:
            return Merged(winner.value, winner.stamp)
        return Merged(winner.value, winner.stamp, (LostWrite((), loser.value, loser.stamp),))


def _rank(side: Side) -> tuple[bool, float, Stamp]:
    value = side.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True, float(value), side.stamp
    return False, 0.0, side.stamp


STRATEGIES: Registry[Strategy] = Registry(
    "conflict strategy",
    "quantum.strategies",
    {"largest": f"{LargestStands.__module__}:{LargestStands.__qualname__}"},
)


async def main() -> object:
    """Let two bidders write at once; returns what stands."""
    service = LocalStateSyncService(MemoryStore(), SystemClock(), uuid7, STRATEGIES)
    await service.start()
    auctioneer = Actor("auctioneer", is_admin=True)
    lot = await service.create_document(
        auctioneer, NewDocument("lot 7", DocumentType.SHEET, {"bid": 0}, strategy="largest")
    )
    for bidder, bid in (("ann", 120), ("ben", 90)):
        operation = Operation(
            doc_id=lot.id,
            client_id=bidder,
            client_seq=1,
            type=OperationType.UPDATE,
            target=("bid",),
            payload=bid,
            base_version=0,  # neither has seen the other
            stamp=Stamp(SystemClock().wall_ns() // 1_000_000, 0, bidder),
        )
        acknowledgement = await service.apply(auctioneer, operation)
        print(f"{bidder} bids {bid}: {acknowledgement.status}")
    for conflict in await service.conflicts(auctioneer, lot.id):
        print("pushed aside:", [loss.value for loss in conflict.lost])
    content = (await service.get_document(auctioneer, lot.id)).content
    await service.close()
    assert isinstance(content, dict)
    return content["bid"]


if __name__ == "__main__":
    print("the bid that stands:", asyncio.run(main()))

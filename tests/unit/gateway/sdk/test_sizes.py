import pytest

from gateway.sdk import InvalidCall
from tests.support.fake_gateway import FakeGateway
from tests.support.sdk_clients import make_client


async def test_an_edit_too_large_to_travel_is_refused_before_it_shows() -> None:
    gateway = FakeGateway()
    async with make_client(gateway) as client:
        document = await client.create_document("notes")
        with pytest.raises(InvalidCall, match="split it up"):
            document.insert(0, "\u00e9" * 600_000)
        board = await client.create_document("board", "whiteboard", content={})
        with pytest.raises(InvalidCall, match="split it up"):
            board.apply("update", ["a"], "x" * 1_100_000)
        assert (document.text, board.content) == ("", {})

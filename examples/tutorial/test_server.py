"""Step 4: what the chat promises, as tests."""

import pytest

from wsrooms import WsError
from wsrooms.testing import Disconnected, connect_client

from server import ws


async def test_what_ann_says_is_heard_by_bob_with_her_name() -> None:
    async with connect_client(ws, "/?name=ann") as ann, connect_client(ws, "/?name=bob") as bob:
        await ann.call("join", "/chat/general")
        assert await bob.call("join", "/chat/general") == ["ann", "bob"]
        assert (await ann.receive())["event"] == "joined"

        ann.send("message", "/chat/general", "hello")
        assert await bob.receive() == {
            "event": "message",
            "path": "/chat/general",
            "params": {"room": "general"},
            "data": {"from": "ann", "text": "hello"},
        }


async def test_whoever_goes_is_missed() -> None:
    async with connect_client(ws, "/?name=ann") as ann:
        await ann.call("join", "/chat/general")
        async with connect_client(ws, "/?name=bob") as bob:
            await bob.call("join", "/chat/general")
            assert (await ann.receive())["event"] == "joined"
        left = await ann.receive()
        assert (left["event"], left["data"]) == ("left", "bob")


async def test_nobody_talks_without_words() -> None:
    async with connect_client(ws, "/?name=ann") as ann:
        with pytest.raises(WsError, match="say something") as refused:
            await ann.call("message", "/chat/general", "  ")
        assert refused.value.code == 400


async def test_nobody_comes_in_without_a_name() -> None:
    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws):
            pass
    assert refused.value.code == 1008

"""Our side of the pages "Coming from …" does what theirs does."""

from __future__ import annotations

import pytest

from wsrooms import WsError
from wsrooms.testing import Disconnected, connect_client

from .programs import load


async def test_the_chat_of_wooks_joins_tells_and_refuses() -> None:
    ws = load("coming_from/wooks.py").ws
    async with connect_client(ws) as ann, connect_client(ws) as bob:
        assert await ann.call("join", "/chat/x") == {"room": "x"}
        await bob.call("join", "/chat/x")
        joined = await ann.receive()
        assert (joined["event"], joined["params"]) == ("joined", {"room": "x"})
        assert joined["data"] == {"id": bob.connection_id}
        bob.send("message", "/chat/x", {"text": "hi"})
        assert (await ann.receive())["data"] == {"text": "hi"}
        with pytest.raises(WsError, match="say something"):
            await bob.call("message", "/chat/x", {})


async def test_the_chat_of_socket_io_knows_names_and_says_goodbye() -> None:
    ws = load("coming_from/socketio.py").ws
    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws):
            pass
    assert (refused.value.code, refused.value.reason) == (1008, "who are you?")
    async with connect_client(ws, "/?name=ann") as ann:
        assert await ann.call("join", "/tea") == {"room": "/tea"}
        async with connect_client(ws, "/?name=bob") as bob:
            await bob.call("join", "/tea")
            bob.send("message", "/tea", "hi")
            assert (await ann.receive())["data"] == {"from": "bob", "text": "hi"}
            await bob.receive_nothing()
        left = await ann.receive()
        assert (left["event"], left["data"]) == ("left", "bob")


async def test_the_chat_of_channels_takes_its_room_from_the_address() -> None:
    ws = load("coming_from/channels.py").ws
    tea, cake = "/ws/chat/tea", "/ws/chat/cake"
    async with (
        connect_client(ws, tea) as ann,
        connect_client(ws, tea) as bob,
        connect_client(ws, cake) as eve,
    ):
        ann.send("message", tea, {"text": "hi"})
        assert (await bob.receive())["data"] == {"text": "hi"}
        await ann.receive_nothing()
        await eve.receive_nothing()


async def test_the_room_of_broadcaster_hears_its_own_too() -> None:
    ws = load("coming_from/broadcaster.py").ws
    async with connect_client(ws, "/tea") as ann, connect_client(ws, "/tea") as bob:
        ann.send("message", "/tea", "hi")
        assert (await ann.receive())["data"] == (await bob.receive())["data"] == "hi"

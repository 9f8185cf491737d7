"""Step 4: what the chat promises, as tests."""

import pytest

from wsrooms import WsError
from wsrooms.testing import Disconnected, connect_client, prepare_test_ws_message_context

from server import NAME, message, ws


def test_a_message_goes_to_the_room_with_the_name_of_its_sender() -> None:
    with prepare_test_ws_message_context(
        event="message", path="/chat/general", data="hello", app=ws
    ) as context:
        context.connection.context[NAME] = "ann"
        context.connection.join("/chat/general")
        message()
    assert context.sent == [
        {
            "event": "message",
            "path": "/chat/general",
            "params": {"room": "general"},
            "data": {"from": "ann", "text": "hello"},
        }
    ]


@pytest.mark.parametrize("nothing", ["", "  ", None, 42])
def test_nobody_talks_without_words(nothing: object) -> None:
    with (
        prepare_test_ws_message_context(event="message", path="/chat/general", data=nothing),
        pytest.raises(WsError, match="say something"),
    ):
        message()


async def test_what_ann_says_is_heard_by_bob() -> None:
    async with connect_client(ws, "/?name=ann") as ann, connect_client(ws, "/?name=bob") as bob:
        await ann.call("join", "/chat/general")
        assert await bob.call("join", "/chat/general") == ["ann", "bob"]
        assert (await ann.receive())["event"] == "joined"

        ann.send("message", "/chat/general", "hello")
        assert (await bob.receive())["data"] == {"from": "ann", "text": "hello"}


async def test_whoever_goes_is_missed() -> None:
    async with connect_client(ws, "/?name=ann") as ann:
        await ann.call("join", "/chat/general")
        async with connect_client(ws, "/?name=bob") as bob:
            await bob.call("join", "/chat/general")
            assert (await ann.receive())["event"] == "joined"
        left = await ann.receive()
        assert (left["event"], left["data"]) == ("left", "bob")


async def test_nobody_comes_in_without_a_name() -> None:
    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws):
            pass
    assert refused.value.code == 1008

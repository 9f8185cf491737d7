"""``connect_client``: a client with real frames and no port."""

from __future__ import annotations

import asyncio

import pytest

from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message, use_ws_rooms
from wsrooms.testing import Disconnected, connect_client, run


@pytest.fixture
def chat() -> WsApp:
    """Give an app with a room."""
    app = WsApp()

    @app.on_message("join", "/chat/:room")
    async def join() -> dict[str, bool]:
        await use_ws_rooms().join()
        return {"joined": True}

    @app.on_message("message", "/chat/:room")
    def message() -> None:
        use_ws_rooms().broadcast("message", use_ws_message().data)

    @app.on_message("fail", "/chat/:room")
    def fail() -> None:
        raise WsError(418, "short and stout")

    @app.on_message("wait", "/chat/:room")
    async def wait() -> str:
        await asyncio.sleep(3600)
        return "waited"

    return app


async def test_a_call_returns_the_data_of_its_reply(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        assert await ann.call("join", "/chat/1") == {"joined": True}


async def test_an_error_reply_raises_what_it_says(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        with pytest.raises(WsError, match="short and stout") as caught:
            await ann.call("fail", "/chat/1")
    assert caught.value.code == 418


async def test_members_of_a_room_receive_what_one_of_them_sends(chat: WsApp) -> None:
    async with connect_client(chat) as ann, connect_client(chat) as bob:
        await ann.call("join", "/chat/1")
        await bob.call("join", "/chat/1")
        ann.send("message", "/chat/1", "hello")
        assert await bob.receive() == {
            "event": "message",
            "path": "/chat/1",
            "params": {"room": "1"},
            "data": "hello",
        }
        await ann.receive_nothing()


async def test_the_app_runs_from_the_first_client_to_the_last(chat: WsApp) -> None:
    async with connect_client(chat):
        async with connect_client(chat):
            assert chat.stats()["connections"] == 2
        assert chat.health().state == "up"
        assert chat.stats()["connections"] == 1
    assert chat.health().state == "closed"


async def test_an_app_that_runs_already_goes_on_running(chat: WsApp) -> None:
    async with chat.serving():
        async with connect_client(chat) as ann:
            await ann.call("join", "/chat/1")
        assert chat.health().state == "up"


async def test_a_page_of_another_origin_is_refused_with_its_status(chat: WsApp) -> None:
    with pytest.raises(Disconnected) as caught:
        async with connect_client(chat, headers={"Origin": "https://other.example"}):
            raise AssertionError("it was let in")
    assert caught.value.status == 403


async def test_what_on_connect_refuses_is_raised_with_its_code_and_reason(chat: WsApp) -> None:
    @chat.on_connect
    def refuse() -> None:
        raise WsError(401, f"who are you, {use_ws_connection().request.query['name'][0]}?")

    with pytest.raises(Disconnected) as caught:
        async with connect_client(chat, "/?name=ann"):
            raise AssertionError("it was let in")
    assert (caught.value.code, caught.value.reason) == (1008, "who are you, ann?")


def test_on_virtual_time_an_hour_takes_none(chat: WsApp) -> None:
    async def main() -> float:
        async with connect_client(chat) as ann:
            assert await ann.call("wait", "/chat/1", timeout=4000) == "waited"
        return asyncio.get_running_loop().time()

    assert run(main()) == 3600

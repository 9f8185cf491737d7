"""How a test client gets in, and how the app lives for as long as somebody is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from wsrooms import (
    WsApp,
    WsError,
    use_ws_connection,
)
from wsrooms.testing import Disconnected, connect_client
from wsrooms.testing.clients.client import open_client

pytestmark = pytest.mark.every_loop


async def test_the_app_runs_from_the_first_client_to_the_last(chat: WsApp) -> None:
    async with connect_client(chat):
        async with connect_client(chat):
            assert chat.stats()["connections"] == 2
        assert chat.health().state == "up"
        assert chat.stats()["connections"] == 1
    assert chat.health().state == "closed"


async def test_clients_that_connect_at_the_same_time_share_one_start() -> None:
    starts = 0

    @asynccontextmanager
    async def lifespan(_: WsApp) -> AsyncIterator[None]:
        nonlocal starts
        starts += 1
        await asyncio.sleep(0.01)
        yield

    app = WsApp(lifespan=lifespan)

    async def visit() -> None:
        async with connect_client(app):
            await asyncio.sleep(0.01)

    await asyncio.gather(*(visit() for _ in range(5)))
    assert (starts, app.health().state) == (1, "closed")


async def test_a_start_that_fails_is_raised_and_can_be_tried_again() -> None:
    broken = True

    @asynccontextmanager
    async def lifespan(_: WsApp) -> AsyncIterator[None]:
        if broken:
            raise OSError("no database")
        yield

    app = WsApp(lifespan=lifespan)
    with pytest.raises(OSError, match="no database"):
        async with connect_client(app):
            raise AssertionError("it started")
    broken = False
    async with connect_client(app):
        assert app.health().state == "up"
    assert app.health().state == "closed"


async def test_an_app_that_was_started_before_goes_on_running(chat: WsApp) -> None:
    await chat._life.start()
    async with connect_client(chat) as ann:
        await ann.call("join", "/chat/1")
    assert chat.health().state == "up"
    await chat.close()


async def test_the_handshake_carries_path_and_headers(chat: WsApp) -> None:
    requests: list[Any] = []
    chat.on_connect(lambda: requests.append(use_ws_connection().request))
    headers = {"Cookie": "user=ann", "Host": "chat.example", "Origin": "https://chat.example"}
    async with connect_client(chat, "/chat?room=1", headers):
        [request] = requests
    assert (request.path, request.query, request.cookies) == (
        "/chat",
        {"room": ["1"]},
        {"user": "ann"},
    )
    assert request.headers["host"] == "chat.example"
    assert request.remote_address[0] == "127.0.0.1"


async def test_a_page_of_another_origin_is_refused_with_its_status(chat: WsApp) -> None:
    with pytest.raises(Disconnected, match="HTTP 403: This origin may not connect") as caught:
        async with connect_client(chat, headers={"Origin": "https://other.example"}):
            raise AssertionError("it was let in")
    assert (caught.value.status, caught.value.body) == (403, b"This origin may not connect.\n")


async def test_what_on_connect_refuses_is_raised_with_its_code_and_reason(chat: WsApp) -> None:
    @chat.on_connect
    def refuse() -> None:
        raise WsError(401, f"who are you, {use_ws_connection().request.query['name'][0]}?")

    with pytest.raises(Disconnected) as caught:
        async with connect_client(chat, "/?name=ann"):
            raise AssertionError("it was let in")
    assert (caught.value.code, caught.value.reason) == (1008, "who are you, ann?")
    assert caught.value.status is None


async def test_the_block_begins_when_on_connect_has_ended(chat: WsApp) -> None:
    @chat.on_connect
    async def greet() -> None:
        await asyncio.sleep(0.05)
        use_ws_connection().send("welcome", "/")
        use_ws_connection().join("lobby")

    async with connect_client(chat) as ann:
        assert len(chat.room("lobby")) == 1
        assert (await ann.receive())["event"] == "welcome"


async def test_an_on_connect_that_does_not_end_is_not_waited_for_for_ever(chat: WsApp) -> None:
    @chat.on_connect
    async def wait() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(TimeoutError, match=r"on_connect has not ended within 0\.05 s"):
        async with open_client(chat, connect_timeout=0.05):
            raise AssertionError("it was let in")


async def test_the_options_of_an_address_count(chat: WsApp) -> None:
    offer = {"Sec-WebSocket-Protocol": "v1, v2"}
    async with connect_client(chat, "/", offer, options={"subprotocols": ["v2"]}) as ann:
        assert ann.subprotocol == "v2"
    with pytest.raises(Disconnected) as caught:
        async with connect_client(chat, "/other", options={"path": "/ws"}):
            raise AssertionError("it was let in")
    assert caught.value.status == 404


async def test_the_end_of_the_app_is_the_end_of_its_clients(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        await chat.close()
        assert await ann.closed() == (1001, "server shutting down")
    assert chat.health().state == "closed"


async def test_an_error_in_the_block_is_raised_and_closes_all_the_same(chat: WsApp) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect_client(chat):
            raise ZeroDivisionError
    assert chat.health().state == "closed"


async def test_a_cancelled_block_closes_all_the_same(chat: WsApp) -> None:
    inside = asyncio.Event()

    async def visit() -> None:
        async with connect_client(chat):
            inside.set()
            await asyncio.sleep(3600)

    task = asyncio.ensure_future(visit())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert chat.health().state == "closed"

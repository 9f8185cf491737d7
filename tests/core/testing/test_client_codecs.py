"""A test client of an app that does not speak JSON to its clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wsrooms import WsApp, WsError, WsMessage, use_ws_rooms
from wsrooms.testing import Disconnected, connect_client


def packed(message: dict[str, Any]) -> bytes:
    return b"\x01" + json.dumps(message).encode()


def unpacked(frame: str | bytes) -> Any:
    assert isinstance(frame, bytes)
    assert frame[:1] == b"\x01"
    return json.loads(frame[1:])


@pytest.fixture
def app() -> WsApp:
    app = WsApp(message_parser=unpacked, message_serializer=packed)

    @app.on_message("double", "/:room")
    def double(message: WsMessage[int]) -> int:
        rooms = use_ws_rooms()
        rooms.join()
        rooms.broadcast("doubled", message.data, exclude_self=False)
        return 2 * message.data

    return app


async def test_it_speaks_as_it_is_told(app: WsApp) -> None:
    async with connect_client(app, encode=packed, decode=unpacked) as ann:
        assert await ann.call("double", "/1", 4) == 8
        assert await ann.receive() == {
            "event": "doubled",
            "path": "/1",
            "params": {"room": "1"},
            "data": 4,
        }
        with pytest.raises(WsError, match="Expected `int`, got `str`"):
            await ann.call("double", "/1", "four")


async def test_who_is_not_told_how_says_so(app: WsApp) -> None:
    async with connect_client(app, encode=packed) as ann:
        with pytest.raises(Disconnected, match=r"give connect_client\(\) its decode"):
            await ann.call("double", "/1", 4)

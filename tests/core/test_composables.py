"""What the composables give: the message, its rooms, its route's params."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from wsrooms import (
    WsApp,
    WsMessage,
    WsRouteParams,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py


async def test_use_ws_message_is_the_message_as_it_was_sent(connect: Connect) -> None:
    app = WsApp()
    seen: list[WsMessage[Any]] = []
    app.on_message("*", "*?", lambda: seen.append(use_ws_message()))
    frames = [
        '{"event":"e","path":"/p%20q?x=1","data":{"a":1.50},"id":"i","more":1}',
        '{"event":"e","path":"/","id":2}',
        '{"event":"e","path":"/","data":null,"id":0.5}',
        '{"event":"e","path":"/"}',
    ]
    async with app.serving() as address:
        peer = await connect(address)
        peer.send_text(*frames)
        await peer.call("last", "/")
    full, bare, null, silent = seen[:4]
    assert (full.event, full.path, full.id) == ("e", "/p%20q?x=1", "i")
    assert (full.data, full.has_data) == ({"a": 1.5}, True)
    assert full.data is full.data
    assert isinstance(full.data_raw, Raw)
    assert bytes(full.data_raw) == b'{"a":1.50}'
    assert full.raw == frames[0].encode()
    assert (bare.data, bare.has_data, bare.id) == (None, False, 2)
    assert (null.data, null.has_data, null.id) == (None, True, 0.5)
    assert silent.id is None
    assert "e /p%20q?x=1" in repr(full)


async def test_a_handler_may_take_the_message_that_is_current(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("e", "/")
    def handler(message: WsMessage[Any]) -> bool:
        return message is use_ws_message()

    async with app.serving() as address:
        assert await (await connect(address)).call("e", "/") is True


async def test_use_ws_rooms_defaults_to_the_path_as_sent_with_its_query(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("join", "/a b")
    async def join() -> list[str]:
        await use_ws_rooms().join()
        return use_ws_rooms().rooms()

    @app.on_message("leave", "/a b")
    async def leave() -> list[str]:
        await use_ws_rooms().leave()
        return use_ws_rooms().rooms()

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("join", "/a b?x=1") == ["/a b?x=1"]
        assert await peer.call("join", "/a%20b") == ["/a b?x=1", "/a%20b"]
        assert await peer.call("leave", "/a%20b") == ["/a b?x=1"]
        assert await peer.call("leave", "/a%20b") == ["/a b?x=1"]


async def test_use_ws_server_is_that_of_the_app_and_use_ws_connection_the_very_object(
    connect: Connect,
) -> None:
    app = WsApp()

    @app.on_message("same", "/")
    def same() -> list[bool]:
        connection = use_ws_connection()
        return [
            use_ws_server() is app.server,
            use_ws_connection() is connection,
            use_ws_server().get_connection(connection.id) is connection,
            use_ws_server().get_connection("nobody") is None,
            use_ws_server().room("r").name == "r",
        ]

    async with app.serving() as address:
        assert await (await connect(address)).call("same", "/") == [True] * 5


async def test_route_params_are_decoded_and_a_repeated_name_is_a_list(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("one", "/:a/:b?")
    def one() -> dict[str, object]:
        params = use_route_params()
        return {"a": params["a"], "b": params.get("b"), "list": params.getlist("a")}

    app.on_message("many", "/:x/and/:x", lambda: use_route_params().getlist("x"))
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("one", "/%C3%A9?q=1") == {"a": "é", "b": None, "list": ["é"]}
        assert await peer.call("many", "/1/and/2") == ["1", "2"]


def test_params_show_what_they_hold() -> None:
    assert repr(WsRouteParams({"a": "1"})) == "<WsRouteParams {'a': '1'}>"


def test_a_param_that_is_not_there_or_a_list_is_told_apart() -> None:
    params = WsRouteParams({"one": "1", "many": ["2", "3"]})
    assert params["one"] == params.get("one") == "1"
    assert params.getlist("many") == ["2", "3"]
    assert params.getlist("none") == []
    assert params.get("none") is None
    assert ("one" in params, "none" in params) == (True, False)
    with pytest.raises(KeyError, match="one, many"):
        params["none"]
    for use in (params.get, params.__getitem__):
        with pytest.raises(TypeError, match="getlist"):
            use("many")
    with pytest.raises(KeyError, match="none"):
        WsRouteParams({})["x"]
    given = params.getlist("many")
    given.append("4")
    assert params.getlist("many") == ["2", "3"]

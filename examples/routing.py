"""Routes: events and path patterns, several handlers of one, and routes of other modules."""

import pytest

from wsrooms import (
    InvalidPattern,
    WsApp,
    WsError,
    WsRoutes,
    use_route_params,
    use_ws_message,
)
from wsrooms.testing import connect_client


# --8<-- [start:routes]
async def test_event_and_path_choose_the_handler() -> None:
    ws = WsApp()

    @ws.on_message("read", "/shelf/:shelf/book/:nr(\\d+)")
    def read() -> list[str]:
        params = use_route_params()
        return [params["shelf"], params["nr"]]

    @ws.on_message("list", "/shelf/:shelf/:page?")
    def list_() -> str | None:
        return use_route_params().get("page")  # None where the path has none

    async with connect_client(ws) as ann:
        assert await ann.call("read", "/shelf/a/book/12") == ["a", "12"]
        assert await ann.call("list", "/shelf/a/2") == "2"
        assert await ann.call("list", "/shelf/a") is None
        with pytest.raises(WsError, match="Not found"):
            await ann.call("read", "/shelf/a/book/first")

    with pytest.raises(InvalidPattern):
        ws.on_message("read", "/shelf/:")


# --8<-- [end:routes]


# --8<-- [start:any_event]
async def test_any_event_is_what_no_route_of_its_own_has() -> None:
    ws = WsApp()

    @ws.on_message("*", "/log")
    def anything() -> str:
        return f"any: {use_ws_message().event}"

    @ws.on_message("clear", "/log")
    def clear() -> str:
        return "cleared"

    async with connect_client(ws) as ann:
        assert await ann.call("clear", "/log") == "cleared"
        assert await ann.call("write", "/log") == "any: write"


# --8<-- [end:any_event]


# --8<-- [start:several]
async def test_the_first_handler_that_does_not_raise_answers() -> None:
    ws = WsApp()

    @ws.on_message("find", "/:name")
    def in_the_cache() -> str:
        if use_route_params()["name"] != "tea":
            raise WsError(404, "not in the cache")
        return "from the cache"

    @ws.on_message("find", "/:name")
    async def in_the_database() -> str:
        if use_route_params()["name"] != "cake":
            raise WsError(404, "not in the database")
        return "from the database"

    async with connect_client(ws) as ann:
        assert await ann.call("find", "/tea") == "from the cache"
        assert await ann.call("find", "/cake") == "from the database"
        with pytest.raises(WsError, match="not in the database"):
            await ann.call("find", "/salt")


# --8<-- [end:several]


# --8<-- [start:include]
books = WsRoutes()


@books.on_message("read", "/:nr")
def read() -> str:
    return f"page 1 of {use_ws_message().path}"


async def test_an_app_includes_the_routes_of_other_modules() -> None:
    ws = WsApp()
    ws.include(books, prefix="/books")
    async with connect_client(ws) as ann:
        assert await ann.call("read", "/books/12") == "page 1 of /books/12"


# --8<-- [end:include]

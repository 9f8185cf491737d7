"""Mistakes that are told where a function is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Mistake = Any  # the fixture of conftest.py


def test_a_handler_has_no_second_parameter(mistake: Mistake) -> None:
    """A handler with two parameters.

    Why: A handler takes nothing, or the message alone.
    Remedy: Call `use_route_params()["room"]`, `use_ws_connection()` and so on inside.
    """
    assert mistake.raises("""
        from wsrooms import WsApp, WsMessage

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join(message: WsMessage, room: str):
            ...
    """) == (
        "wsrooms.errors.InvalidHandler: join (app.py:5) cannot be called: a handler takes "
        "nothing or one WsMessage, this one requires (message, room); for all else call "
        "use_route_params(), use_ws_connection() and their kin inside"
    )


def test_a_handler_has_no_parameter_that_needs_its_name(mistake: Mistake) -> None:
    """A handler with a keyword-only parameter.

    Why: The params of a route are not passed to the handler, by name or otherwise.
    Remedy: Take the parameter out, and call `use_route_params()["room"]` inside.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join(*, room: str):
            ...
    """) == (
        "wsrooms.errors.InvalidHandler: join (app.py:5) cannot be called: a handler takes "
        "nothing or one WsMessage, this one requires (room); for all else call "
        "use_route_params(), use_ws_connection() and their kin inside"
    )


async def test_a_handler_gets_the_message(mistake: Mistake) -> None:
    """A handler that asks for a param of the route, or for the data alone.

    Why: What a handler gets is the message, whatever its parameter is called.
    Remedy: `use_route_params()["room"]` for a param; `WsMessage[Order]` and its `.data`, or
    `use_ws_message(Order).data`, for data that is validated.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join(room: str):
            ...

        async def main():
            await ws.listen(8000)
    """) == (
        "wsrooms.errors.InvalidHandler: join (app.py:5) cannot be called: its parameter is "
        "annotated str, and what a handler gets is the message: annotate WsMessage[str] and "
        "take its .data, or call use_route_params() for what is in the path"
    )


def test_on_connect_has_no_parameter(mistake: Mistake) -> None:
    """on_connect with a parameter.

    Why: Hooks of a connection find it as handlers do, with a composable.
    Remedy: `connection = use_ws_connection()` in its first line.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_connect
        async def greet(connection):
            connection.send("hello", "/")
    """) == (
        "wsrooms.errors.InvalidHandler: greet (app.py:5) cannot be called: on_connect "
        "functions take no parameter, this one requires (connection); use_ws_connection() "
        "gives the connection"
    )


def test_on_error_has_two_parameters(mistake: Mistake) -> None:
    """on_error with one parameter.

    Why: It is called with the exception and the route, such as `"say /chat/general"`.
    Remedy: `def report(error, route)`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_error
        def report(error):
            print(error)
    """) == (
        "wsrooms.errors.InvalidHandler: report (app.py:5) cannot be called: on_error "
        "functions take two, the exception and the route: too many positional arguments"
    )


def test_around_message_is_async(mistake: Mistake) -> None:
    """around_message that is not async.

    Why: The handlers that it goes around may be async, so it has to wait for them.
    Remedy: `async def`, and `return await call_next()`: what it returns is the reply.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.around_message
        def log(call_next):
            return call_next()
    """) == (
        "wsrooms.errors.InvalidHandler: log (app.py:5) cannot be called: it is not async: "
        "around_message needs `async def fn(call_next)`"
    )


def test_on_message_is_not_used_bare(mistake: Mistake) -> None:
    """@on_message without its event and path.

    Why: A handler answers one event on the paths of one pattern; neither is taken from its name.
    Remedy: Name both: `@ws.on_message("join", "/chat/:room")`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message
        async def join():
            ...
    """) == (
        "wsrooms.errors.InvalidHandler: join (app.py:5) cannot be called: write "
        '@on_message("event", "/path") above it'
    )


def test_on_message_has_a_path(mistake: Mistake) -> None:
    """@on_message without a path.

    Why: In other libraries an event is enough. Here a message has an event and a path, as a
    request has a method and a path, and the path is also the room.
    Remedy: Give the path, or `"*"` if any will do.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message("join")
        async def join():
            ...
    """) == (
        "wsrooms.errors.ConfigurationError: on_message('join') has no path: give both, as "
        "in on_message('join', '/chat/:room'); '*' is any path"
    )


def test_a_handler_is_given_and_not_called(mistake: Mistake) -> None:
    """A handler that is called where it is declared.

    Why: `join()` is a coroutine, which could run once; the app needs the function.
    Remedy: `ws.on_message("join", "/chat/:room", join)`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        async def join():
            ...

        ws = WsApp()
        ws.on_message("join", "/chat/:room", join())
    """) == (
        "wsrooms.errors.InvalidHandler: join cannot be called: it is called already: give "
        "the function itself, without ()"
    )


def test_a_pattern_that_cannot_be_compiled_is_told_with_what_is_wrong(mistake: Mistake) -> None:
    r"""A bad route pattern.

    Why: A pattern is compiled where it is declared, so that no client has to find the mistake.
    Remedy: Each text says what is wrong. A plain colon is written `\:`, an optional parameter
    stands at the end, and a regex in parentheses follows the name: `"/:id(\d+)"`.
    """
    seen = [
        mistake.raises("from wsrooms import WsRoutes\n\nWsRoutes().on_message('get', '/time/12:')"),
        mistake.raises(
            "from wsrooms import WsRoutes\n\nWsRoutes().on_message('get', '/:page?/all')"
        ),
        mistake.raises(
            "from wsrooms import WsRoutes\n\nWsRoutes().on_message('get', r'/:id(\\d+')"
        ),
        mistake.raises("from wsrooms import WsRoutes\n\nWsRoutes().on_message('get', '/:id)')"),
        mistake.raises("from wsrooms import WsRoutes\n\nWsRoutes().on_message('get', '/:id(+)')"),
    ]
    assert seen == [
        (
            "wsrooms.errors.InvalidPattern: bad route pattern '/time/12:': a parameter has "
            "no name; a plain colon is \\:"
        ),
        (
            "wsrooms.errors.InvalidPattern: bad route pattern '/:page?/all': '/all' follows "
            "an optional parameter; only / and - may"
        ),
        (
            "wsrooms.errors.InvalidPattern: bad route pattern '/:id(\\\\d+': a ( of its regex "
            "is never closed"
        ),
        ("wsrooms.errors.InvalidPattern: bad route pattern '/:id)': it has a ) without its ("),
        (
            "wsrooms.errors.InvalidPattern: bad route pattern '/:id(+)': (+) is no regex: "
            "nothing to repeat at position 4"
        ),
    ]


def test_routes_do_not_include_themselves(mistake: Mistake) -> None:
    """Routes that include themselves.

    Why: Two modules that include each other would be followed for ever.
    Remedy: Include both in the app.
    """
    assert mistake.raises("""
        from wsrooms import WsRoutes

        chat, admin = WsRoutes(), WsRoutes()
        chat.include(admin)
        admin.include(chat)
    """) == (
        "wsrooms.errors.ConfigurationError: routes cannot include themselves, nor those "
        "that include them: include each in the app"
    )


async def test_the_type_of_the_data_can_be_found_at_run_time(mistake: Mistake) -> None:
    """A type that is imported for type checkers only.

    Why: The data is validated as what the annotation names, so at run time the name must exist.
    Remedy: Import it outside of `if TYPE_CHECKING:`.
    """
    assert await mistake.main_raises("""
        from __future__ import annotations

        from typing import TYPE_CHECKING

        from wsrooms import WsApp, WsMessage

        if TYPE_CHECKING:
            from models import Order

        ws = WsApp()

        @ws.on_message("order", "/orders")
        async def order(message: WsMessage[Order]) -> None:
            ...

        async def main() -> None:
            await ws.listen(8000)
    """) == (
        "wsrooms.errors.InvalidHandler: order (app.py:12) cannot be called: its annotation "
        "'WsMessage[Order]' cannot be resolved (name 'Order' is not defined); import what "
        "it names outside of TYPE_CHECKING"
    )

"""Mistakes that show when a message is handled."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    Mistake = Any  # the fixture of conftest.py


def test_a_composable_needs_its_context(mistake: Mistake) -> None:
    """A composable outside of a handler.

    Why: `use_ws_rooms()` and its kin find what is current, and outside of handlers and hooks
    nothing is. In tasks and threads that a handler starts they work.
    Remedy: Pass on what you need, or use what the app offers everywhere: `ws.room(name)`,
    `ws.broadcast()`, `ws.server`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp, use_ws_rooms

        ws = WsApp()
        rooms = use_ws_rooms()
    """) == (
        "wsrooms.errors.OutsideContext: use_ws_rooms() needs a message, and none is current "
        "here; call it in a handler or hook, or in a task or thread that one started; "
        "elsewhere use app.server, app.room(name) and app.broadcast()"
    )


async def test_on_connect_has_no_message(mistake: Mistake) -> None:
    """use_ws_rooms() in on_connect.

    Why: `use_ws_rooms()` takes its room from the path of a message, and there is none yet.
    Remedy: `use_ws_connection().join("/lobby")`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_rooms

        ws = WsApp()

        @ws.on_connect
        async def lobby():
            await use_ws_rooms().join("/lobby")
    """).ws
    async with mistake.client(app) as client:
        assert await client.closed() == (1011, "Internal Error")
    assert mistake.log() == [
        (
            "ERROR on_connect: it failed\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "wsrooms.errors.OutsideContext: use_ws_rooms() needs a message, and none is "
            "current here; in on_connect and on_disconnect use use_ws_connection() and "
            "use_ws_server().room(name) instead"
        ),
    ]


async def test_lifespan_has_no_message(mistake: Mistake) -> None:
    """use_ws_rooms() in lifespan or in a background task.

    Why: What runs beside the messages has no room of its own, and no connection.
    Remedy: `app.room("/news").broadcast("tick")`.
    """
    app = mistake.runs("""
        import contextlib

        from wsrooms import WsApp, use_ws_rooms

        @contextlib.asynccontextmanager
        async def lifespan(app):
            app.start_task(tick(), name="tick")
            yield

        async def tick():
            use_ws_rooms().broadcast("tick", room="/news")

        ws = WsApp(lifespan=lifespan)
    """).ws
    async with mistake.serving(app):
        await mistake.logged(1)
    assert mistake.log() == [
        (
            "ERROR background task tick died\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "wsrooms.errors.OutsideContext: use_ws_rooms() needs a message, and none is "
            "current here; in lifespan and background tasks use app.room(name) and "
            "app.broadcast()"
        ),
    ]


async def test_an_error_has_a_code(mistake: Mistake) -> None:
    """WsError without its code.

    Why: The client gets code and message; a text alone is a mistake of the program, so the
    client gets what it gets for all of these, 500.
    Remedy: `raise WsError(403, "members only")`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, WsError

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join():
            raise WsError("members only")
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("join", "/chat/staff") == [
            '→ {"event": "join", "path": "/chat/staff", "id": 1}',
            '← {"id":1,"error":{"code":500,"message":"Internal Error"}}',
        ]
    assert mistake.log() == [
        (
            "ERROR join /chat/staff: its handler failed\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "TypeError: WsError wants a code first, as in WsError(403, 'Forbidden'), not "
            "'members only'"
        ),
    ]


async def test_what_a_handler_raises_is_for_the_log(mistake: Mistake) -> None:
    """An exception in a handler.

    Why: What a program did not mean to raise is none of the client's business: it gets 500, and
    the log gets the traceback. `on_error(exception, route)` gets both, to report them.
    Remedy: Mend the handler; raise `WsError` for what the client is to know.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_message

        ws = WsApp()

        @ws.on_message("order", "/orders")
        async def order():
            return {"number": use_ws_message().data["number"] + 1}
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("order", "/orders", data={}) == [
            '→ {"event": "order", "path": "/orders", "data": {}, "id": 1}',
            '← {"id":1,"error":{"code":500,"message":"Internal Error"}}',
        ]
    assert mistake.log() == [
        (
            "ERROR order /orders: its handler failed\n"
            "Traceback (most recent call last):\n  ...\nKeyError: 'number'"
        ),
    ]


async def test_a_result_is_json(mistake: Mistake) -> None:
    """A result that is no JSON.

    Why: What a handler returns is the reply. Dataclasses, Structs, sets, dates and more have a
    JSON form; an object of any other class has not.
    Remedy: Return what has one, or teach it: `WsApp(enc_hook=...)`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        class Order:
            def __init__(self, number):
                self.number = number

        ws = WsApp()

        @ws.on_message("order", "/orders")
        async def order():
            return Order(7)
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("order", "/orders") == [
            '→ {"event": "order", "path": "/orders", "id": 1}',
            '← {"id":1,"error":{"code":500,"message":"Internal Error"}}',
        ]
    assert mistake.log() == [
        (
            "ERROR order /orders: its result cannot be sent\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "TypeError: Encoding objects of type Order is unsupported: convert it to dicts, "
            "lists, strings and numbers first, or let WsApp(enc_hook=...) do that"
        ),
    ]


@pytest.mark.filterwarnings("ignore:coroutine 'load' was never awaited")
async def test_what_a_handler_calls_is_awaited(mistake: Mistake) -> None:
    """An await that is missing in what a handler returns.

    Why: Without `await` a call of an async function gives a coroutine, which nobody runs.
    Remedy: `return {"order": await load()}`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message("order", "/orders")
        async def order():
            return {"order": load()}

        async def load():
            return 7
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("order", "/orders") == [
            '→ {"event": "order", "path": "/orders", "id": 1}',
            '← {"id":1,"error":{"code":500,"message":"Internal Error"}}',
        ]
    assert mistake.log() == [
        (
            "ERROR order /orders: its result cannot be sent\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "TypeError: the data is or holds a coroutine: an await is missing before the "
            "call that made it"
        ),
    ]
    mistake.forget_log()
    gc.collect()  # Python tells of it when it is thrown away


async def test_a_parameter_is_spelt_as_in_the_route(mistake: Mistake) -> None:
    """A misspelt parameter of the route.

    Why: `use_route_params()` holds what the pattern names.
    Remedy: The text names those there are; `get(name)` gives None instead of raising.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_route_params

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join():
            return use_route_params()["rom"]
    """).ws
    async with mistake.client(app) as client:
        await client.call("join", "/chat/general", show=False)
    assert mistake.log() == [
        (
            "ERROR join /chat/general: its handler failed\n"
            "Traceback (most recent call last):\n"
            "  ...\nKeyError: \"'rom'; the route's params: room\""
        ),
    ]


async def test_data_is_of_the_declared_type(mistake: Mistake) -> None:
    """Data of another type than the handler declares.

    Why: `WsMessage[Order]` is checked before the handler runs, which is not called at all.
    Remedy: This one is the client's; the text names the field.
    """
    app = mistake.runs("""
        from dataclasses import dataclass

        from wsrooms import WsApp, WsMessage

        @dataclass
        class Order:
            item: str
            number: int

        ws = WsApp()

        @ws.on_message("order", "/orders")
        async def order(message: WsMessage[Order]):
            return message.data.number
    """).ws
    async with mistake.client(app) as client:
        data = {"item": "tea", "number": "7"}
        assert await client.call("order", "/orders", data=data) == [
            (
                '→ {"event": "order", "path": "/orders", "data": {"item": "tea", "number": '
                '"7"}, "id": 1}'
            ),
            (
                '← {"id":1,"error":{"code":422,"message":"Expected `int`, got `str` - at '
                '`$.number`"}}'
            ),
        ]


async def test_a_handler_does_not_block(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that blocks the event loop.

    Why: All clients share one event loop, so while a handler waits without `await`, or
    computes for long, nobody else is served. Nothing tells this unless you ask for it:
    [debug mode](debugging.md) names the handler.
    Remedy: Use an async library, or `await asyncio.to_thread(load, number)`.
    """
    clock = [0.0]
    monkeypatch.setattr("wsrooms.debug.blocking.perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    app = mistake.runs("""
        import time

        from wsrooms import WsApp

        ws = WsApp(debug=True)

        @ws.on_message("order", "/orders/:number")
        def order():
            time.sleep(0.3)  # a database, say
            return "done"
    """).ws
    async with mistake.client(app) as client:
        await client.call("order", "/orders/7", show=False)
    assert mistake.log() == [
        (
            "WARNING the handler of 'order' '/orders/:number', order (app.py:7), kept the "
            "event loop busy for 300 ms, while nothing else could run: make it async def, "
            "and move what blocks to a thread with 'await asyncio.to_thread(...)'"
        ),
    ]


async def test_a_receipt_is_awaited_on_the_loop(mistake: Mistake) -> None:
    """Receipt.result() in a handler.

    Why: `result()` waits without letting the event loop go on, so what it waits for could
    never happen. It is for threads.
    Remedy: `await use_ws_rooms().join()`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_rooms

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        def join():
            use_ws_rooms().join().result()
    """).ws
    async with mistake.client(app) as client:
        await client.call("join", "/chat/general", show=False)
    assert mistake.log() == [
        (
            "ERROR join /chat/general: its handler failed\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "RuntimeError: result() would block the event loop: await the receipt instead"
        ),
    ]

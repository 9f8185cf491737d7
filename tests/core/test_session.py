"""Messages of a connection: who handles them, what is answered, what one leaves to the next."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    TransportUnavailable,
    WsApp,
    WsError,
    WsLimits,
    WsMessage,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py

INTERNAL = {"code": 500, "message": "Internal Error"}


class Struct(msgspec.Struct):
    text: str
    tags: list[int] = []


@dataclass
class Data:
    text: str
    tags: list[int]


class Typed(TypedDict):
    text: str
    tags: list[int]


def declared(type_: Any) -> Callable[..., object]:
    """A handler that declares the type of its data, and returns it."""

    def handler(message: WsMessage[Any]) -> object:
        return message.data

    handler.__annotations__["message"] = WsMessage[type_]
    return handler


# Who handles a message


async def test_handlers_of_every_kind_are_called_as_they_want(connect: Connect) -> None:
    app = WsApp()

    def nothing() -> str:
        return "nothing"

    async def nothing_later() -> str:
        await asyncio.sleep(0)
        return "nothing later"

    def message(message: WsMessage[Any]) -> Any:
        return message.data

    async def message_later(message: WsMessage[Any], /) -> Any:
        return message.data

    def optional(message: object = "its default") -> object:
        return message

    class Chat:
        def method(self, message: WsMessage[Any]) -> str:
            return message.path

        async def __call__(self) -> str:
            return "called"

    handlers: dict[str, Any] = {
        "nothing": nothing,
        "nothing later": nothing_later,
        "data": message,
        "/method": Chat().method,
        "called": Chat(),
        "partial": partial(lambda text: text, "partial"),
        "its default": optional,
    }
    app.on_message("data later", "/data later", message_later)
    for name, handler in handlers.items():
        app.on_message("e", f"/{name.strip('/')}", handler)
    async with app.serving() as address:
        peer = await connect(address)
        for name in handlers:
            assert await peer.call("e", f"/{name.strip('/')}", "data") == name
        assert await peer.call("data later", "/data later", "data") == "data"


async def test_a_route_that_nobody_declared_is_404_with_an_id_and_silent_without(
    connect: Connect,
) -> None:
    app = WsApp()
    app.on_message("known", "/", lambda: 1)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("unknown", "/")
        answer = await peer.call("unknown", "/")
        assert answer["error"] == {"code": 404, "message": "Not found"}
        assert len(peer.received) == 1


@pytest.mark.parametrize("type_", [Struct, Data, Typed, "attrs"])
async def test_typed_data_is_validated_before_the_handler_and_encoded_again(
    connect: Connect, type_: Any
) -> None:
    if type_ == "attrs":
        attrs = pytest.importorskip("attrs", reason="attrs is not installed")
        fields = {"text": attrs.field(type=str), "tags": attrs.field(type=list[int])}
        type_ = attrs.make_class("Attrs", fields)
    app = WsApp()
    ran: list[object] = []
    app.on_message("declared", "/", declared(type_))

    @app.on_message("asked", "/")
    def asked() -> object:
        ran.append(use_ws_message(type_).data)
        return ran[-1]

    good = {"text": "hi", "tags": [1, 2]}
    async with app.serving() as address:
        peer = await connect(address)
        for event in ("declared", "asked"):
            assert await peer.call(event, "/", good) == good
            answer = await peer.call(event, "/", {"text": "hi", "tags": [1, "2"]})
            assert answer["error"] == {
                "code": 422,
                "message": "Expected `int`, got `str` - at `$.tags[1]`",
            }
            answer = await peer.call(event, "/")
            assert answer["error"]["code"] == 422
        assert len(ran) == 1
        assert app.stats()["handler_errors"] == 0


async def test_two_parts_of_a_program_may_ask_for_their_own_types(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("both", "/")
    def both(message: WsMessage[Struct]) -> list[str]:
        views: list[WsMessage[Any]] = [message, use_ws_message(Data), use_ws_message()]
        return [type(view.data).__name__ for view in views]

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("both", "/", {"text": "", "tags": []}) == ["Struct", "Data", "dict"]


# Several handlers of one route


@pytest.mark.parametrize("first", ["sync", "async"])
@pytest.mark.parametrize("second", ["sync", "async"])
async def test_the_first_handler_that_does_not_raise_answers(
    connect: Connect, first: str, second: str
) -> None:
    app = WsApp()
    ran: list[str] = []

    def handler(name: str, kind: str, error: Exception | None) -> Callable[[], object]:
        def sync() -> str:
            ran.append(name)
            if error is not None:
                raise error
            return name

        async def later() -> str:
            await asyncio.sleep(0)
            return sync()

        return sync if kind == "sync" else later

    def declare(event: str, *errors: Exception | None) -> None:
        for name, kind, error in zip("abc", (first, second, "sync"), errors, strict=True):
            app.on_message(event, "/", handler(name, kind, error))

    declare("none fails", None, None, None)
    declare("one fails", LookupError(), None, None)
    declare("two fail", LookupError(), WsError(409, "taken"), None)
    declare("all fail", LookupError(), LookupError(), WsError(409, "taken"))
    declare("the last fails badly", WsError(1), WsError(2), LookupError())
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("none fails", "/") == "a"
        assert await peer.call("one fails", "/") == "b"
        assert await peer.call("two fail", "/") == "c"
        assert (await peer.call("all fail", "/"))["error"] == {"code": 409, "message": "taken"}
        assert (await peer.call("the last fails badly", "/"))["error"] == INTERNAL
        assert ran == list("aababcabcabc")


# Failures


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (WsError(418), 418, "WsError 418"),
        (WsError(409, "taken"), 409, "taken"),
        (LookupError("secret"), 500, "Internal Error"),
        (asyncio.CancelledError(), 500, "Internal Error"),
        (TimeoutError(), 500, "Internal Error"),
        (TransportUnavailable("secret"), 503, "Service Unavailable"),
    ],
    ids=repr,
)
async def test_what_a_handler_raises_is_answered(
    connect: Connect, kind: str, raised: BaseException, code: int, message: str
) -> None:
    app = WsApp()

    def sync() -> None:
        raise raised

    async def later() -> None:
        await asyncio.sleep(0)
        raise raised

    app.on_message("fail", "/", sync if kind == "sync" else later)
    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        peer = await connect(address)
        answer = await peer.call("fail", "/")
        assert answer["error"] == {"code": code, "message": message}
        assert await peer.call("ping", "/") == "pong"
        assert app.stats()["errors"] == 1
        assert app.stats()["handler_errors"] == (code == 500)


async def test_a_bad_room_name_is_400(connect: Connect) -> None:
    app = WsApp()
    app.on_message("join", "/:room", lambda: use_ws_rooms().join(use_ws_message().data))
    app.on_message("say", "/:room", lambda: use_ws_rooms().broadcast("e", room="x" * 1025))
    async with app.serving() as address:
        peer = await connect(address)
        rooms: list[object] = ["", "x" * 1025, 5, {}]
        for room in rooms:
            answer = await peer.call("join", "/r", room)
            assert answer["error"]["code"] == 400
            assert "bad room name" in answer["error"]["message"]
        assert (await peer.call("say", "/r"))["error"]["code"] == 400


async def test_a_result_that_is_not_json_is_500_and_names_the_route_in_the_log(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp()
    app.on_message("object", "/", object)
    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call("object", "/"))["error"] == INTERNAL
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "object /: its result cannot be sent"
    assert record.exc_info


async def test_a_failure_is_logged_with_its_route_and_reported_to_on_error(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp()
    reported: list[tuple[str, str]] = []
    async_reported = asyncio.Event()

    @app.on_error
    def report(error: BaseException, route: str) -> None:
        assert use_ws_connection() is not None
        reported.append((repr(error), route))

    @app.on_error
    async def report_later(error: BaseException, route: str) -> None:
        await asyncio.sleep(0)
        async_reported.set()

    @app.on_error
    def broken(error: BaseException, route: str) -> None:
        raise ValueError("the reporter is broken")

    @app.on_message("fail", "/:x")
    def fail() -> None:
        raise LookupError("secret")

    @app.on_message("refuse", "/")
    def refuse() -> None:
        raise WsError(403)

    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call("fail", "/1"))["error"] == INTERNAL
        await peer.call("refuse", "/")
        peer.send("fail", "/2")
        await peer.settled()
        error = "LookupError('secret')"
        assert reported == [(error, "fail /1"), (error, "fail /2")]
        async with asyncio.timeout(DEADLINE):
            await async_reported.wait()
        assert app.stats()["handler_errors"] == 2
        assert app.stats()["hook_errors"] == 2
        assert len(peer.received) == 2
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    broken_reporter = "on_error failed"
    assert errors == [
        "fail /1: its handler failed",
        broken_reporter,
        "fail /2: its handler failed",
        broken_reporter,
    ]


# around_message


async def test_around_message_nests_in_the_order_given_and_may_change_the_answer(
    connect: Connect,
) -> None:
    app = WsApp()
    order: list[str] = []

    def wrap(name: str) -> None:
        @app.around_message
        async def around(call_next: Callable[[], Awaitable[object]]) -> object:
            order.append(f"{name} in {use_ws_message().event}")
            try:
                return f"{name}({await call_next()})"
            finally:
                order.append(f"{name} out")

    wrap("a")
    wrap("b")
    app.on_message("sync", "/:x", lambda: use_route_params()["x"])

    @app.on_message("async", "/:x")
    async def later() -> str:
        await asyncio.sleep(0)
        return use_route_params()["x"]

    async with app.serving() as address:
        peer = await connect(address)
        for event in ("sync", "async"):
            assert await peer.call(event, "/1") == "a(b(1))"
            assert order == [f"a in {event}", f"b in {event}", "b out", "a out"]
            order.clear()


async def test_around_message_may_refuse_catch_and_fail(connect: Connect) -> None:
    app = WsApp()

    @app.around_message
    async def around(call_next: Callable[[], Awaitable[object]]) -> object:
        match use_ws_message().event:
            case "refused":
                raise WsError(401, "log in first")
            case "broken":
                raise LookupError
            case "caught":
                try:
                    return await call_next()
                except WsError as error:
                    return f"caught {error.code}"
            case _:
                pass
        return await call_next()

    ran: list[str] = []

    @app.on_message("*", "/")
    def handler() -> None:
        ran.append(use_ws_message().event)
        raise WsError(418)

    async with app.serving() as address:
        peer = await connect(address)
        answer = await peer.call("refused", "/")
        assert answer["error"] == {"code": 401, "message": "log in first"}
        assert (await peer.call("broken", "/"))["error"] == INTERNAL
        assert await peer.call("caught", "/") == "caught 418"
        assert (await peer.call("other", "/"))["error"]["code"] == 418
        assert (await peer.call("*", "/nowhere"))["error"]["code"] == 404
        assert ran == ["caught", "other"]


# One after another, and several at a time


async def test_messages_of_a_connection_are_handled_one_after_another(connect: Connect) -> None:
    app = WsApp()
    order: list[str] = []

    @app.on_message("slow", "/:n")
    async def slow() -> None:
        order.append(f"{use_route_params()['n']} in")
        await asyncio.sleep(0)
        order.append(f"{use_route_params()['n']} out")

    @app.on_message("quick", "/:n")
    def quick() -> None:
        order.append(use_route_params()["n"])

    async with app.serving() as address:
        peer = await connect(address)
        messages = [("slow", 1), ("quick", 2), ("slow", 3), ("slow", 4), ("quick", 5)]
        peer.send_text(*(json.dumps({"event": e, "path": f"/{n}", "id": n}) for e, n in messages))
        await peer.reply(5)
        assert [frame["id"] for frame in peer.received] == [1, 2, 3, 4, 5]
        assert order == ["1 in", "1 out", "2", "3 in", "3 out", "4 in", "4 out", "5"]


async def test_max_concurrent_messages_lets_so_many_run_and_no_more(connect: Connect) -> None:
    app = WsApp(max_concurrent_messages=2)
    running: list[int] = []
    release: dict[int, asyncio.Event] = {n: asyncio.Event() for n in range(4)}

    @app.on_message("run", "/")
    async def run(message: WsMessage[int]) -> int:
        running.append(message.data)
        await release[message.data].wait()
        return message.data

    async with app.serving() as address:
        peer = await connect(address)
        for n in range(4):
            peer.send("run", "/", n, id=n)
        await peer.settled()
        assert running == [0, 1]
        release[1].set()
        assert await peer.reply(1) == 1
        await peer.settled()
        assert running == [0, 1, 2]
        for event in release.values():
            event.set()
        assert [await peer.reply(n) for n in (0, 2, 3)] == [0, 2, 3]


async def test_messages_past_the_bound_stay_in_the_socket(connect: Connect) -> None:
    app = WsApp(limits=WsLimits(waiting_messages=3))
    release, started = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    @app.on_message("wait", "/")
    async def wait(message: WsMessage[int]) -> None:
        started.set()
        await release.wait()
        done.append(message.data)

    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        for n in range(50):
            peer.send("wait", "/", n)
        peer.send("wait", "/", 50, id="last")
        await started.wait()
        while True:  # until the socket is not read any more
            before = app.stats()["messages_in"]
            await other.settled()
            await other.settled()
            if app.stats()["messages_in"] == before:
                break
        assert app.stats()["messages_in"] == 1 + 3
        release.set()
        await peer.reply("last")
        assert done == list(range(51))

"""Answers: replies held until joins are confirmed, and errors that cannot be sent."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import TransportUnavailable, WsApp, WsError, WsLimits, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

INTERNAL = {"code": 500, "message": "Internal Error"}


def join() -> None:
    use_ws_rooms().join("r")


async def read_to_the_bound(app: WsApp, other: Any) -> int:
    """How many messages were taken in when no more are."""
    while True:
        before = app.stats()["messages_in"]
        await other.settled()
        await other.settled()
        if app.stats()["messages_in"] == before:
            return before


# Held replies


@pytest.mark.parametrize("asked", [True, False])
async def test_messages_whose_joins_are_open_count_and_then_the_socket_is_not_read(
    connect: Connect, plain_bus: Any, asked: bool
) -> None:
    transport = plain_bus.transport()
    go_on = transport.hold("subscribe ws:room:r")
    app = WsApp(broadcast_transport=transport, limits=WsLimits(waiting_messages=3))
    app.on_message("join", "/", join)
    app.on_message("last", "/", lambda: "last")
    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        for n in range(50):
            peer.send("join", "/", **({"id": n} if asked else {}))
        peer.send("last", "/", id="last")
        assert await read_to_the_bound(app, other) == 3
        go_on()
        assert await peer.reply("last") == "last"
        assert app.stats()["messages_in"] == 51
    assert [message["id"] for message in peer.received[:-1]] == (list(range(50)) if asked else [])


async def test_a_held_reply_delays_no_other_up_to_the_bound(
    connect: Connect, plain_bus: Any
) -> None:
    transport = plain_bus.transport()
    go_on = transport.hold("subscribe ws:room:r")
    app = WsApp(broadcast_transport=transport, limits=WsLimits(waiting_messages=3))
    app.on_message("join", "/", join)
    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("join", "/", id="a")
        peer.send("join", "/", id="b")
        assert await peer.call("ping", "/") == "pong"
        assert len(peer.received) == 1
        go_on()
        assert await peer.reply("a") is None
        assert await peer.reply("b") is None


async def test_a_socket_that_is_not_read_is_read_again_when_the_joins_have_failed(
    connect: Connect, plain_bus: Any
) -> None:
    transport = plain_bus.transport()
    transport.hold("subscribe ws:room:r")
    app = WsApp(
        broadcast_transport=transport, join_timeout=0.05, limits=WsLimits(waiting_messages=1)
    )
    app.on_message("join", "/", join)
    async with app.serving() as address:
        peer = await connect(address)
        for n in range(3):
            peer.send("join", "/", id=n)
        for n in range(3):
            assert (await peer.reply(n))["error"]["code"] == 503


@pytest.mark.parametrize("fails", [True, False])
async def test_a_held_reply_keeps_its_id_but_not_the_message(
    connect: Connect, plain_bus: Any, fails: bool
) -> None:
    transport = plain_bus.transport()
    go_on = transport.hold("subscribe ws:room:r")
    app = WsApp(broadcast_transport=transport)

    @app.on_message("join", "/")
    def join_and_answer() -> str:
        use_ws_rooms().join("r")
        if fails:
            raise WsError(409, "no")
        return "joined"

    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("ping", "/") == "pong"
        tracemalloc.start()
        try:
            for n in range(8):
                peer.send("join", "/", "large" * 100_000, id=f"id {n}")
                await peer.settled()
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(peer.received) == 1
        assert kept < 1_000_000
        go_on()
        for n in range(8):
            answer = await peer.reply(f"id {n}")
            assert answer == (
                {"id": f"id {n}", "error": {"code": 409, "message": "no"}} if fails else "joined"
            )


# Errors


def refusing(codes: set[int]) -> Callable[[dict[str, Any]], str]:
    """A serializer that fails at errors of these codes."""

    def serialize(message: dict[str, Any]) -> str:
        if "error" in message and message["error"]["code"] in codes:
            raise LookupError("no error of that code")
        return json.dumps(message)

    return serialize


def failing_app(codes: set[int]) -> WsApp:
    app = WsApp(message_serializer=refusing(codes))

    @app.on_message("sync", "/")
    def fail() -> None:
        raise WsError(403)

    @app.on_message("async", "/")
    async def fail_later() -> None:
        raise WsError(403)

    return app


@pytest.mark.parametrize("event", ["sync", "async", "unknown"])
async def test_an_error_that_cannot_be_serialized_is_a_500(
    connect: Connect, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    app = failing_app({403, 404})
    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call(event, "/"))["error"] == INTERNAL
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"{event} /: its error cannot be sent"
    assert record.exc_info


@pytest.mark.parametrize("event", ["sync", "async", "unknown"])
async def test_a_serializer_that_fails_at_every_error_ends_the_connection(
    connect: Connect, event: str
) -> None:
    app = failing_app({403, 404, 500})
    async with app.serving() as address:
        peer = await connect(address)
        peer.send(event, "/", id=1)
        assert await peer.ended() == (1011, "Internal Error")
        assert app.stats()["handler_errors"] == 2


# What a client can put into a log


async def test_a_client_cannot_forge_log_lines(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp()

    @app.on_message("fail", "/:rest+")
    def fail() -> None:
        raise LookupError

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("fail", "/a\nERROR admin\x1b[31m")
        await peer.call("fail", "/" + "\n" * 5000)
    first, second = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    ]
    assert first == r"fail /a\nERROR admin\x1b[31m: its handler failed"
    assert "\n" not in second
    assert len(second) < 500


async def test_failures_that_nobody_is_told_of_are_one_kind_whatever_the_client_calls_them(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp()

    @app.on_message("fail", "/:x")
    def fail() -> None:
        raise TransportUnavailable("down")

    async with app.serving() as address:
        peer = await connect(address)
        for n in range(5):
            peer.send("fail", f"/{n}\n")
        await peer.settled()
        assert app.stats()["receipts_failed"] == 5
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert line == r"a message failed and nobody awaited it: down (fail /0\n)"


async def test_the_task_of_a_message_is_named_after_its_handler(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("name", "/:x")
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("name", "/a") == f"wsrooms {name.__qualname__}"

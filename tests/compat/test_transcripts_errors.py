"""Handlers that fail, and connections that are refused or kept waiting, replayed.

Every application here is one scenario of ``transcripts.json``, under its name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message, use_ws_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The fixture of conftest.py, which importlib mode does not let us import.
    Replay = Callable[[str, WsApp], Awaitable[None]]

APPLICATIONS: dict[str, Callable[[], WsApp]] = {}


def application(declare: Callable[[], WsApp]) -> Callable[[], WsApp]:
    APPLICATIONS[declare.__name__.replace("_", "-")] = declare
    return declare


def fail(code: int, message: str | None = None) -> Callable[[], object]:
    def handler() -> object:
        raise WsError(code, message)

    return handler


def fail_later(code: int, message: str | None = None) -> Callable[[], object]:
    async def handler() -> object:
        await asyncio.sleep(0)
        raise WsError(code, message)

    return handler


def fail_plainly() -> object:
    raise RuntimeError("secret")


async def fail_plainly_later() -> object:
    await asyncio.sleep(0)
    raise RuntimeError("secret")


def count() -> int:
    return len(use_ws_server().connections())


@application
def errors() -> WsApp:
    ws = WsApp()

    @ws.on_message("fail", "/sync")
    def sync() -> None:
        data = use_ws_message().data
        raise WsError(data["code"], data.get("message"))

    @ws.on_message("fail", "/async")
    async def later() -> None:
        data = use_ws_message().data
        await asyncio.sleep(0)
        raise WsError(data["code"], data.get("message"))

    @ws.on_message("fail", "/pushed")
    def pushed() -> None:
        use_ws_connection().send("before", "/log")
        raise WsError(409, "pushed")

    ws.on_message("fail", "/plain", fail_plainly)
    ws.on_message("fail", "/plain-async", fail_plainly_later)
    ws.on_message("fail", "/unserializable", lambda: object())
    return ws


@application
def several_handlers() -> WsApp:
    ws = WsApp()

    def try_each(path: str, *handlers: Callable[[], object]) -> None:
        for handler in handlers:
            ws.on_message("try", path, handler)

    def push(event: str, then: Callable[[], object]) -> Callable[[], object]:
        def handler() -> object:
            use_ws_connection().send(event, "/log")
            return then()

        return handler

    def second() -> str:
        return "second"

    async def second_later() -> str:
        await asyncio.sleep(0)
        return "second"

    try_each("/second-answers", fail(400, "first"), second)
    try_each("/first-answers", lambda: "first", push("never", second))
    try_each("/null-answers", lambda: None, second)
    try_each("/all-fail", fail(400, "first"), fail(409, "last"))
    try_each("/last-plain", fail(400, "first"), fail_plainly)
    try_each("/plain-first", fail_plainly, second)
    try_each("/async-first", fail_later(400, "first"), second)
    try_each("/async-second", fail(400, "first"), second_later)
    try_each("/async-fail", fail_later(400, "first"), fail_later(409, "last"))
    try_each("/pushes", push("one", fail(400, "first")), push("two", second))
    return ws


@application
def on_connect() -> WsApp:
    ws = WsApp()

    async def accept_later() -> None:
        await asyncio.sleep(0)

    outcomes: list[Callable[[], object]] = [
        fail(401, "who are you"),
        fail(403, "not you"),
        fail(401),
        fail(429, "busy"),
        fail_plainly,
        fail_later(401, "who are you"),
        fail_plainly_later,
        fail_later(403, "ü" * 80),
        lambda: None,
        accept_later,
        lambda: use_ws_connection().send("welcome", "/log"),
    ]
    nth = iter(outcomes)
    ws.on_connect(lambda: next(nth)())
    ws.on_message("count", "/", count)
    return ws


@application
def on_connect_pending() -> WsApp:
    ws = WsApp()
    gates = [asyncio.Event()]
    connected = 0

    @ws.on_connect
    async def wait_for_release() -> None:
        nonlocal connected
        connected += 1
        nth = connected
        if nth > 1:
            await gates[-1].wait()
        if nth == 4:
            raise WsError(403, "late")

    @ws.on_message("release", "/")
    def release() -> None:
        gates[-1].set()
        gates.append(asyncio.Event())

    @ws.on_message("all", "/")
    def announce() -> None:
        use_ws_server().broadcast("news", "/")

    ws.on_message("count", "/", count)
    ws.on_message("echo", "/", lambda: use_ws_message().data)
    return ws


@pytest.mark.parametrize("scenario", APPLICATIONS)
async def test_clients_of_the_original_are_answered_alike(scenario: str, replay: Replay) -> None:
    await replay(scenario, APPLICATIONS[scenario]())

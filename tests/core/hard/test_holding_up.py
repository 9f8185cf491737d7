"""Ways in which one client, or one handler, could hold up the rest: each was found by reading."""

from __future__ import annotations

import asyncio
import contextvars
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsApp, use_ws_message, use_ws_rooms
from wsrooms.server.frames import close_is_in
from wsrooms.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.core.conftest import PlainBus

    Connect = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.every_loop


async def test_a_read_is_looked_through_for_a_close_once_not_for_each_message_that_waits(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def counting(data: bytes, at: int) -> bool:
        nonlocal looked
        looked += 1
        return close_is_in(data, at)

    monkeypatch.setattr("wsrooms.server.intake.close_is_in", counting)
    app = WsApp()

    @app.on_message("echo", "/")
    async def echo() -> object:
        await asyncio.sleep(0)
        return use_ws_message().data

    async with app.serving() as address:
        peer = await connect(address)
        await peer.settled()
        texts = [json.dumps({"event": "echo", "path": "/", "data": n, "id": n}) for n in range(500)]
        peer.send_text(*texts)
        assert [await peer.reply(n) for n in range(500)] == list(range(500))
    reads = sum(map(len, texts)) // 4096 + 2  # a segment may arrive in pieces
    assert 0 < looked <= reads


async def test_what_waited_for_on_connect_takes_turns_as_everything_does(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = WsApp()
    go_on = asyncio.Event()
    turn = 0
    handled_in: list[int] = []

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    @app.on_connect
    async def opening() -> None:
        await go_on.wait()

    @app.on_message("note", "/")
    def note() -> None:
        handled_in.append(turn)

    # As if every message took all the time that a turn has.
    monkeypatch.setattr(Turns, "over", lambda self, until: True)
    async with app.serving() as address:
        peer = await connect(address)
        counting = asyncio.create_task(count_turns())
        peer.send_text(*['{"event":"note","path":"/"}'] * 12)
        await peer.settled()
        go_on.set()
        async with asyncio.timeout(DEADLINE):
            while len(handled_in) < 12:  # noqa: ASYNC110 - turns of the loop are what it waits for
                await asyncio.sleep(0)
        counting.cancel()
    assert max(map(handled_in.count, handled_in)) <= 2


async def test_a_join_that_failed_is_told_though_its_handler_left_a_task_behind(
    connect: Connect, plain_bus: PlainBus, eventually: Callable[..., Awaitable[None]]
) -> None:
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:r")
    app = WsApp(broadcast_transport=transport, join_timeout=0.05)
    behind: list[asyncio.Task[bool]] = []

    @app.on_message("join", "/")
    async def join() -> None:
        use_ws_rooms().join("r")
        behind.append(asyncio.create_task(asyncio.Event().wait()))

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("join", "/")
        await eventually(lambda: app.stats()["receipts_failed"] == 1)
        assert not behind[0].done()
        behind[0].cancel()
        release()


async def test_an_exit_in_the_midst_of_the_turns_does_not_stop_those_behind_it() -> None:
    seen: list[int] = []

    def leave() -> None:
        raise SystemExit(3)

    class Loop:
        """Calls what is scheduled when it is told to, as a loop whose callback may raise."""

        def __init__(self) -> None:
            self.calls: list[Callable[[], None]] = []

        def call_soon(self, call: Callable[[], None], context: Any = None) -> None:
            self.calls.append(call)

    mine = Loop()
    turns = Turns(mine, contextvars.copy_context())  # type: ignore[arg-type]  # all of a loop that it uses
    turns.queue(leave)
    turns.queue(lambda: seen.append(1))
    with pytest.raises(SystemExit):
        mine.calls.pop(0)()
    mine.calls.pop(0)()
    assert seen == [1]

"""``Life``: what ``test_app.py`` does not see: loops that ended, figures of what does not run."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import NotRunning, WsApp
from wsrooms.life import Hooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixture of conftest.py


async def test_closing_an_app_whose_loop_has_ended_forgets_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = WsApp()

    def abandon() -> None:
        with asyncio.Runner() as runner:
            runner.run(app.listen(0))
            for server in app._life.listener._listening if app._life.listener else []:
                server.close()

    await asyncio.to_thread(abandon)
    await app.close()
    assert app.health().state == "closed"
    assert app.stats()["connections"] == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    with pytest.raises(NotRunning):
        app.room("r")
    async with app.serving():
        assert app.health().state == "up"


@pytest.mark.parametrize("transport", [None, "memory://"])
async def test_every_documented_counter_is_there_before_while_and_after_it_runs(
    transport: str | None, connect: Connect
) -> None:
    app = WsApp(broadcast_transport=transport)
    app.on_message("ping", "/", lambda: "pong")
    documented = set(re.findall(r"^ *``(\w+)``  ", WsApp.stats.__doc__ or "", re.MULTILINE))
    before = app.stats()
    assert before == dict.fromkeys(documented, 0)
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("ping", "/") == "pong"
        assert app.stats().keys() == documented
        assert app.stats()["connections"] == 1
    assert app.stats().keys() == documented
    assert app.stats()["replies"] == 1


async def test_waiting_for_the_close_of_what_does_not_run_returns_at_once() -> None:
    app = WsApp()
    async with asyncio.timeout(DEADLINE):
        await app._life.until_closed()
        async with app.serving():
            waiting = asyncio.create_task(app._life.until_closed())
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        await app._life.until_closed()


async def test_an_app_that_closes_cannot_start_before_that_has_ended(connect: Connect) -> None:
    app = WsApp()
    gate, reached = asyncio.Event(), asyncio.Event()

    @app.on_message("wait", "/")
    async def wait() -> None:
        reached.set()
        await gate.wait()

    async with asyncio.timeout(DEADLINE):
        address = await app.listen(0)
        peer = await connect(address)
        peer.send("wait", "/")
        await reached.wait()
        closing = asyncio.create_task(app.close())
        await peer.close()
        assert not closing.done()
        with pytest.raises(NotRunning, match=r"wait for close\(\)"):
            await app.listen(0)
        gate.set()
        await closing
        async with app.serving():
            assert app.health().state == "up"


async def test_connections_that_cannot_be_ended_do_not_hold_up_the_close_and_are_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.instance.GIVEN_UP", 0.02)
    app = WsApp(shutdown_timeout=0.02)
    release = asyncio.Event()
    left: set[asyncio.Task[None]] = set()
    cancelled = 0

    @app.on_disconnect
    async def never_ends() -> None:
        nonlocal cancelled
        task = asyncio.current_task()
        assert task is not None
        left.add(task)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                cancelled += 1

    async with asyncio.timeout(DEADLINE):
        async with app.serving() as address:
            await connect(address)
            await connect(address)
        release.set()
        await asyncio.wait(left)
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert errors == ["2 connections could not be ended in time"]
    assert len(left) == 2
    assert cancelled == 2 * 2  # as what may be a handler, and as on_disconnect


def test_included_hooks_come_first_and_may_grow() -> None:
    origin, twin, third = Hooks[int](), Hooks[int](), Hooks[int]()
    twin.append(3)
    twin.include(origin)
    third.include(twin)
    origin.append(1)
    origin.append(2)
    assert list(origin) == [1, 2]
    assert list(twin) == list(third) == [1, 2, 3]


async def test_an_app_that_does_not_run_says_that_a_replica_of_it_does(connect: Connect) -> None:
    app = WsApp()
    told: list[str] = []

    @app.on_message("ask", "/")
    def ask() -> None:
        with pytest.raises(NotRunning) as refused:
            app.room("/")
        told.append(str(refused.value))

    replica = app.replica()
    async with replica.serving() as address:
        peer = await connect(address)
        await peer.call("ask", "/")
    with pytest.raises(NotRunning, match="inside 'async with"):
        app.room("/")
    assert "replica() of it in a Cluster: there use_ws_server()" in told[0]

"""``Life``: what ``test_app.py`` does not see: loops that ended, figures of what does not run."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import NotRunning, WsApp
from wsrooms.life import Hooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixture of conftest.py

DEADLINE = 5.0


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


def test_included_hooks_come_first_and_may_grow() -> None:
    origin, twin, third = Hooks[int](), Hooks[int](), Hooks[int]()
    twin.append(3)
    twin.include(origin)
    third.include(twin)
    origin.append(1)
    origin.append(2)
    assert list(origin) == [1, 2]
    assert list(twin) == list(third) == [1, 2, 3]

"""What the core does for the kit: an order in everything, a loop's own clock, visitors."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from wsrooms import NotRunning, WsApp, WsError, use_ws_rooms
from wsrooms.connection import JoinOrder
from wsrooms.testing import (
    Disconnected,
    VirtualTimeLoop,
    connect_client,
    prepare_test_ws_message_context,
)
from wsrooms.testing.clients.quiet import is_quiet, until_quiet
from wsrooms.turns import Turns

if TYPE_CHECKING:
    from wsrooms.server.settings import ServerOptions

HERE: ServerOptions = {}


def test_importing_wsrooms_imports_neither_the_kit_nor_the_client() -> None:
    listing = "import wsrooms, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", listing], text=True).split()
    assert "wsrooms.app" in modules
    assert "wsrooms.testing" not in modules
    assert "wsrooms.client" not in modules


def test_the_kit_needs_no_pytest() -> None:
    listing = "import wsrooms.testing, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", listing], text=True).split()
    assert "pytest" not in modules


def test_rooms_are_iterated_in_the_order_of_joining() -> None:
    rooms = JoinOrder()
    names = [f"room {number}" for number in range(50)]
    for count, name in enumerate(names, 1):
        rooms.add(name)
        assert list(rooms) == rooms.in_order() == names[:count]
    rooms.discard(names[0])
    rooms.add(names[0])
    assert [*rooms] == [*names[1:], names[0]]
    assert rooms == set(names)


async def test_connections_end_in_the_order_in_which_they_came() -> None:
    app = WsApp()
    async with app._visited(HERE) as door:
        clients = [connect_client(app) for _ in range(5)]
        ids = [(await client.__aenter__()).connection_id for client in clients]
        ends = [end.get_protocol() for end in door.server.sockets()]
        assert [end.connection.id for end in ends] == ids  # type: ignore[attr-defined]  # each is a ServerConnection
        for client in clients:
            await client.__aexit__(None, None, None)
        assert door.server.sockets() == []


async def test_an_id_is_a_uuid_on_every_loop() -> None:
    app = WsApp()
    async with connect_client(app) as ann:
        assert uuid.UUID(ann.connection_id).version == 4


def test_on_virtual_time_turns_go_by_the_loops_clock() -> None:
    loop = VirtualTimeLoop(seed=1)

    async def main() -> tuple[float, float, int | None]:
        turns = Turns(loop, contextvars.copy_context())
        before = turns.clock()
        await asyncio.sleep(7)
        app = WsApp()
        async with connect_client(app) as ann:
            return before, turns.clock(), uuid.UUID(ann.connection_id).version

    assert loop.run_until_complete(main()) == (0, 7, 4)
    loop.close()


async def test_a_visit_to_an_app_that_is_closing_is_refused() -> None:
    app = WsApp()
    await app._life.start()
    closing = asyncio.ensure_future(app.close())
    await asyncio.sleep(0)
    with pytest.raises(NotRunning):
        async with connect_client(app):
            raise AssertionError("it was let in")
    await closing
    async with connect_client(app):
        assert app.health().state == "up"


async def test_an_app_that_somebody_serves_on_outlives_its_visitors() -> None:
    app = WsApp()
    async with connect_client(app):
        await app.listen(0)
    assert app.health().state == "up", "who listens closes it"
    await app.close()


async def test_an_app_is_at_rest_when_nothing_is_on_its_way_and_nobody_works() -> None:
    app = WsApp(shutdown_timeout=0.05)
    go_on = asyncio.Event()

    @app.on_message("work", "/")
    async def work() -> None:
        await go_on.wait()
        use_ws_rooms().broadcast("done", exclude_self=False)

    async with connect_client(app) as ann, app._visited(HERE) as door:
        await until_quiet(door.instance, door.server, 1)
        assert is_quiet(door.instance, door.server)
        ann.send("work", "/")
        assert not is_quiet(door.instance, door.server), "the frame is on its way"
        with pytest.raises(TimeoutError, match="1 connections have messages"):
            await until_quiet(door.instance, door.server, 0.01)
        go_on.set()
        await until_quiet(door.instance, door.server, 1)
        app.broadcast("news", "/")
        assert not is_quiet(door.instance, door.server), "it is in the buffer"
        await until_quiet(door.instance, door.server, 1)
        assert ann.unread == 1
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0):
                await until_quiet(door.instance, door.server, 1)
        assert str(caught.value) == "", "another's deadline is not its own"


def test_a_stand_in_is_reached_only_while_nothing_runs() -> None:
    app = WsApp()
    with prepare_test_ws_message_context(event="e", path="/", app=app) as ctx:
        assert app.server.connections() == {ctx.connection}
        assert app.health().state == "closed"
    del ctx
    with pytest.raises(NotRunning):
        app.server.connections()


def test_thousands_of_contexts_one_after_the_other_leave_no_trace_in_one_that_is_held() -> None:
    app = WsApp()
    with prepare_test_ws_message_context(event="e", path="/", app=app) as held:
        held.connection.join("kept")
        for _ in range(3000):
            with prepare_test_ws_message_context(event="e", path="/", app=app):
                assert len(app.room("kept")) == 1


async def test_nothing_is_kept_of_clients_that_were_refused() -> None:
    app = WsApp()

    @app.on_connect
    def refuse() -> None:
        raise WsError(403)

    async with app._visited(HERE) as door:
        for _ in range(2):
            with pytest.raises(Disconnected):
                async with connect_client(app):
                    pass
        assert door.instance.watchers == {}

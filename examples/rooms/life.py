"""How connections and apps end, what can be seen of them, and several instances of one app."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wsrooms import (
    ConfigurationError,
    MemoryTransport,
    WsApp,
    WsConnection,
    WsLimits,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)
from wsrooms.testing import Disconnected, connect_client


# --8<-- [start:membership_ends]
async def test_a_connection_that_closes_receives_no_more_broadcasts() -> None:
    ws = WsApp()

    @ws.on_message("quit", "/:room")
    async def quit() -> None:
        rooms, connection = use_ws_rooms(), use_ws_connection()
        await rooms.join()
        rooms.broadcast("said", "still here", exclude_self=False)
        connection.close(1000, "bye")
        rooms.broadcast("said", "too late", exclude_self=False)

    async with connect_client(ws) as ann:
        ann.send("quit", "/tea")
        assert (await ann.receive())["data"] == "still here"
        with pytest.raises(Disconnected) as ended:
            await ann.receive()
        assert (ended.value.code, ended.value.reason) == (1000, "bye")


# --8<-- [end:membership_ends]


# --8<-- [start:close_code]
async def test_close_code_tells_why_a_connection_ended() -> None:
    ws = WsApp()
    ended: asyncio.Queue[int | None] = asyncio.Queue()

    @ws.on_message("close", "/")
    def close() -> None:
        use_ws_connection().close(4000, "you asked for it")
        use_ws_connection().close(4001)  # the first call wins

    @ws.on_disconnect
    def disconnected() -> None:
        ended.put_nowait(use_ws_connection().close_code)

    async with ws.serving():
        async with connect_client(ws) as ann:
            ann.send("close", "/")
            with pytest.raises(Disconnected):
                await ann.receive()
        assert await ended.get() == 4000  # ours, if we closed
        async with connect_client(ws) as bob:
            await bob.close(4321)
        assert await ended.get() == 4321  # else the client's


# --8<-- [end:close_code]


# --8<-- [start:linger]
async def test_messages_that_wait_still_run_before_on_disconnect() -> None:
    ws = WsApp()
    arrived, go_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    done: list[str] = []
    known: list[WsConnection] = []

    @ws.on_message("work", "/:what")
    async def work() -> None:
        arrived.set()
        await go_on.wait()
        done.append(use_ws_message().path)

    @ws.on_disconnect
    def disconnected() -> None:
        done.append("goodbye")
        known.extend(ws.server.connections())
        over.set()

    async with ws.serving():
        async with connect_client(ws) as ann:
            ann.send("work", "/one")
            ann.send("work", "/two")
            await arrived.wait()
            await ann.close(timeout=0.05)  # does not wait for the end
            go_on.set()  # at most 5 s after the client has gone
        await over.wait()
        assert done == ["/one", "/two", "goodbye"]
        assert len(known) == 1
        assert not ws.server.connections()  # then it is forgotten


# --8<-- [end:linger]


# --8<-- [start:app_close]
async def test_closing_the_app_ends_everybody_with_1001() -> None:
    ws = WsApp()
    arrived, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    @ws.on_message("work", "/")
    async def work() -> str:
        arrived.set()
        await go_on.wait()
        done.append("work")
        return "done"

    @ws.on_disconnect
    def disconnected() -> None:
        done.append("goodbye")

    async with ws.serving(), connect_client(ws) as ann:
        ann.send("work", "/", id=1)
        await arrived.wait()
        closing = asyncio.create_task(ws.close())
        with pytest.raises(Disconnected) as ended:
            await ann.receive()
        assert ended.value.code == 1001
        go_on.set()  # handlers have shutdown_timeout
        await closing
        assert done == ["work", "goodbye"]
        assert ws.health().state == "closed"


# --8<-- [end:app_close]


# --8<-- [start:signals]
PROGRAM = """
from wsrooms import WsApp

ws = WsApp()
ws.run(port=0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_run_ends_with_status_0_on_a_signal(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(PROGRAM)
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            [sys.executable, program], stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr is not None
            for line in server.stderr:
                if "listening on ws://" in line:
                    break
            server.send_signal(number)
            server.stderr.read()
            assert server.wait(timeout=10) == 0


# --8<-- [end:signals]


# --8<-- [start:slow_closed]
async def test_a_client_that_does_not_read_is_closed_with_4008() -> None:
    ws = WsApp(limits=WsLimits(outbox_bytes=100_000))
    async with connect_client(ws) as ann, connect_client(ws) as bob:
        ann.pause_reading()
        for number in range(100):  # a megabyte
            ws.broadcast("news", "/", [number, "x" * 10_000])
            assert (await bob.receive())["data"][0] == number  # nobody else waits
        ann.resume_reading()
        assert (await ann.closed())[0] == 4008
        assert ws.stats()["slow_clients"] == 1


# --8<-- [end:slow_closed]


# --8<-- [start:slow_dropped]
async def test_or_it_misses_pushes_and_never_a_reply() -> None:
    ws = WsApp(limits=WsLimits(outbox_bytes=100_000, slow_client="drop_oldest"))

    @ws.on_message("hello", "/")
    def hello() -> str:
        return "hello"

    async with connect_client(ws) as ann, connect_client(ws) as bob:
        ann.pause_reading()
        ann.send("hello", "/", id=1)
        for number in range(100):
            ws.broadcast("news", "/", [number, "x" * 10_000])
            await bob.receive()
        ann.resume_reading()
        assert await ann.call("hello", "/") == "hello"
        dropped = ws.stats()["dropped_slow"]
        heard = [await ann.receive() for _ in range(1 + 100 - dropped)]
        assert {"id": 1, "data": "hello"} in heard
        assert heard[-1]["data"][0] == 99  # the newest are there
        assert dropped > 0


# --8<-- [end:slow_dropped]


# --8<-- [start:seeing]
async def test_health_and_stats_tell_what_goes_on() -> None:
    ws = WsApp()

    @ws.on_message("join", "/:room")
    async def join() -> None:
        await use_ws_rooms().join()

    assert ws.health().state == "closed"
    async with connect_client(ws) as ann, connect_client(ws):
        assert ws.health().state == "up"
        await ann.call("join", "/tea")
        await ann.call("join", "/cake")
        ann.send_raw("this is no JSON")
        await ann.receive_nothing()
        stats = ws.stats()
        assert (stats["connections"], stats["rooms"], stats["memberships"]) == (2, 2, 2)
        assert (stats["replies"], stats["dropped_json"]) == (2, 1)
    assert ws.stats()["connections"] == 0  # and the counters stay to be looked at
    assert ws.stats()["connections_total"] == 2


# --8<-- [end:seeing]


# --8<-- [start:replica]
async def test_a_replica_shares_the_declarations_and_no_state() -> None:
    ws = WsApp(broadcast_transport=MemoryTransport())

    @ws.on_message("who", "/")
    def who() -> int:
        return len(ws.server.connections())

    @ws.on_message("join", "/:room")
    async def join() -> None:
        await use_ws_rooms().join()

    twin = ws.replica(limits=WsLimits(rooms_per_connection=1))  # any option may differ
    async with connect_client(ws) as ann, connect_client(twin) as bob:
        assert twin.routes() == ws.routes()
        await ann.call("join", "/tea")
        await bob.call("join", "/tea")
        assert len(ws.room("/tea")) == len(twin.room("/tea")) == 1
        ws.room("/tea").broadcast("said", "one bus")  # the twin's transport is on the same one
        assert (await bob.receive())["data"] == "one bus"


# --8<-- [end:replica]


# --8<-- [start:own_transport]
def test_two_apps_never_share_a_transport_object() -> None:
    transport = MemoryTransport()
    first = WsApp(broadcast_transport=transport)
    with pytest.raises(ConfigurationError, match="transport"):
        WsApp(broadcast_transport=transport)
    assert first.health().state == "closed"


# --8<-- [end:own_transport]

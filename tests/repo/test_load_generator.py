"""The load generator of `make bench`: it sees what a server does wrong."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE, promised
from tests.repo.bench import ROOT, needs_compiler
from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = f"{promised(1.0):g}"
"""Seconds, of which somebody else may have the machine for a few tenths."""


async def compiled(folder: Path) -> str:
    wsload = str(folder / "wsload")
    source = str(ROOT / "benchmarks/native/wsload.c")
    gcc = await asyncio.create_subprocess_exec("gcc", "-O1", "-o", wsload, source, "-lm")
    assert await gcc.wait() == 0
    return wsload


@needs_compiler
async def test_a_crowd_sees_joins_that_are_refused_and_connections_that_end(tmp_path: Path) -> None:
    wsload = await compiled(tmp_path)
    ws = WsApp()

    @ws.on_message("join", "/*")
    def join() -> bool:
        if use_ws_message().path.endswith("2"):
            raise WsError(403)
        return True

    @ws.on_message("echo", "/*")
    def echo() -> None:
        use_ws_connection().close()

    async def step(line: str) -> dict[str, int]:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(line.encode())
        async with asyncio.timeout(DEADLINE):
            told: dict[str, int] = json.loads(await clients.stdout.readline())
        return told

    async with ws.serving() as address:
        clients = await asyncio.create_subprocess_exec(
            *(wsload, "crowd", "--port", str(address.port), "--conns", "9"),
            *("--timeout", f"{promised(4):.0f}"),  # of which a step takes all that nobody answers
            *("--join", '{"event":"join","path":"%ROOM%","id":%ID%}'),
            *("--rpc", '{"event":"echo","path":"/x","data":"%DATA%"}'),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert (await step("open 9\n"))["done"] == 9
        joined = await step("join 0 4 1 1 0\n")  # the rooms 0 to 3
        assert (joined["done"], joined["refused"], joined["closed"]) == (4, 1, 0)
        left = await step("close 4 2\n")
        assert (left["done"], left["closed"]) == (2, 0)
        asked = await step("request 0 1\n")  # without an id, so nobody answers
        assert (asked["done"], asked["closed"]) == (0, 1)
        await clients.communicate(b"")  # closes its standard input, and so ends it
        assert clients.returncode == 0


@needs_compiler
async def test_the_load_generator_sees_what_a_wrong_server_does(tmp_path: Path) -> None:
    wsload = await compiled(tmp_path)
    ws = WsApp()

    @ws.on_message("join", "/*")
    def join() -> bool:
        use_ws_rooms().join()
        return True

    @ws.on_message("message", "/*")
    def message() -> None:
        data: str = use_ws_message().data
        if int(data[7:17]) % 5:  # the sequence number: every fifth is lost
            use_ws_rooms().broadcast("message", data, exclude_self=False)

    async with ws.serving() as address:
        load = await asyncio.create_subprocess_exec(
            *(wsload, "fan", "--port", str(address.port), "--rooms", "2", "--members", "3"),
            *("--rate", "100", "--warm", "0", "--secs", WINDOW, "--drain", WINDOW),
            *("--join", '{"event":"join","path":"%ROOM%","id":0}'),
            *("--msg", '{"event":"message","path":"%ROOM%","data":"%DATA%"}'),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE):
            told = json.loads((await load.communicate())[0])
    assert told["to_sender"] > 0
    assert told["out_of_order"] > 0
    assert told["wrong_room"] == 0
    assert told["closed"] == 0

"""The JavaScript of the how-tos, run by node against a real server."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.deadlines import DEADLINE
from wsrooms import WsApp, WsError

from .programs import EXAMPLES, ROOT, client, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCENES = Path(__file__).with_name("browser_client.mjs")


@cache
def node() -> list[str]:
    """The command of a node that has a browser's WebSocket: 22, or 20 with a flag."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not on this machine's PATH")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    major, minor = map(int, said.stdout.strip().removeprefix("v").split(".")[:2])
    if (major, minor) < (20, 10):
        pytest.skip(f"node {major}.{minor} has no WebSocket: it needs 20.10")
    return [program] if major >= 22 else [program, "--no-warnings", "--experimental-websocket"]


class Page:
    """What a scene tells."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines

    async def tells(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            line = await self._lines.readline()
        assert line, "the page has ended"
        return json.loads(line)

    async def tells_in_the_end(self, *facts: object) -> None:
        """Pass over what comes before."""
        while await self.tells() != [*facts]:
            pass


@asynccontextmanager
async def page(scene: str, url: str) -> AsyncIterator[Page]:
    command = await asyncio.to_thread(node)
    process = await asyncio.create_subprocess_exec(
        *command, str(SCENES), scene, url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Page(process.stdout)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


FIGURES = ["connections", "cpu_ms", "messages"]


async def test_a_link_calls_hears_pushes_and_comes_back_to_a_server_that_was_gone() -> None:
    module = load("dashboard.py")
    app = module.ws.replica(lifespan=None)
    vars(module)["ws"] = app
    address = await app.listen(0)
    async with page("dashboard", address.url) as dashboard:
        assert await dashboard.tells() == ["up", FIGURES]
        assert await dashboard.tells() == ["error", 404, "Not found"]
        assert await dashboard.tells() == ["sent", True]
        app.room("/dashboard").broadcast("figures", module.figures(app))
        assert await dashboard.tells() == ["push", "figures", "/dashboard"]

        await app.close()
        down = await dashboard.tells()
        assert (down[:2], down[3]) == (["down", False], False)  # what is sent now is not sent
        await app.listen(address.port)
        await dashboard.tells_in_the_end("up", FIGURES)

        [connection] = app.server.connections()
        connection.close(1011, "once more")
        await dashboard.tells_in_the_end("down", False, "once more", False)
        await dashboard.tells_in_the_end("up", FIGURES)
    await app.close()


async def test_a_link_that_is_refused_is_told_why_and_does_not_try_again() -> None:
    app = load("private_rooms.py").ws.replica(lifespan=None)
    async with app.serving() as address, page("dashboard", address.url) as stranger:
        assert await stranger.tells() == ["down", True, "log in first", False]
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(AssertionError, match="the page has ended"):
                await stranger.tells()  # nothing keeps node running: no timer, no socket
        assert app.stats()["connections_total"] == 1


async def test_an_error_that_up_does_not_catch_is_told_and_the_link_is_tried_again() -> None:
    app = WsApp()

    @app.on_message("join", "/dashboard")
    def join() -> None:
        raise WsError(403, "not a member")

    async with app.serving() as address, page("dashboard", address.url) as dashboard:
        for _ in range(2):
            assert await dashboard.tells() == ["down", False, "not a member", False]


async def test_a_call_that_is_not_answered_ends_the_link_which_is_tried_again() -> None:
    async def never_answer(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(never_answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with page("silent", f"ws://127.0.0.1:{port}") as silent:
            for _ in range(2):
                lost = "the connection was lost before an answer came"
                await silent.tells_in_the_end("gave up", lost)


async def test_a_server_that_takes_a_connection_and_says_nothing_is_tried_again() -> None:
    came: asyncio.Queue[None] = asyncio.Queue()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.put_nowait(None)
        try:
            while await reader.read(1000):
                pass
        finally:  # there may be more of them than the test waits for
            writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with page("silent", f"ws://127.0.0.1:{port}") as silent, asyncio.timeout(DEADLINE):
            await came.get()
            await silent.tells_in_the_end("down")
            await came.get()


async def test_a_board_shows_snapshot_and_updates_each_once_and_in_order() -> None:
    module = load("snapshot.py")
    read = module.read
    asked = 0

    async def read_while_others_write(board: str) -> object:
        nonlocal asked
        asked += 1
        if asked == 1:
            await set_and_tell(module, board, "title", "in the snapshot")
        found = await read(board)
        if asked == 1:
            await set_and_tell(module, board, "title", "after the snapshot")
        return found

    vars(module)["read"] = read_while_others_write
    async with module.ws.serving() as address, page("board", address.url) as board:
        assert await board.tells() == ["board", 1, {"title": "in the snapshot"}]
        assert await board.tells() == ["board", 2, {"title": "after the snapshot"}]
        async with client(address.url) as ann:
            await ann.send("set", "/boards/plan", data={"key": "owner", "value": "ann"})
            both = {"title": "after the snapshot", "owner": "ann"}
            assert await board.tells() == ["board", 3, both]
        await module.write("/boards/plan", "lost", "on the way")  # nobody is told
        await set_and_tell(module, "/boards/plan", "next", "arrives")
        everything = {**both, "lost": "on the way", "next": "arrives"}
        assert await board.tells() == ["board", 5, everything]
    assert asked == 2


async def set_and_tell(module: Any, board: str, key: str, value: str) -> None:
    version = await module.write(board, key, value)
    update = {"version": version, "key": key, "value": value}
    module.ws.room(board).broadcast("changed", update)


def test_the_small_scripts_do_what_their_pages_say() -> None:
    units = Path(__file__).with_name("browser_units.mjs")
    run = subprocess.run([*node(), str(units)], capture_output=True, text=True, timeout=DEADLINE)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 6


def test_every_script_of_the_examples_is_run_here() -> None:
    tests = "".join(one.read_text("utf-8") for one in Path(__file__).parent.glob("*.mjs"))
    for script in (EXAMPLES / "browser").glob("*.js"):
        assert f'from "../../examples/browser/{script.name}"' in tests


@pytest.mark.parametrize("page_", sorted(ROOT.glob("docs/howto/*.md")), ids=lambda one: one.name)
def test_the_how_tos_show_no_script_but_files_that_run_here(page_: Path) -> None:
    for block in re.findall(r"^```js\n(.*?)^```", page_.read_text("utf-8"), re.M | re.S):
        assert block.startswith('--8<-- "examples/browser/'), block

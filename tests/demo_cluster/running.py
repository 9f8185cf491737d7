"""``python -m demo_cluster`` as a process of its own, and what its page would do with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

from demo_cluster.brokers import BROKERS, NotHere
from tests.brokers.record import missing

ROOT = Path(__file__).resolve().parents[2]
LOOK_AGAIN = 0.05
NAMES = ("one", "two", "three")


class Peer:
    """A client that speaks the wire protocol; pushes that come before a reply wait."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._id = 0
        self._pushes: asyncio.Queue[Any] = asyncio.Queue()

    async def call(self, event: str, path: str, data: object = None) -> Any:
        """The result; an error as ``(code, message)``."""
        self._id += 1
        message = {"event": event, "path": path, "data": data, "id": self._id}
        async with asyncio.timeout(DEADLINE):
            await self._socket.send(json.dumps(message))
            while "id" not in (got := json.loads(await self._socket.recv())):
                self._pushes.put_nowait(got)
        assert got["id"] == self._id
        error = got.get("error")
        return (error["code"], error["message"]) if error else got["data"]

    async def push(self, event: str) -> Any:
        """The data of the next push of this event; others are passed over."""
        async with asyncio.timeout(DEADLINE):
            while True:
                waiting = not self._pushes.empty()
                got = (
                    self._pushes.get_nowait() if waiting else json.loads(await self._socket.recv())
                )
                if got["event"] == event:
                    return got.get("data")

    async def end(self) -> tuple[int | None, str | None]:
        """The code and reason of its end."""
        async with asyncio.timeout(DEADLINE):
            await self._socket.wait_closed()
        return self._socket.close_code, self._socket.close_reason


class Demo:
    """The demo; ``panel`` is its buttons, as the page has them."""

    panel: Peer

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.host = url.removeprefix("http://").removesuffix("/")

    @asynccontextmanager
    async def connect(
        self, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Peer]:
        """A client at the front; by default as its page would come."""
        given = {"Origin": f"http://{self.host}"} if headers is None else headers
        url = f"ws://{self.host}{path}"
        async with connect(url, compression=None, additional_headers=given) as socket:
            yield Peer(socket)

    @asynccontextmanager
    async def member(self, room: str = "/chat/general") -> AsyncIterator[Peer]:
        """Somebody in the room."""
        async with self.connect() as peer:
            assert await peer.call("hello", "/chat", {"name": "Ann"})
            assert isinstance(await peer.call("join", room), list)
            yield peer

    async def becomes(self, fine: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The parts by name, once they are so; told by pushes."""
        snapshot = await self.panel.call("watch", "/fleet")
        while True:
            parts = {part["name"]: part for part in snapshot["parts"]}
            if fine(parts):
                return parts
            snapshot = await self.panel.push("fleet")

    async def heal(self) -> dict[str, Any]:
        """Start what is down, and return once all is up."""
        parts = await self.becomes(lambda parts: True)
        for name, part in parts.items():
            if part["state"] == "down":
                assert await self.panel.call("restart", f"/fleet/{name}") is None
        return await self.becomes(all_up)

    async def processes(self) -> list[str]:
        """The command lines of the fleet, its keepers included: all name the broker's port."""
        parts = await self.becomes(lambda parts: True)
        return await asyncio.to_thread(commands_with, self.broker_port(parts))

    @staticmethod
    def broker_port(parts: Mapping[str, Any]) -> str:
        port = re.search(r":(\d+)", parts["broker"]["url"].split("//")[1])
        assert port is not None
        return port[1]


def all_up(parts: Mapping[str, Any]) -> bool:
    return {part["state"] for part in parts.values()} == {"up"}


def commands_with(port: str) -> list[str]:
    """What runs on this machine with this port on its command line."""
    listed = subprocess.run(["ps", "-Awwo", "command="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if re.search(rf"\b{port}\b", line)]


def nothing_runs_with(port: str) -> None:
    """Return once that is so; the system tells nobody of the end of other's children."""
    limit = time.monotonic() + DEADLINE
    while left := commands_with(port):
        assert time.monotonic() < limit, left
        time.sleep(LOOK_AGAIN)


def started(*arguments: str) -> Demo:
    """Return when it has printed its address; its parts may still be starting.

    The first argument names the broker; where that is not installed, it is missing.
    """
    try:
        BROKERS[arguments[0] if arguments else "redis"].command(0)
    except NotHere as error:
        missing(str(error))
    path = [str(ROOT), *(str(Path(each).resolve()) for each in sys.path if each)]
    process = subprocess.Popen(
        [sys.executable, "-m", "demo_cluster", "--port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+", line):
            return Demo(process, found[0])
    raise AssertionError("it ended without an address")


def end(demo: Demo, number: int = signal.SIGINT) -> int:
    """Its status after this signal."""
    demo.process.send_signal(number)
    try:
        return demo.process.wait(DEADLINE)
    finally:
        demo.process.kill()
        demo.process.communicate()

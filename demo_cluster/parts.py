"""The broker and the instances: processes that are killed, that die, and that come back.

Each runs under a keeper, in a process group of its own: what ends the group ends both, and
Ctrl+C on a terminal reaches neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_cluster.brokers import HOST, Broker, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Literal

    State = Literal["up", "starting", "reconnecting", "down"]

ROOT = Path(__file__).resolve().parent.parent
KEEPER = Path(__file__).with_name("keeper.py")
LOOK_AGAIN = 0.05
LONGEST_LINE = 1 << 20
PIECE = 65_536


class Part(ABC):
    """One process of the fleet, on and off.

    Attributes:
        name: What people call it, and its buttons.
        why: While it is down, what ended it.
    """

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        """Take its name, and whom to tell when its state is another."""
        self.name = name
        self.why = "not started yet"
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._working: set[asyncio.Task[bool]] = set()
        self._said: deque[str] = deque(maxlen=1)

    @property
    def runs(self) -> bool:
        """Whether there is a process, however it feels."""
        return self._process is not None

    @property
    @abstractmethod
    def state(self) -> State:
        """How it is."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What is run."""

    @abstractmethod
    async def follow(self, said: asyncio.StreamReader) -> None:
        """Learn how it is from what it says, until that ends."""

    def facts(self) -> dict[str, Any]:
        """What the page shows of it."""
        return {"name": self.name, "state": self.state, "why": self.why}

    async def restart(self) -> None:
        """Kill it if it runs, and start it; how it is then comes later.

        It is done to its end, also where whoever asked for it has gone meanwhile.
        """
        await self._to_its_end(self._restart())

    async def kill(self, why: str = "killed by its button") -> bool:
        """End it as the system does when memory runs out; return whether it ran.

        It is done to its end, as a restart.
        """
        return await self._to_its_end(self._kill(why))

    async def _to_its_end(self, work: Coroutine[Any, Any, bool]) -> bool:
        task = asyncio.create_task(work, name=f"a button of {self.name}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return await asyncio.shield(task)

    async def _restart(self) -> bool:
        async with self._one_at_a_time:
            ran = await self._end("restarted")
            await self._start()
            return ran

    async def _kill(self, why: str) -> bool:
        async with self._one_at_a_time:
            return await self._end(why)

    async def _start(self) -> None:
        self.why = ""
        self._said.clear()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(KEEPER), *self.command()),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._complaints(),
                limit=LONGEST_LINE,
                start_new_session=True,
            )
        except OSError as error:
            self.why = f"cannot be started: {error}"
            self._changed()
            raise
        self._process = process
        self._following = asyncio.create_task(self._follow(process), name=f"follow {self.name}")
        self._changed()

    def _complaints(self) -> int | None:
        """Where its standard error goes: None is this terminal."""
        return None

    async def _end(self, why: str) -> bool:
        process, following = self._process, self._following
        if process is None or following is None:
            return False
        self.why = why
        kill_group(process.pid)
        await asyncio.wait([following])
        return True

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Stay with it until its end, and say what that was."""
        assert process.stdout is not None
        try:
            await self.follow(process.stdout)
        except ValueError as error:  # a line too long, or no report: it would wait to be heard
            self.why = self.why or f"said what cannot be read ({error})"
            kill_group(process.pid)
            while await process.stdout.read(PIECE):
                """Its end comes after all that it has said."""
        status = await process.wait()
        self._process = self._following = None
        if not self.why:
            last = f": {self._said[-1]}" if self._said else ""
            self.why = f"ended by itself ({told(status)}){last}"
        self._changed()


class BrokerPart(Part):
    """The broker, always on the same port."""

    def __init__(self, broker: Broker, changed: Callable[[], None]) -> None:
        """Choose its port; NotHere if the program is missing."""
        super().__init__("broker", changed)
        self.broker = broker
        self.port = free_port()
        self.url = broker.url(self.port)
        self._command = broker.command(self.port)
        self._serves = False

    @property
    def state(self) -> State:
        """It is up from when it takes connections."""
        return ("up" if self._serves else "starting") if self.runs else "down"

    def command(self) -> Sequence[str]:
        """The broker's own."""
        return self._command

    def facts(self) -> dict[str, Any]:
        """With what it is, and where."""
        return {**super().facts(), "title": self.broker.title, "url": self.url}

    def _complaints(self) -> int | None:
        return asyncio.subprocess.STDOUT

    async def follow(self, said: asyncio.StreamReader) -> None:
        """Knock until it answers; of what it says keep the last line, for its end."""
        knocking = asyncio.create_task(self._knock(), name="knock at the broker")
        try:
            async for line in said:
                self._said.append(line.decode("utf-8", "replace").strip())
        finally:
            knocking.cancel()
            await asyncio.gather(knocking, return_exceptions=True)
            self._serves = False

    async def _knock(self) -> None:
        while not self._serves:
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(LOOK_AGAIN)
                continue
            writer.close()
            self._serves = True
            self._changed()


class InstancePart(Part):
    """One instance: what it says of itself, several times a second, is its state."""

    def __init__(self, name: str, url: str, changed: Callable[[], None]) -> None:
        """``url`` is the broker's."""
        super().__init__(name, changed)
        self._url = url
        self._report: dict[str, Any] = {}

    @property
    def state(self) -> State:
        """``health()`` in words of this page: without its broker it is reconnecting."""
        if not self.runs:
            return "down"
        if not self._report:
            return "starting"
        return "up" if self._report["state"] == "up" else "reconnecting"

    @property
    def port(self) -> int | None:
        """Where it takes connections; None while it takes none."""
        return self._report.get("port") if self.runs else None

    @property
    def rooms(self) -> dict[str, int]:
        """How many of each room are on it."""
        rooms: dict[str, int] = self._report.get("rooms", {})
        return rooms

    def command(self) -> Sequence[str]:
        """The chat, with this name and broker."""
        return [sys.executable, "-m", "demo_cluster.instance", self.name, self._url]

    def facts(self) -> dict[str, Any]:
        """With what it counts."""
        counts = ("pid", "connections", "received", "gaps", "reconnects")
        return {
            **super().facts(),
            "error": self._report.get("error"),
            **{key: self._report.get(key, 0) for key in counts},
        }

    async def follow(self, said: asyncio.StreamReader) -> None:
        """Take each report."""
        try:
            async for line in said:
                report = json.loads(line)
                if report != self._report:
                    self._report = report
                    self._changed()
        finally:
            self._report = {}


def kill_group(leader: int) -> None:
    """Kill all of a process group, which may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def told(status: int) -> str:
    """The end of a keeper's program, for a person."""
    number = -status if status < 0 else status - 128
    if number <= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"status {status}"

"""A server process as its test holds it: started, asked, told to end, killed by its pid."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.nursery import Nursery

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of an answer."""

BAD_SIGNS = ("Traceback", "Exception ignored", "Warning", "was never awaited", "was destroyed")
"""What a process that ran well has not written to its log."""


class ProcessFailed(AssertionError):
    """A server process did not start, or ended unasked; the text has its log."""


class Process:
    """One server process; :meth:`start` makes it.

    Attributes:
        name: Its own, in histories too.
        publisher: What others call it in a gap.
        port: Where it serves.
        log: The file of its standard error.
        pid: Of the process, for signals.
        status: With which it has ended; minus the signal that killed it.
        closed: What it told of its end: ``seconds``, ``tasks``, ``descriptors``, ``stats``.
    """

    def __init__(
        self,
        name: str,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        log: Path,
        on_told: Callable[[dict[str, Any]], None],
    ) -> None:
        self.name = name
        self.pid = 0
        self.publisher: str | None = None
        self.port = 0
        self.log = log
        self.status: int | None = None
        self.closed: dict[str, Any] | None = None
        self._reader, self._writer = line
        self._on_told = on_told
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        loop = asyncio.get_running_loop()
        self._serving: asyncio.Future[None] = loop.create_future()
        self._reading = loop.create_task(self._read(), name=f"what {name} tells")

    @classmethod
    async def start(
        cls,
        nursery: Nursery,
        name: str,
        url: str,
        log: Path,
        *,
        on_told: Callable[[dict[str, Any]], None] = lambda told: None,
        options: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        port: int = 0,
    ) -> Process:
        """Start one and wait until it serves.

        Args:
            nursery: Where it is made: of another build, for a process of that.
            name: Its name.
            url: Of its broker, with the transport's options.
            log: A file for its standard error, with its whole path.
            on_told: Is given what it tells unasked, such as ``{"told": "gap", …}``.
            options: Of its app.
            limits: Of its app.
            port: Where it serves; 0 is any.

        Raises:
            ProcessFailed: It could not start; the text says why.
        """
        given = {
            "url": url,
            "log": str(log),
            "options": dict(options or {}),
            "limits": None if limits is None else dict(limits),
            "port": port,
        }
        line = await asyncio.open_unix_connection(nursery.address, limit=LONGEST_LINE)
        process = cls(name, line, log, on_told)
        try:
            process._write(given)
            async with asyncio.timeout(DEADLINE):
                await process._serving
        except BaseException:
            await process.kill()
            raise
        return process

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.status is None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}"

    async def _read(self) -> None:
        async for line in self._reader:
            told = json.loads(line)
            match told.get("told"):
                case None:
                    self._answered(told)
                case "born":
                    self.pid = told["pid"]
                case "serving":
                    self.port, self.publisher = told["port"], told["publisher"]
                    self._serving.set_result(None)
                case "failed":
                    self._serving.set_exception(self._failure(f"did not start: {told['error']}"))
                case "closed":
                    self.closed = told
                case "ended":
                    self.status = told["status"]
                case _:
                    self._on_told(told)
        self._writer.close()
        failure = self._failure("has ended")
        for waiting in (self._serving, *self._asked.values()):
            if not waiting.done():
                waiting.set_exception(failure)
        self._asked.clear()

    def _write(self, what: object) -> None:
        self._writer.write(json.dumps(what).encode() + b"\n")

    def _answered(self, told: dict[str, Any]) -> None:
        asked = self._asked.pop(told["id"], None)
        if asked is None or asked.done():
            return  # whoever asked has given up
        if "error" in told:
            asked.set_exception(AssertionError(f"{self.name} was asked in vain: {told['error']}"))
        else:
            asked.set_result(told["result"])

    def _failure(self, what: str) -> ProcessFailed:
        return ProcessFailed(f"{self.name} {what}\n{self.log_text()}")

    def log_text(self) -> str:
        """What it has written to its standard error."""
        if not self.log.exists():
            return ""
        return self.log.read_text("utf-8", errors="replace")

    async def ask(self, do: str, *, timeout: float = DEADLINE, **arguments: Any) -> Any:
        """Let it do something (``program.Commands``) and return what comes of it."""
        number = next(self._ids)
        asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._write({"id": number, "do": do, "with": arguments})
            async with asyncio.timeout(timeout):
                return await asked
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not answer to {do} within {timeout} s") from None
        finally:
            self._asked.pop(number, None)

    async def until(self, state: str, timeout: float = DEADLINE) -> float:
        """Wait until its health is in ``state``; return the machine's clock of that moment."""
        moment: float = await self.ask("until", state=state, timeout=timeout)
        return moment

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP or SIGCONT."""
        if self.runs and self.pid:
            os.kill(self.pid, number)

    async def ended(self, timeout: float = DEADLINE) -> int:
        """Wait until it has ended and all that it told is read; return its status."""
        async with asyncio.timeout(timeout):
            await asyncio.wait([self._reading])
        self._reading.result()
        assert self.status is not None, "the nursery has ended"
        return self.status

    async def kill(self) -> None:
        """End it without a word; harmless if it has ended."""
        self.signal(signal.SIGKILL)
        await self.ended()
        if self._serving.done() and not self._serving.cancelled():
            self._serving.exception()  # seen: whoever kills it knows

    async def stop(self) -> int:
        """Let it close in order, and return its status; harmless if it has ended.

        A process that cannot is killed, and the TimeoutError tells of it.
        """
        try:
            if self.runs:
                self._writer.write_eof()
            return await self.ended()
        except TimeoutError:
            await self.kill()
            raise TimeoutError(f"{self.name} did not end:\n{self.log_text()}") from None

    def assert_clean(self) -> None:
        """It has ended in order, left nothing behind and complained of nothing."""
        told = self.log_text()
        assert self.status == 0, told
        assert self.closed is not None, told
        assert not self.closed["tasks"], self.closed["tasks"]
        assert self.closed["descriptors"] == 0, f"{self.closed['descriptors']} are still open"
        assert not any(sign in told for sign in BAD_SIGNS), told

    def __repr__(self) -> str:
        return f"<Process {self.name} {self.pid}>"

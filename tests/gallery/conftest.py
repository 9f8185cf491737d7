"""What a test of the gallery has: its mistake, made as a user would, and what the user then sees.

Each test here is one mistake. Its docstring is what ``docs/errors.md`` says about it: the title,
"Why:" and "Remedy:". The code that it gives to ``mistake`` is run as ``app.py`` and shown as it
is; what is shown as its outcome is what came of it in this run, and is asserted to the letter.
``tools/errors_page.py`` runs these tests to write the page.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import socket
import sys
import textwrap
import traceback
import types
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.brokers import Server
    from wsrooms import WsApp

IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids of connections, which are other ones in every run."""


@dataclass
class Step:
    """One piece of code and what came of it."""

    code: str
    raised: str = ""
    log: list[str] = field(default_factory=list)
    client: list[str] = field(default_factory=list)


class Client:
    """A client that speaks the wire protocol; what it receives is part of what is seen."""

    def __init__(self, socket: ClientConnection, mistake: Mistake) -> None:
        self._socket = socket
        self._mistake = mistake

    async def call(
        self, event: str, path: str, *, show: bool = True, **members: object
    ) -> list[str]:
        """Send a message with an id and wait for its reply; returns what is seen of it."""
        await self.send(json.dumps({"event": event, "path": path, **members, "id": 1}), show=show)
        reply = await self.receive()
        if show:
            self._mistake.received(f"← {reply}")
        return self._mistake.step.client

    async def send(self, frame: str, *, show: bool = True) -> None:
        """Send a frame as it is."""
        await self._socket.send(frame)
        if show:
            self._mistake.received(f"→ {frame}")

    async def handled(self) -> None:
        """Wait until all that was sent has been handled."""
        async with asyncio.timeout(DEADLINE):
            await (await self._socket.ping())

    async def receive(self) -> str:
        """The next frame."""
        async with asyncio.timeout(DEADLINE):
            return str(await self._socket.recv())

    async def closed(self) -> tuple[int, str]:
        """Wait for the end, which is seen; returns its code and reason."""
        async with asyncio.timeout(DEADLINE):
            await self._socket.wait_closed()
        code, reason = self._socket.close_code or 1006, self._socket.close_reason or ""
        self._mistake.received(f"closed: {code} {reason}")
        return code, reason


class Mistake:
    """One mistake: the code that makes it, and what is seen of it."""

    def __init__(self, name: str, docstring: str, caplog: pytest.LogCaptureFixture) -> None:
        title, _, rest = inspect.cleandoc(docstring).partition("\n")
        why, _, remedy = rest.partition("Remedy:")
        self.name = name
        self.title = title.removesuffix(".")
        self.why = " ".join(why.strip().removeprefix("Why:").split())
        self.remedy = " ".join(remedy.split())
        assert self.why, f"{name} does not say why"
        assert self.remedy, f"{name} does not say what to do"
        self.steps: list[Step] = []
        self.level = logging.WARNING
        self._caplog = caplog
        self._told = 0
        self._plain: dict[str, str] = {}
        self._meant: dict[str, str] = {}

    def says(self, made: object, shown: str) -> None:
        """What is shown in place of ``made``, which is another one in every run."""
        self._plain[str(made)] = shown

    def means(self, shown: str, made: object) -> None:
        """Run code with ``made`` where it says ``shown``."""
        self.says(made, shown)
        self._meant[shown] = str(made)

    @property
    def step(self) -> Step:
        """The last piece of code."""
        return self.steps[-1]

    # Running code

    def runs(self, code: str) -> Any:
        """Run ``code`` as ``app.py``, which goes well; returns the module."""
        code = textwrap.dedent(code).strip() + "\n"
        self.steps.append(Step(code))
        for shown, made in self._meant.items():
            code = code.replace(shown, made)
        module = types.ModuleType("app")
        sys.modules["app"] = module
        exec(compile(code, "app.py", "exec", dont_inherit=True), vars(module))
        return module

    def raises(self, code: str) -> str:
        """Run ``code`` as ``app.py``; returns what Python prints when that fails."""
        try:
            self.runs(code)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - to see it is what we are here for
            return self._raised(error)
        raise AssertionError("it went well")

    async def main_raises(self, code: str) -> str:
        """Run ``code`` and its ``async def main()``; returns what Python prints then."""
        module = self.runs(code)
        try:
            await module.main()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - likewise
            return self._raised(error)
        raise AssertionError("it went well")

    def _raised(self, error: BaseException) -> str:
        if isinstance(error, SystemExit):
            text = str(error.code)
        else:
            text = "".join(traceback.format_exception_only(error)).strip()
        self.step.raised = self._as_shown(text)
        return self.step.raised

    # Serving what it has made

    @asynccontextmanager
    async def serving(self, app: WsApp, **options: Any) -> AsyncIterator[str]:
        """Serve ``app``; gives its URL."""
        async with app.serving(**options) as address:
            self.says(address.port, "8000")
            yield address.url

    @asynccontextmanager
    async def broker(self, address: str, server: Server) -> AsyncIterator[None]:
        """Run ``server`` at the address that the code says."""
        async with server:
            self.means(address, f"{server.host}:{server.port}")
            yield

    @asynccontextmanager
    async def client(self, app: WsApp) -> AsyncIterator[Client]:
        """Serve ``app`` and connect to it."""
        async with self.serving(app) as url, self.connected(url) as client:
            yield client

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[Client]:
        """Connect to ``url``."""
        async with connect(url, compression=None) as socket:
            yield Client(socket, self)

    async def http_get(self, url: str) -> str:
        """Ask for a page where there is a WebSocket; returns the answer, which is seen."""
        host, port = url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        status = head.partition("\r\n")[0].partition(" ")[2]
        return self.received(f"{status}: {body.strip()}")

    def received(self, text: str) -> str:
        """What a client got or sent is seen; returns it."""
        self.step.client.append(self._as_shown(text))
        return self.step.client[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until ``condition`` holds."""
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - turns of the loop are what it waits for
                await asyncio.sleep(0)

    async def logged(self, lines: int) -> None:
        """Wait until so many lines are logged that :meth:`log` tells."""
        await self.until(lambda: len(self._records()) >= lines)

    def _records(self) -> list[logging.LogRecord]:
        return [
            record
            for record in self._caplog.records[self._told :]
            if record.name == "wsrooms" and record.levelno >= self.level
        ]

    def log(self, containing: str = "") -> list[str]:
        """The lines of the log since the last call, with the last line of a traceback."""
        records = self._records()
        self._told = len(self._caplog.records)
        for record in records:
            if containing not in record.getMessage():
                continue
            line = f"{record.levelname} {record.getMessage()}"
            if record.exc_info and record.exc_info[1] is not None:
                last = "".join(traceback.format_exception_only(record.exc_info[1])).strip()
                line += f"\nTraceback (most recent call last):\n  ...\n{last}"
            self.step.log.append(self._as_shown(line))
        return self.step.log

    def forget_log(self) -> None:
        """Let go of the tracebacks in the log, and of all that they hold."""
        self._caplog.clear()
        self._told = 0

    def _as_shown(self, text: str) -> str:
        for made, shown in self._plain.items():
            text = text.replace(made, shown)
        return IDS.sub("5f0c…", text)


@pytest.fixture
def mistake(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Mistake]:
    """Give the mistake that the test's docstring is about; it goes to the page that is made."""
    caplog.set_level(logging.DEBUG, "wsrooms")
    mistake = Mistake(request.node.name, request.function.__doc__ or "", caplog)
    yield mistake
    sys.modules.pop("app", None)
    page = request.config.pluginmanager.get_plugin("errors page")
    if page is not None:
        page.take(request.path.stem, mistake)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Give a port at which nothing listens; kept from others meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]

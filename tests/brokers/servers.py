"""One broker: how it is started, killed, stopped and found ready, as a process or a container."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.brokers.certificates import Certificates
from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST, ReservedPort
from tests.brokers.record import started

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT = 20.0
LOOK_AGAIN = 0.005


class DidNotStart(Exception):
    """A broker that ended, or did not answer in time; the text is what it said."""


@dataclass(frozen=True)
class Setup:
    """What kind of broker to run, and with what."""

    #: The arguments that make it listen at a host and a port.
    listen: Callable[[str, int], Sequence[str]]
    #: Returns once the server at this port answers; raises OSError while it does not.
    answers: Callable[[Server], Awaitable[None]]
    arguments: Sequence[str] = ()
    #: Written into its folder, which is its working directory.
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    scheme: str = ""
    tls: bool = False


class Server(ABC):
    """A broker of one test, on one port of 127.0.0.1 from first to last.

    ``async with`` starts it and, at the end, kills it. Its methods return when what they
    say is true: a started one answers, a killed one is gone. Settings and port are the
    same each time; what was stored in it is lost with its process.

    Attributes:
        host: 127.0.0.1.
        port: Its port; connections are refused while it does not run.
        name: Which program it is and how it runs, for a person.
        folder: Its working directory, the same path inside a container.
        certificates: Those that it speaks TLS with, if it does.
    """

    host = HOST

    def __init__(self, setup: Setup, name: str) -> None:
        self.setup = setup
        self.name = name
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.folder = Path(tempfile.mkdtemp(prefix="wsrooms-"))
        guardian.watch("folder", self.folder)
        for file, text in setup.files.items():
            (self.folder / file).write_text(text, "utf-8")
        self.certificates = Certificates(self.folder) if setup.tls else None

    @property
    def url(self) -> str:
        """Where it is, without a login."""
        return f"{self.setup.scheme}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            DidNotStart: It ended instead, or was silent for 20 s.
        """
        await asyncio.to_thread(self._start)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                # A process tells nobody when it is ready.
                while not await self._answers():  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError:
            log = await asyncio.to_thread(self._log)
            raise DidNotStart(f"{self.name} is silent:\n{log}") from None
        started[self.name] += 1

    async def kill(self) -> None:
        """SIGKILL, also while it is stopped."""
        await asyncio.to_thread(self._kill)

    async def restart(self) -> None:
        """``kill()`` and ``start()``."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """SIGSTOP: it keeps its connections, takes new ones, and says nothing."""
        await asyncio.to_thread(self._signal, signal.SIGSTOP)

    async def cont(self) -> None:
        """SIGCONT, after ``stop()``."""
        await asyncio.to_thread(self._signal, signal.SIGCONT)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._end))
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._end))

    async def _answers(self) -> bool:
        try:
            await self.setup.answers(self)
        except OSError:
            if not await asyncio.to_thread(self._runs):
                log = await asyncio.to_thread(self._log)
                if self.certificates and "TLS support" in log:
                    pytest.skip(f"{self.name} is built without TLS")
                raise DidNotStart(f"{self.name} ended:\n{log}") from None
            return False
        return True

    def _end(self) -> None:
        self._kill()
        self._reserved.release()
        shutil.rmtree(self.folder)
        guardian.forget("folder", self.folder)

    # What follows may block.

    @abstractmethod
    def _start(self) -> None: ...
    @abstractmethod
    def _kill(self) -> None:
        """Nothing happens where it does not run."""

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None: ...
    @abstractmethod
    def _runs(self) -> bool: ...
    @abstractmethod
    def _log(self) -> str: ...


class ProcessServer(Server):
    """A broker that is a child process."""

    def __init__(self, setup: Setup, program: Path, origin: str) -> None:
        super().__init__(setup, f"{version_of(program)} {origin}")
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        assert self._process is None, "it runs already"
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *self.setup.listen(HOST, self.port), *self.setup.arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        guardian.watch("process", self._process.pid)

    def _kill(self) -> None:
        if self._process is None:
            return
        # Forgotten before it is reaped: from then on its number may be another's.
        guardian.forget("process", self._process.pid)
        self._process.kill()
        self._process.wait()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")


@cache
def version_of(program: Path) -> str:
    """Its name and version, such as ``valkey 9.1.2``."""
    said = subprocess.check_output([program, "--version"], text=True)
    words = said.split()
    [version] = [word.removeprefix("v=") for word in words if word.startswith("v=")]
    return f"{words[0].lower()} {version}"

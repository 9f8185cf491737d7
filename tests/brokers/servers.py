"""One broker: how it is started, killed, stopped and found ready, whatever it runs as."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.brokers.certificates import Certificates
from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST, ReservedPort
from tests.brokers.record import started, unable
from tests.deadlines import promised

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT = promised(90.0)
LOOK_AGAIN = 0.005
TRIES = 3


class DidNotStart(Exception):
    """A broker that ended, or did not answer in time; the text is what it said."""


@dataclass(frozen=True)
class Setup:
    """What kind of broker to run, and with what."""

    #: The arguments that make a server listen, at its ports and where its runner says.
    listen: Callable[[Server], Sequence[str]]
    #: Returns once the server answers; raises OSError while it does not.
    answers: Callable[[Server], Awaitable[None]]
    arguments: Sequence[str] = ()
    #: Written into its folder, which is its working directory.
    files: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])
    scheme: str = ""
    tls: bool = False
    #: How many ports it listens at.
    ports: int = 1
    #: The network of Docker's on which containers know each other's names.
    network: str | None = None
    #: Seconds that its start may take.
    patience: float = START_TIMEOUT
    #: Seconds between two looks whether it answers.
    look_again: float = LOOK_AGAIN


class Runner(ABC):
    """What a server runs as. All of it may block.

    Attributes:
        name: Which program it is and how it runs, for a person.
        listens_at: The address at which it is to listen.
        host: Where another server that runs likewise finds this one, at its ports.
    """

    name: str
    listens_at: str
    host: str

    @abstractmethod
    def start(self, server: Server) -> None:
        """Start it, also again; whether it is ready the caller finds out."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL; nothing happens where it does not run."""

    @abstractmethod
    def signal(self, number: signal.Signals) -> None:
        """Send the running one a signal."""

    @abstractmethod
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""

    @abstractmethod
    def log(self) -> str:
        """What it has said, as far as that is kept."""

    def end(self) -> None:
        """Kill it, and leave nothing of it."""
        self.kill()


class Server:
    """A broker of one test, on the same ports of 127.0.0.1 from first to last.

    ``async with`` starts it and, at the end, kills it. Its methods return when what they
    say is true: a started one answers, a killed one is gone. Settings and ports are the
    same each time; what was stored in it is lost with its process.

    Attributes:
        host: 127.0.0.1.
        port: Its port; connections are refused while it does not run.
        ports: That, and its others if it has more; a container's are the same inside.
        name: Which program it is and how it runs, for a person.
        folder: Its working directory, the same path inside a container.
        certificates: Those that it speaks TLS with, if it does.
        awake: Whether it was started, and neither killed nor stopped since.
    """

    host = HOST
    awake = False

    def __init__(self, setup: Setup, runner: Runner) -> None:
        self.setup = setup
        self.runner = runner
        self.name = runner.name
        self._reserved = [ReservedPort() for _ in range(setup.ports)]
        self.ports = [reserved.number for reserved in self._reserved]
        self.port = self.ports[0]
        self.folder = Path(tempfile.mkdtemp(prefix="wsrooms-"))
        guardian.watch("folder", self.folder)
        for file, content in setup.files.items():
            data = content.encode() if isinstance(content, str) else content
            (self.folder / file).write_bytes(data)
        self.certificates = Certificates(self.folder) if setup.tls else None

    @property
    def url(self) -> str:
        """Where it is, without a login."""
        return f"{self.setup.scheme}://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """All arguments of its program."""
        return [*self.setup.listen(self), *self.setup.arguments]

    def release_ports(self) -> None:
        """Let others have its ports while it does not run."""
        for reserved in self._reserved:
            reserved.release()

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            DidNotStart: It ended instead, or was silent for too long.
        """
        for _ in range(TRIES - 1):
            try:
                return await self._start()
            except DidNotStart as error:
                # In a container of a network Docker's own resolver listens too, where it likes.
                if not self.setup.network or "address already in use" not in str(error).lower():
                    raise
        return await self._start()

    async def _start(self) -> None:
        await asyncio.to_thread(self.runner.start, self)
        try:
            async with asyncio.timeout(self.setup.patience):
                # A process tells nobody when it is ready.
                while not await self._answers():  # noqa: ASYNC110
                    await asyncio.sleep(self.setup.look_again)
        except TimeoutError:
            log = await asyncio.to_thread(self.runner.log)
            raise DidNotStart(f"{self.name} is silent:\n{log}") from None
        self.awake = True
        started[self.name] += 1

    async def kill(self) -> None:
        """SIGKILL, also while it is stopped."""
        self.awake = False
        await asyncio.to_thread(self.runner.kill)

    async def restart(self) -> None:
        """``kill()`` and ``start()``."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """SIGSTOP: it keeps its connections, takes new ones, and says nothing."""
        self.awake = False
        await asyncio.to_thread(self.runner.signal, signal.SIGSTOP)

    async def cont(self) -> None:
        """SIGCONT, after ``stop()``."""
        await asyncio.to_thread(self.runner.signal, signal.SIGCONT)
        self.awake = True

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
            if not await asyncio.to_thread(self.runner.runs):
                log = await asyncio.to_thread(self.runner.log)
                if self.certificates and "TLS support" in log:
                    unable(self.name, "TLS")
                raise DidNotStart(f"{self.name} ended:\n{log}") from None
            return False
        return True

    def _end(self) -> None:
        self.runner.end()
        self.release_ports()
        shutil.rmtree(self.folder)
        guardian.forget("folder", self.folder)

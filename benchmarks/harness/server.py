"""One program from start to stop, and what the kernel tells about it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from benchmarks.harness.contenders import NODE_MODULES, Contender
from benchmarks.harness.results import MADE

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.harness.machine import Cores

__all__ = ["START_WITHIN", "Failed", "Process", "ServerProcess", "Watched", "free_port"]

START_WITHIN = 20.0

GLANCE = 0.03
"""Seconds between two looks at whether a server still works."""

STIR = 0.001
"""Seconds of CPU in a glance that are no work: a timer, a look at the clock."""


class Failed(Exception):
    """A measurement gave no figures; the text says why."""


class Watched:
    """What the kernel tells about a running program.

    Attributes:
        pid: Its number.
    """

    pid: int

    def resident_kb(self) -> int:
        """Its resident memory.

        Raises:
            Failed: It has ended.
        """
        try:
            status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        except OSError as error:
            raise Failed("it has ended") from error
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) if found else 0

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads until now, to the nanosecond.

        Raises:
            Failed: It has ended.
        """
        # What clock_getcpuclockid(3) gives; Python has no name for it.
        clock = (~self.pid << 3) | 2
        try:
            return time.clock_gettime(clock)
        except OSError as error:
            raise Failed("it has ended") from error

    def idle_share(self, seconds: float = 0.2) -> float:
        """The share of a core that it takes now: of heartbeats, say."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / seconds

    def rest(self, idle: float = 0, within: float = 20) -> None:
        """Wait until it has nothing left to do, beside what it takes when it is idle."""
        give_up = time.monotonic() + within
        still = 0
        while still < 2 and time.monotonic() < give_up:
            began, before = time.monotonic(), self.cpu_seconds()
            time.sleep(GLANCE)
            expected = idle * (time.monotonic() - began)
            still = still + 1 if self.cpu_seconds() - before < expected + STIR else 0


class Process(Watched):
    """A program that listens on a port of 127.0.0.1, from start to stop.

    Attributes:
        port: Where it listens.
        log: What it says.
    """

    def __init__(
        self, command: list[str], port: int, log: str, *, within: float = START_WITHIN
    ) -> None:
        """Start it and wait until it accepts.

        Raises:
            Failed: It does not.
        """
        self.port = port
        self.log = MADE / "logs" / f"{log}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES), "NODE_ENV": "production"}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait_until_it_accepts(within)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_accepts(self, within: float) -> None:
        give_up = time.monotonic() + within
        while not self.accepts():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise Failed(f"it did not start: {_last_line(self.log)}")
            time.sleep(0.02)

    def accepts(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it; whatever it does at its end is not measured."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class ServerProcess(Process):
    """A server on a free port."""

    def __init__(
        self,
        contender: Contender,
        cores: Cores,
        *,
        under: Sequence[str] = (),
        within: float = START_WITHIN,
        role: str = "",
        beside_load: bool = False,
        places: Mapping[str, str] | None = None,
    ) -> None:
        """Start it and wait until it accepts.

        Args:
            contender: Which server.
            cores: Where servers and load run.
            under: Another program that runs it.
            within: Seconds until it must accept.
            role: What it is among several of its kind.
            beside_load: It runs on the core of the load, not on its own.
            places: What stands for further ``{names}`` of its command.

        Raises:
            Failed: It does not.
        """
        port = free_port()
        command = list(contender.command)
        for name, value in {"port": str(port), **(places or {})}.items():
            command = [part.replace(f"{{{name}}}", value) for part in command]
        pinned = cores.pinned([*under, *command], load=beside_load)
        super().__init__(
            pinned, port, "-".join(filter(None, (contender.name, role))), within=within
        )


def _last_line(log: Path) -> str:
    """What a program said last, without the folder that this repository happens to be in."""
    lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    return lines[-1].replace(f"{MADE.parents[1]}{os.sep}", "")[:200]


def free_port() -> int:
    """A port below those that the system hands out: nobody else gets it until the server is up."""
    for port in Random().sample(range(20000, 30000), 100):
        with socket.socket() as one:
            # As servers do: a port whose last connections are still ending is free.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("100 ports of this machine are in use")

"""Runs servers and loads them; every method gives the figures of one measurement."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.harness.contenders import NODE_MODULES, Contender
from benchmarks.harness.machine import Cores
from benchmarks.harness.results import BINARIES, MADE, Calls, Idle, Load, Run
from benchmarks.harness.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Bench", "Failed", "ServerProcess"]

START_WITHIN = 20.0
LOAD_WITHIN = 90.0

CALLS = (
    "raw_syscalls:sys_enter",
    *("syscalls:sys_enter_sendto", "syscalls:sys_enter_sendmsg"),
    *("syscalls:sys_enter_write", "syscalls:sys_enter_writev"),
    *("syscalls:sys_enter_epoll_wait", "syscalls:sys_enter_epoll_pwait"),
    "syscalls:sys_enter_epoll_ctl",
)
SENDS = ("sendto", "sendmsg", "write", "writev")


class Failed(Exception):
    """A measurement gave no figures; the text says why."""


class ServerProcess:
    """A server on a free port of 127.0.0.1, from start to stop."""

    def __init__(self, contender: Contender, cores: Cores) -> None:
        """Start it and wait until it accepts.

        Raises:
            Failed: It does not.
        """
        self.port = _free_port()
        log = MADE / "logs" / f"{contender.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [part.replace("{port}", str(self.port)) for part in contender.command]
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES), "NODE_ENV": "production"}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                cores.pinned(command),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait_until_it_accepts(log)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_accepts(self, log: Path) -> None:
        give_up = time.monotonic() + START_WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    raise Failed(f"it did not start: {_last_line(log)}") from None
                time.sleep(0.02)

    def resident_kb(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) if found else 0

    def stop(self) -> None:
        """End it; whatever it does at its end is not measured."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How this run measures.

    Attributes:
        cores: Where server and load run.
        seconds: The length of a window.
        warm: Seconds of load before it.
        idle_connections: How many are silent in the scenario "idle".
    """

    cores: Cores
    seconds: float
    warm: float
    idle_connections: int

    def start(self, contender: Contender) -> ServerProcess:
        """The server of ``contender``, accepting."""
        return ServerProcess(contender, self.cores)

    def measure(
        self, contender: Contender, scenario: Scenario, server: ServerProcess, repetition: int
    ) -> Run:
        """One measurement; a failure is one of its results."""
        run = Run(server=contender.name, scenario=scenario.name, repetition=repetition)
        try:
            if scenario.name == "idle":
                run.idle = self.idle(contender, server)
            elif scenario.name == "syscalls":
                run.calls = self.calls(contender, server)
            else:
                run.load = self.load(contender, scenario, server)
        except Failed as error:
            run.error = str(error)
        return run

    def load(
        self,
        contender: Contender,
        scenario: Scenario,
        server: ServerProcess,
        seconds: float | None = None,
    ) -> Load:
        """Load ``server`` for one window.

        Raises:
            Failed: There are no figures.
        """
        mode, *rest = scenario.load
        window = ("--warm", str(self.warm), "--secs", str(seconds or self.seconds))
        words = [mode, "--port", str(server.port), *rest, *window, "--pid", str(server.pid)]
        if self.cores.server is not None:
            words += ["--core", str(self.cores.server)]
        words += contender.dialect.arguments(mode)
        try:
            done = subprocess.run(
                self._wsload(*words), capture_output=True, text=True, timeout=LOAD_WITHIN
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {LOAD_WITHIN:g} s") from None
        return msgspec.convert(_told(done.stdout), Load)

    def idle(self, contender: Contender, server: ServerProcess) -> Idle:
        """Memory for many silent connections.

        Raises:
            Failed: They could not be made.
        """
        words = ["--port", str(server.port), *contender.dialect.arguments("idle")]
        # A few first: what a server loads for its first client is not the price of each.
        subprocess.run(
            self._wsload("idle", *words, "--conns", "20", "--hold", "0.2"), capture_output=True
        )
        time.sleep(0.5)
        before = server.resident_kb()
        many = ["--conns", str(self.idle_connections), "--hold", "60", "--timeout", "60"]
        clients = subprocess.Popen(
            self._wsload("idle", *words, *many), stdout=subprocess.PIPE, text=True
        )
        try:
            assert clients.stdout is not None
            told = _told(clients.stdout.readline())
            time.sleep(1)
            full = server.resident_kb()
        finally:
            clients.kill()
            clients.communicate()
        return Idle(
            connections=int(told["ready"]),
            failed=int(told["failed"]),
            base_kb=before,
            full_kb=full,
            connect_s=told["connect_s"],
        )

    def calls(self, contender: Contender, server: ServerProcess) -> Calls:
        """System calls for each delivery, at burst 1 and at burst 20.

        Raises:
            Failed: ``perf`` cannot count them here.
        """
        if shutil.which("perf") is None:
            raise Failed("perf is not on PATH")
        return Calls(
            burst1=self._calls_under(contender, SCENARIOS["fan1"], server),
            burst20=self._calls_under(contender, SCENARIOS["fan20"], server),
        )

    def _calls_under(
        self, contender: Contender, scenario: Scenario, server: ServerProcess
    ) -> dict[str, float]:
        span = 0.8
        count = f"sleep 2; exec perf stat -x, -e {','.join(CALLS)} -p {server.pid} sleep {span}"
        perf = subprocess.Popen(["sh", "-c", count], stderr=subprocess.PIPE, text=True)
        try:
            load = self.load(contender, scenario, server, seconds=3)
        finally:
            told = perf.communicate(timeout=20)[1]
        counts: dict[str, float] = {}
        for line in told.splitlines():
            fields = line.split(",")
            if len(fields) > 3 and fields[0].isdigit():
                name = fields[2].rpartition("sys_enter")[2].strip("_") or "total"
                counts[name] = int(fields[0]) / (load.rate * span)
        if "total" not in counts:
            raise Failed("perf may not count system calls here (it needs root)")
        return counts

    def _wsload(self, *words: str) -> list[str]:
        return self.cores.pinned([str(BINARIES / "wsload"), *words], load=True)


def _last_line(log: Path) -> str:
    """What a program said last, without the folder that this repository happens to be in."""
    lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    return lines[-1].replace(f"{MADE.parents[1]}{os.sep}", "")[:200]


def _told(line: str) -> dict[str, float]:
    try:
        told: dict[str, float] = json.loads(line.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"wsload said {line[:100]!r}") from None
    if "error" in told:
        raise Failed(str(told["error"]))
    return told


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

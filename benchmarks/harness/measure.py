"""Loads servers; every method gives the figures of one measurement."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from benchmarks.harness import crowd
from benchmarks.harness.instructions import Callgrind, Perf, counter_for, perf_can_count
from benchmarks.harness.machine import Cores
from benchmarks.harness.results import Calls, Idle, Instructions, Level, Load, Run
from benchmarks.harness.scenarios import COUNTED, SCENARIOS, Scenario
from benchmarks.harness.server import Failed, ServerProcess
from benchmarks.harness.wsload import told, wsload

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender

__all__ = ["Bench", "Paused", "counted_calls", "loaded"]

LOAD_WITHIN = 90.0

SHARES = (0.2, 0.4, 0.6, 0.8)
"""Of what a server can do: where latencies are measured."""

MESSAGES = 20
"""In a window at a fixed rate, at least: a slow server gets a longer one."""

COUNT_FOR = 3
"""Seconds at least in which instructions are counted: what is done once must not weigh."""

CALLS = (
    "raw_syscalls:sys_enter",
    *("syscalls:sys_enter_sendto", "syscalls:sys_enter_sendmsg"),
    *("syscalls:sys_enter_write", "syscalls:sys_enter_writev"),
    *("syscalls:sys_enter_epoll_wait", "syscalls:sys_enter_epoll_pwait"),
    "syscalls:sys_enter_epoll_ctl",
)
SENDS = ("sendto", "sendmsg", "write", "writev")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How this run measures.

    Attributes:
        cores: Where server and load run.
        seconds: The length of a window.
        warm: Seconds of load before it.
        idle_connections: How many are silent in the scenario "idle".
        crowd: How many connections "memory" and "joins" have, and "disconnect" about.
        sockets: How many may be open in a process.
    """

    cores: Cores
    seconds: float
    warm: float
    idle_connections: int
    crowd: int
    sockets: int

    def start(self, contender: Contender) -> ServerProcess:
        """The server of ``contender``, accepting."""
        return ServerProcess(contender, self.cores)

    def can(self, contender: Contender, scenario: Scenario) -> bool:
        """Whether this server can be measured in this scenario here."""
        made_at_run_time = bool(contender.node) or contender.go is not None
        if scenario.kind == "instructions" and made_at_run_time and not perf_can_count():
            return False
        return contender.answers(scenario)

    def measure(
        self, contender: Contender, scenario: Scenario, server: ServerProcess, repetition: int
    ) -> Run:
        """One measurement; a failure is one of its results."""
        run = Run(server=contender.name, scenario=scenario.name, repetition=repetition)
        try:
            match scenario.kind:
                case "load":
                    run.load = self.load(contender, scenario, server)
                case "idle":
                    run.idle = self.idle(contender, server)
                case "calls":
                    run.calls = self.calls(contender, server)
                case "memory":
                    run.memory = crowd.memory(contender, server, self.cores, self.crowd)
                case "joins":
                    run.joins = crowd.joins(contender, server, self.cores, self.crowd)
                case "disconnect":
                    sizes = crowd.Sizes.up_to(self.crowd, self.sockets)
                    run.disconnect = crowd.disconnects(contender, self.cores, sizes)
                case "levels":
                    run.load, run.levels = self.levels(contender, scenario, server)
                case "instructions":
                    run.instructions = self.instructions(contender)
                case _:
                    raise Failed(f"a server alone has no {scenario.kind}")
        except Failed as error:
            run.error = str(error)
        return run

    def load(
        self,
        contender: Contender,
        scenario: Scenario,
        server: ServerProcess,
        *more: str,
        seconds: float | None = None,
    ) -> Load:
        """Load ``server`` for one window; ``more`` are words for wsload.

        Raises:
            Failed: There are no figures.
        """
        return loaded(
            self._words(contender, scenario, server, *more, seconds=seconds or self.seconds)
        )

    def _words(
        self,
        contender: Contender,
        scenario: Scenario,
        server: ServerProcess,
        *more: str,
        seconds: float,
    ) -> list[str]:
        mode, *rest = scenario.load
        words = [mode, "--port", str(server.port), "--pid", str(server.pid), *rest]
        words += ["--warm", str(self.warm), "--secs", str(seconds)]
        if self.cores.server is not None:
            words += ["--core", str(self.cores.server)]
        return wsload(self.cores, *words, *more, *contender.dialect.arguments(mode))

    def levels(
        self, contender: Contender, scenario: Scenario, server: ServerProcess
    ) -> tuple[Load, list[Level]]:
        """The most that the server does, and then latencies at shares of it.

        Raises:
            Failed: There are no figures.
        """
        base = SCENARIOS[scenario.of]
        most = self.load(contender, base, server)
        found: list[Level] = []
        for share in SHARES:
            rate = share * most.rate / base.each
            if not rate:
                raise Failed(f"it did nothing in {self.seconds:g} s of {base.name}")
            steady = ("--rate", f"{rate:.3f}", "--drain", "3")
            seconds = max(self.seconds, MESSAGES / rate)
            load = self.load(contender, base, server, *steady, seconds=seconds)
            found.append(Level(share=share, load=load))
        return most, found

    def idle(self, contender: Contender, server: ServerProcess) -> Idle:
        """Memory for many silent connections.

        Raises:
            Failed: They could not be made.
        """
        words = ["--port", str(server.port), *contender.dialect.arguments("idle")]
        # A few first: what a server loads for its first client is not the price of each.
        subprocess.run(
            wsload(self.cores, "idle", *words, "--conns", "20", "--hold", "0.2"),
            capture_output=True,
        )
        time.sleep(0.5)
        before = server.resident_kb()
        many = ["--conns", str(self.idle_connections), "--hold", "60", "--timeout", "60"]
        clients = subprocess.Popen(
            wsload(self.cores, "idle", *words, *many), stdout=subprocess.PIPE, text=True
        )
        try:
            assert clients.stdout is not None
            figures = told(clients.stdout.readline())
            time.sleep(1)
            full = server.resident_kb()
        finally:
            clients.kill()
            clients.communicate()
        return Idle(
            connections=int(figures["ready"]),
            failed=int(figures["failed"]),
            base_kb=before,
            full_kb=full,
            connect_s=figures["connect_s"],
        )

    def calls(self, contender: Contender, server: ServerProcess) -> Calls:
        """System calls for each delivery, at burst 1 and at burst 20.

        Raises:
            Failed: ``perf`` cannot count them here.
        """
        return Calls(
            burst1=self._calls_under(contender, SCENARIOS["fan1"], server),
            burst20=self._calls_under(contender, SCENARIOS["fan20"], server),
        )

    def _calls_under(
        self, contender: Contender, scenario: Scenario, server: ServerProcess
    ) -> dict[str, float]:
        return counted_calls(server.pid, lambda: self.load(contender, scenario, server, seconds=3))[
            1
        ]

    def instructions(self, contender: Contender, counted: Sequence[str] = COUNTED) -> Instructions:
        """Instructions of the server outside the kernel, for each delivery or reply.

        Raises:
            Failed: They cannot be counted here.
        """
        counter = counter_for(contender, self.cores)
        each: dict[str, float] = {}
        with counter.server as server:
            for name in counted:
                if contender.answers(SCENARIOS[name]):
                    load, count = self.counted(
                        contender,
                        SCENARIOS[name],
                        counter,
                        server,
                        seconds=max(self.seconds, COUNT_FOR),
                    )
                    each[name] = count / load.received
        return Instructions(counted_by=counter.name, each=each)

    def counted(
        self,
        contender: Contender,
        scenario: Scenario,
        counter: Perf | Callgrind,
        server: ServerProcess,
        *,
        seconds: float | None = None,
    ) -> tuple[Load, int]:
        """A load, and the instructions from its first message to its last delivery.

        Raises:
            Failed: There are no figures, or wrong ones.
        """
        seconds = seconds or self.seconds
        words = self._words(contender, scenario, server, "--pause", seconds=seconds)
        with Paused(words) as clients, counter.counting() as count:
            load = clients.go()
        if load.faults:
            raise Failed(f"{scenario.name}: {load.faults}")
        return load, count()


def loaded(words: Sequence[str]) -> Load:
    """What a wsload tells at its end.

    Raises:
        Failed: There are no figures.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LOAD_WITHIN)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {LOAD_WITHIN:g} s") from None
    return msgspec.convert(told(done.stdout), Load)


def counted_calls(pid: int, load: Callable[[], Load]) -> tuple[Load, dict[str, float]]:
    """System calls of a process, by name, for each delivery of a load of some three seconds.

    Raises:
        Failed: ``perf`` cannot count them here.
    """
    if shutil.which("perf") is None:
        raise Failed("perf is not on PATH")
    span = 0.8
    count = f"sleep 2; exec perf stat -x, -e {','.join(CALLS)} -p {pid} sleep {span}"
    perf = subprocess.Popen(["sh", "-c", count], stderr=subprocess.PIPE, text=True)
    try:
        found = load()
    finally:
        said = perf.communicate(timeout=20)[1]
    counts: dict[str, float] = {}
    for line in said.splitlines():
        fields = line.split(",")
        if len(fields) > 3 and fields[0].isdigit():
            name = fields[2].rpartition("sys_enter")[2].strip("_") or "total"
            counts[name] = int(fields[0]) / (found.rate * span)
    if "total" not in counts:
        raise Failed("perf may not count system calls here (it needs root)")
    return found, counts


class Paused:
    """A wsload whose clients are connected, and wait for the word."""

    def __init__(self, words: list[str], drain: float = 60) -> None:
        # The server may be fifty times slower than usual.
        self._clients = subprocess.Popen(
            [*words, "--drain", str(drain), "--timeout", "80"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._clients.stdout is not None
        told(self._clients.stdout.readline())

    def go(self) -> Load:
        """Load; returns when everything has been delivered."""
        output, _ = self._clients.communicate("\n", timeout=LOAD_WITHIN)
        return msgspec.convert(told(output), Load)

    def __enter__(self) -> Paused:
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.kill()
        self._clients.communicate()

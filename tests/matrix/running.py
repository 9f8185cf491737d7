"""The columns side by side, each in a process of pytest's of its own.

What has ended is noted at once in ``.matrix``, so that a run that was interrupted goes on
where it was; where the code or the tests have changed meanwhile, it begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import describe
from tests.brokers import nats_server, redis_server
from tests.brokers.containers import ContainerRunner
from tests.matrix.columns import COLUMNS, ROOT, SUITES, Column, digest
from tests.matrix.plugin import notes
from tests.matrix.record import Entry, Run

__all__ = ["CHANGED", "Lanes", "Unfinished", "collected", "gathered"]

NOTES = ROOT / ".matrix"
LOOK_AGAIN = 0.5
PATIENCE = 60.0
"""Seconds that pytest has to end what it has started, once it is interrupted."""
TELL_EVERY = 30.0
CHANGED = ", changed"
ALL_CODE = ("packages", "tests")
"""What must not change while a column runs."""


class Unfinished(Exception):
    """A column that did not run to its end; the text says why."""


@dataclass(frozen=True)
class Head:
    """What is known of a run before its first test."""

    server: str
    version: str
    clients: dict[str, str]
    python: str
    machine: str
    date: str
    commit: str
    beside: int
    code: str
    everything: str

    def goes_on(self, before: dict[str, Any] | None) -> bool:
        """Whether it is of the same things as the one before, which was interrupted."""
        return before is not None and all(
            before.get(name) == value
            for name, value in asdict(self).items()
            if name not in ("date", "commit")
        )


class Job:
    """One column that runs.

    Args:
        column: Which.
        head: What it is of.
        server: That its tests are to take.
        narrow: More arguments for pytest, which take some of the tests; such a run is not kept.
    """

    def __init__(self, column: Column, head: Head, server: str, narrow: Sequence[str]) -> None:
        NOTES.mkdir(exist_ok=True)
        stem = f"some-{column.name}" if narrow else column.name
        self.column = column
        self._head = head
        self.log = NOTES / f"{stem}.log"
        self.notes = NOTES / f"{stem}.jsonl"
        kept = notes(self.notes)
        before = kept[0].get("head") if kept else None
        if narrow or not head.goes_on(before):
            self.notes.write_text(json.dumps({"head": asdict(head)}) + "\n", "utf-8")
        else:
            # A line that was cut off is none.
            self.notes.write_text("".join(json.dumps(each) + "\n" for each in kept), "utf-8")
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "-p", "tests.matrix.plugin"),
                    *(f"--matrix-bus={column.bus}", f"--matrix-notes={self.notes}"),
                    *("-p", "no:cacheprovider", "-v", *narrow, *column.tests),
                ],
                cwd=ROOT,
                env=column.environment(server),
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl+C is for the one that owns them: a second one would hit their teardown.
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def progress(self) -> str:
        """How far it is."""
        kept = notes(self.notes)
        done = sum("scenario" in each for each in kept)
        of = next((len(each["collected"]) for each in kept if "collected" in each), 0)
        return f"{self.column.name} {done} of {of}"

    def interrupt(self) -> None:
        """Let it end itself and its brokers, and wait for that."""
        if not self.ended:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def result(self) -> Run:
        """All of it.

        Raises:
            Unfinished: Tests are left.
        """
        try:
            found = gathered(notes(self.notes))
        except Unfinished as unfinished:
            raise Unfinished(
                f"{self.column.name}: pytest ended with status {self._process.returncode}, and "
                f"{unfinished}; see {self.log.relative_to(ROOT).as_posix()}"
            ) from None
        if _everything() != self._head.everything:
            raise Unfinished(f"{self.column.name}: the code has changed while it ran")
        return found

    def forget(self) -> None:
        """Its result is kept elsewhere."""
        self.notes.unlink()


def gathered(kept: list[dict[str, Any]]) -> Run:
    """The run that was noted so.

    Raises:
        Unfinished: Tests are left.
    """
    results = {each["scenario"]: each for each in kept if "scenario" in each}
    wanted: list[str] = next((each["collected"] for each in kept if "collected" in each), [])
    if not wanted:
        raise Unfinished("found no scenario: pytest's words, or what it was asked for, say why")
    left = [each for each in wanted if each not in results]
    if left:
        raise Unfinished(f"{len(left)} of {len(wanted)} scenarios are left")
    head = {name: value for name, value in kept[0]["head"].items() if name != "everything"}
    # By their own word, so that a test that takes another server is seen.
    served = {name for each in kept for name in each.get("started", ())}
    head["server"] = ", ".join(sorted(served)) or head["server"]
    entries = {
        name: Entry(each["result"], each["why"], tuple(map(_counted, each["counted"])))
        for name, each in ((name, results[name]) for name in wanted)
    }
    seconds = round(sum(each["seconds"] for each in results.values()))
    return Run(**head, seconds=seconds, entries=entries)


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "broker"}


class Lanes:
    """So many columns at once, the longest first.

    Args:
        columns: Which.
        beside: How many at once.
        narrow: More arguments for pytest, for a run of some tests that is not kept.
        done: Told of each column that has ended, with its result or what was wrong.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        beside: int,
        narrow: Sequence[str],
        done: Callable[[Job, Run | Unfinished], None],
    ) -> None:
        # The last of them takes longest to start its servers.
        self._waiting = list(columns)
        self._beside = min(beside, len(columns))
        self._narrow = narrow
        self._done = done
        self._jobs: list[Job] = []

    def run(self) -> None:
        """Until all have ended; an interrupt ends those that run, and is raised."""
        # The command may have been started with another answer to these.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        told = time.monotonic()
        try:
            while self._waiting or self._jobs:
                while self._waiting and len(self._jobs) < self._beside:
                    self._begin(self._waiting.pop())
                time.sleep(LOOK_AGAIN)
                for job in [job for job in self._jobs if job.ended]:
                    self._jobs.remove(job)
                    self._end(job)
                if self._jobs and time.monotonic() - told > TELL_EVERY:
                    told = time.monotonic()
                    print(", ".join(job.progress() for job in self._jobs), flush=True)
        finally:
            for job in self._jobs:
                job.interrupt()

    def _begin(self, column: Column) -> None:
        server = column.server()
        if server is None:
            raise SystemExit(
                f"{column.name}: there is neither Docker with {column.image} here nor "
                f"{' or '.join(column.instead)} (python -m tests.brokers lists what is here)"
            )
        job = Job(column, head(column, server, self._beside), server, self._narrow)
        self._jobs.append(job)
        print(f"{job.progress().partition(' ')[0]}: begins, on {server or 'no server'}", flush=True)

    def _end(self, job: Job) -> None:
        try:
            result: Run | Unfinished = job.result()
        except Unfinished as unfinished:
            result = unfinished
        self._done(job, result)


def head(column: Column, server: str, beside: int) -> Head:
    """What a run of it is of."""
    name, version = asyncio.run(_asked(column, server)) if column.kind else ("", "")
    return Head(
        server=name,
        version=version,
        clients={each: importlib.metadata.version(each) for each in column.clients},
        python=platform.python_version(),
        machine=describe(),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        commit=_commit(),
        beside=beside,
        code=digest(column.code),
        everything=_everything(),
    )


async def _asked(column: Column, server: str) -> tuple[str, str]:
    """How the server is called, and its version, by its own word."""
    assert column.kind is not None
    if column.bus == "kafka":
        # It tells its version to no client; the name of its image does.
        runner = await asyncio.to_thread(column.kind.runner, server)
        if isinstance(runner, ContainerRunner):
            return runner.name, server.rpartition(":")[2]
        return runner.name, _number(runner.name)
    make = nats_server if column.bus == "nats" else redis_server
    async with make(server) as running:
        reader, writer = await asyncio.open_connection(running.host, running.port)
        try:
            if column.bus == "redis":
                writer.write(b"INFO server\r\n")
                said = await reader.readuntil(b"os:")
                found = re.search(rb"valkey_version:(\S+)", said) or re.search(
                    rb"redis_version:(\S+)", said
                )
            else:
                found = re.search(rb'"version":"([^"]+)"', await reader.readline())
        finally:
            writer.close()
            await writer.wait_closed()
        assert found is not None, "the server does not tell its version"
        return running.name, found[1].decode()


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"


def _everything() -> str:
    made = hashlib.sha256()
    for folder in ALL_CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            made.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:16]


def _commit() -> str:
    git = ("git", "-C", str(ROOT))
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "--", *ALL_CODE])
        return f"{said}{CHANGED}" if changed else said
    return "?"


def collected() -> dict[str, list[str]]:
    """The scenarios of each column, by what pytest collects; no broker is asked for that."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WSROOMS_")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "list.json")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "tests.matrix.plugin", "-q"),
                *("--collect-only", f"--matrix-list={path}", "-p", "no:cacheprovider", *SUITES),
            ],
            cwd=ROOT,
            env={**plain, "DOCKER_HOST": "unix:///none"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the suites of the matrix cannot be collected:\n{done.stdout}")
        told: list[tuple[str, str]] = json.loads(path.read_text("utf-8"))
    return {
        column.name: list(dict.fromkeys(scenario for bus, scenario in told if bus == column.bus))
        for column in COLUMNS
    }

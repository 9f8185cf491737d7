"""Counts the instructions that a server runs outside the kernel.

On a machine with noisy neighbours a count says more than a time: it stays the same within a few
percent. The processor counts where ``perf`` may ask it; elsewhere (most virtual machines)
valgrind's callgrind does, fifty times slower, for servers without code that is made at run time.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.results import MADE
from benchmarks.harness.server import Failed, ServerProcess

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.machine import Cores

__all__ = ["Callgrind", "Perf", "counter_for", "perf_can_count"]

EVENT = "instructions:u"


class Perf:
    """The processor's own counter."""

    name = "perf"

    def __init__(self, contender: Contender, cores: Cores) -> None:
        self.server = ServerProcess(contender, cores)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """What the server runs meanwhile is counted; call what this gives afterwards."""
        words = ["perf", "stat", "-x,", "-e", EVENT, "-p", str(self.server.pid)]
        perf = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        told: list[str] = []
        _wait_until_it_counts(perf)
        try:
            yield lambda: _perf_count(told[0])
        finally:
            perf.send_signal(signal.SIGINT)
            told.append(perf.communicate(timeout=10)[1])


class Callgrind:
    """A processor made of software."""

    name = "callgrind"

    def __init__(self, contender: Contender, cores: Cores) -> None:
        folder = MADE / "callgrind"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{contender.name}.*"):
            old.unlink()
        self._dumps = folder / f"{contender.name}.out"
        under = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        under += [f"--callgrind-out-file={self._dumps}"]
        self.server = ServerProcess(contender, cores, under=under, within=60)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """What the server runs meanwhile is counted; call what this gives afterwards."""
        self._control("--zero")
        self._control("--instr=on")
        try:
            yield lambda: _callgrind_count(self.newest())
        finally:
            self._control("--instr=off")
            self._control("--dump")

    def newest(self) -> Path:
        """The file of what was counted last, for callgrind_annotate.

        Raises:
            Failed: Nothing was counted.
        """
        dumps = sorted(self._dumps.parent.glob(f"{self._dumps.name}.*"), key=_part)
        if not dumps:
            raise Failed("callgrind has written nothing")
        return dumps[-1]

    def _control(self, word: str) -> None:
        command = ["callgrind_control", word, str(self.server.pid)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or "OK." not in done.stdout:
            raise Failed(f"{' '.join(command[:2])}: {done.stdout}{done.stderr}"[:200])


def counter_for(contender: Contender, cores: Cores) -> Perf | Callgrind:
    """A server of ``contender`` with something that counts what it runs.

    Raises:
        Failed: Nothing can, here.
    """
    if perf_can_count():
        return Perf(contender, cores)
    if contender.node or contender.go is not None:
        raise Failed("perf cannot count instructions here, and callgrind none of such a server")
    if shutil.which("callgrind_control") is None:
        raise Failed("perf cannot count instructions here, and valgrind is not on PATH")
    return Callgrind(contender, cores)


@lru_cache
def perf_can_count() -> bool:
    if shutil.which("perf") is None:
        return False
    words = ["perf", "stat", "-x,", "-e", EVENT, "true"]
    try:
        return _perf_count(subprocess.run(words, capture_output=True, text=True).stderr) > 0
    except Failed:
        return False


def _wait_until_it_counts(perf: subprocess.Popen[str]) -> None:
    """It does not say so; the counters among its open files do."""
    give_up = time.monotonic() + 5
    files = Path(f"/proc/{perf.pid}/fd")
    while time.monotonic() < give_up and perf.poll() is None:
        if any("perf_event" in _target(file) for file in files.iterdir()):
            return
        time.sleep(0.01)
    raise Failed("perf does not start to count")


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""


def _perf_count(told: str) -> int:
    for line in told.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].startswith("instructions") and fields[0].isdigit():
            return int(fields[0])
    raise Failed(f"perf counted nothing: {told.strip()[:100]}")


def _callgrind_count(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)", dump.read_text("utf-8", "replace"), re.MULTILINE)
    if found is None or found[1] == "0":
        raise Failed("callgrind counted nothing")
    return int(found[1])


def _part(dump: Path) -> int:
    end = dump.suffix.lstrip(".")
    return int(end) if end.isdigit() else 0

"""The machine that measures: its compiler, its cores, its programs and their versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.results import BINARIES

__all__ = [
    "CannotMeasure",
    "Cores",
    "build",
    "children_of",
    "choose_cores",
    "describe",
    "end_like_an_interrupt",
    "end_of_an_interrupt",
    "versions",
]

NATIVE = Path(__file__).resolve().parent.parent / "native"

OPEN_FILES = 20_000


class CannotMeasure(Exception):
    """This machine cannot; one line says why."""


@dataclass(frozen=True)
class Cores:
    """Where the server and the load run; None where they are not pinned."""

    server: int | None
    load: int | None

    def pinned(self, command: list[str], *, load: bool = False) -> list[str]:
        """``command`` on its core."""
        core = self.load if load else self.server
        return command if core is None else ["taskset", "-c", str(core), *command]


def end_like_an_interrupt() -> None:
    """Let SIGTERM, as of ``timeout``, stop all that was started too: it would outlive this."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def end_of_an_interrupt() -> int:
    """End the children that are left; returns the exit status of who was interrupted.

    An interrupt may come while one is being started: then it runs, and nobody knows of it.
    """
    for child in children_of(os.getpid()):
        with contextlib.suppress(OSError):  # it has been waited for
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return 128 + signal.SIGINT


def children_of(parent: int) -> list[int]:
    """The processes that it has started, and that are not gone."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = (process / "stat").read_text("utf-8").rpartition(")")[2].split()
            if int(words[1]) == parent:
                found.append(int(process.name))
    return found


def build() -> None:
    """Compile the load generator and the limit server, unless they are newer than their source.

    Raises:
        CannotMeasure: There is no compiler, or no epoll.
    """
    if platform.system() != "Linux":
        raise CannotMeasure("the load generator needs Linux (epoll and /proc)")
    newest = max(path.stat().st_mtime for path in NATIVE.iterdir())
    BINARIES.mkdir(parents=True, exist_ok=True)
    for program in ("wsload", "limit_server"):
        binary = BINARIES / program
        if binary.exists() and binary.stat().st_mtime > newest:
            continue
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise CannotMeasure(
                "the load generator needs a C compiler: install gcc "
                "(Debian, Ubuntu: apt install gcc libc6-dev)"
            )
        source = NATIVE / f"{program}.c"
        command = [compiler, "-O2", "-o", str(binary), str(source), "-lm"]
        made = subprocess.run(command, text=True)
        if made.returncode:
            raise CannotMeasure(f"{compiler} failed on {source.name}; the lines above say why")


def choose_cores() -> tuple[Cores, str | None]:
    """A core for the server and one for the load; and why not, if they cannot be had."""
    usable = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") is None:
        return Cores(None, None), "taskset is not on PATH, so server and load are not pinned"
    if len(usable) < 2:
        return Cores(None, None), "there is one core only, so server and load share it"
    return Cores(usable[0], usable[1]), None


def raise_open_files() -> int:
    """Allow as many sockets as the scenarios need, if that is allowed; returns how many are."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def describe() -> str:
    """The machine in one line, without its name."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = os.cpu_count() or 1
    return f"{model}, {cores} cores, {platform.system()} {platform.release().partition('-')[0]}"


def versions(peers: dict[str, str]) -> dict[str, str]:
    """What was measured; ``peers`` are versions that somebody else found."""
    found = {"Python": platform.python_version()}
    for name in ("wsrooms-core", "websockets", "msgspec", "uvloop"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    commit = _said("git", "-C", str(NATIVE), "rev-parse", "--short", "HEAD")
    if commit:
        changed = _said("git", "-C", str(NATIVE), "status", "--porcelain", "--", "../../packages")
        found["commit"] = f"{commit}, changed" if changed else commit
    return {**found, **peers}


def program_version(program: str) -> str:
    """What ``program --version`` says; "?" where it says nothing."""
    return _said(program, "--version") or "?"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

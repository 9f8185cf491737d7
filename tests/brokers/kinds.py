"""Where the servers of one kind of broker come from: Docker, a wheel, or PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.brokers.containers import ContainerRunner, Engine, engine
from tests.brokers.processes import ProcessRunner, version_of
from tests.brokers.record import missing, required

if TYPE_CHECKING:
    from tests.brokers.servers import Runner


@dataclass(frozen=True)
class Kind:
    """One kind of broker, and what its servers can be on a machine."""

    #: What its fixtures are called.
    name: str
    #: The variable that names the servers to test with, with commas between them.
    variable: str
    #: The official images, and what a command begins with there.
    images: Mapping[str, Sequence[str]]
    #: The wheel with a program in it, and where that is if it is here.
    wheel: str
    in_wheel: Callable[[], Path | None]
    #: The program on PATH.
    on_path: str
    #: Whether the wheel's program is built with TLS.
    wheel_has_tls: bool = True

    def choices(self) -> list[str]:
        """The servers to test with: the official images, else one that runs without Docker."""
        docker = engine()  # loaded here in any case: a test's event loop cannot wait for it
        if named := os.environ.get(self.variable):
            return named.split(",")
        if isinstance(docker, Engine) or required():
            return list(self.images)
        return [next(filter(self.program, (self.wheel, self.on_path)), self.wheel)]

    def program(self, image: str) -> Path | None:
        """Where the program of a server without Docker is, if it is here."""
        if image == self.on_path:
            found = shutil.which(self.on_path)
            return Path(found) if found else None
        assert image == self.wheel, f"unknown kind of server: {image!r}"
        return self.in_wheel()

    def quickest(self, *, tls: bool = False) -> str:
        """Whichever starts soonest, of those that are here."""
        kinds = (self.on_path,) if tls and not self.wheel_has_tls else (self.wheel, self.on_path)
        return next(filter(self.program, kinds), next(iter(self.images)))

    def alone(self) -> str:
        """The server of tests that take but one: the first named, in Docker where that must be."""
        if os.environ.get(self.variable) or required():
            return self.choices()[0]
        return self.quickest()

    def runner(self, image: str) -> Runner:
        """What such a server runs as; the test is skipped, or fails, where it is not here."""
        if image in self.images:
            docker = engine()
            reason = docker if isinstance(docker, str) else docker.lacks(image)
            return missing(reason) if reason else ContainerRunner(image, self.images[image])
        found = self.program(image)
        if found is None:
            missing(f"there is no {image} here")
        origin = f"from the wheel {self.wheel}" if image == self.wheel else "on PATH"
        return ProcessRunner(found, f"{version_of(found)} {origin}")

"""Brokers in Docker, by testcontainers and the official names of their images."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST
from tests.brokers.servers import Server, Setup

if TYPE_CHECKING:
    import signal

    from testcontainers.core.container import DockerContainer

EVERYWHERE = "0.0.0.0"  # within the container; outside it is 127.0.0.1


class ContainerServer(Server):
    """A broker that is a container, with a fixed port of 127.0.0.1."""

    def __init__(self, setup: Setup, image: str, program: str, port: int) -> None:
        super().__init__(setup, f"{image} in Docker")
        self._container_name = f"wsrooms-{uuid.uuid4().hex}"
        self._inner_port = port
        self._made = self._make(image, program)
        self._container: Any = None  # docker has no types

    def _make(self, image: str, program: str) -> DockerContainer:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        # The guardian does what its reaper would do, and needs no image for it.
        testcontainers_config.ryuk_disabled = True
        listen = self.setup.listen(EVERYWHERE, self._inner_port)
        made = (
            DockerContainer(image)
            .with_name(self._container_name)
            .with_command([program, *listen, *self.setup.arguments])
            .with_volume_mapping(self.folder, str(self.folder), "rw")
            .with_kwargs(working_dir=str(self.folder), user=f"{os.getuid()}:{os.getgid()}")
        )
        # Docker takes an address with the port; testcontainers' type does not know it.
        made.ports[f"{self._inner_port}/tcp"] = (HOST, self.port)  # type: ignore[assignment]
        return made

    def _start(self) -> None:
        if self._container is not None:
            with self._engine():
                self._container.start()
            return
        guardian.watch("container", self._container_name)
        with self._engine() as errors:
            try:
                self._made.start()
            except errors.APIError as error:
                if "already in use" not in str(error):
                    raise
                # This engine wants a port to which nobody is bound.
                self._reserved.release()
                self._made.get_wrapped_container().start()
        self._container = self._made.get_wrapped_container()

    def _kill(self) -> None:
        with self._engine():
            if self._runs():
                self._container.kill()
                self._container.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._engine():
            self._container.kill(number.name)

    def _runs(self) -> bool:
        if self._container is None:
            return False
        with self._engine():
            self._container.reload()
        return bool(self._container.status == "running")

    def _log(self) -> str:
        with self._engine():
            return str(self._container.logs(tail=100), "utf-8", "replace")

    def _end(self) -> None:
        self._made.stop()
        self._container = None
        guardian.forget("container", self._container_name)
        super()._end()

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        """Talk to Docker, and keep no connection: a test may count its sockets."""
        from docker import errors

        try:
            yield errors
        finally:
            self._made.get_docker_client().client.close()


class Engine:
    """The Docker of this machine."""

    def __init__(self, client: Any) -> None:
        self._client = client  # docker has no types
        self.version: str = client.version()["Version"]

    def lacks(self, image: str) -> str | None:
        """Why ``image`` is not to be had; None if it is, after a pull if need be."""
        return _lacks(self._client, image)


@cache
def engine() -> Engine | str:
    """The Docker of this machine, or why there is none that serves."""
    if sys.platform == "win32":
        return "brokers run on Linux and macOS"
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, path = host.partition("://")
    if scheme != "unix":
        return f"Docker is not on this machine but at {host}"
    # Asked first, because docker leaves its socket open where nobody answers.
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
    except OSError as error:
        return f"Docker does not run at {path}: {error.strerror}"
    # Now, and not when a test's event loop would have to wait for it.
    import testcontainers.core.container  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from docker import from_env

    return Engine(from_env(timeout=60))


@cache
def _lacks(client: Any, image: str) -> str | None:
    from docker.errors import DockerException, ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image)
        except DockerException as error:
            return f"the image {image} is not here and cannot be pulled: {error}"
    return None

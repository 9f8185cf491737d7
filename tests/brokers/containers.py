"""Brokers in Docker, by testcontainers and the official names of their images."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST
from tests.brokers.record import missing
from tests.brokers.servers import Runner, Server

if TYPE_CHECKING:
    import signal

    from testcontainers.core.container import DockerContainer


class ContainerRunner(Runner):
    """A container of an image, with fixed ports of 127.0.0.1.

    Args:
        image: Its official name.
        words: What its command begins with, before the arguments of a server.
    """

    listens_at = "0.0.0.0"  # within the container; outside it is 127.0.0.1

    def __init__(self, image: str, words: Sequence[str]) -> None:
        self.name = f"{image} in Docker"
        self.host = f"wsrooms-{uuid.uuid4().hex}"  # by which others of its network know it
        self._image = image
        self._words = words
        self._made: DockerContainer | None = None
        self._container: Any = None  # docker has no types

    def start(self, server: Server) -> None:
        if self._container is not None:
            with self._engine():
                self._container.start()
            return
        guardian.watch("container", self.host)
        self._made = made = self._make(server)
        with self._engine() as errors:
            try:
                made.start()
            except errors.APIError as error:
                if "already in use" not in str(error):
                    raise
                # This engine wants ports to which nobody is bound.
                server.release_ports()
                made.get_wrapped_container().start()
        self._container = made.get_wrapped_container()

    def _make(self, server: Server) -> DockerContainer:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        # The guardian does what its reaper would do, and needs no image for it.
        testcontainers_config.ryuk_disabled = True
        folder = str(server.folder)
        network = server.setup.network
        made = (
            DockerContainer(self._image)
            .with_name(self.host)
            .with_command([*self._words, *server.command()])
            .with_volume_mapping(folder, folder, "rw")
            .with_kwargs(
                working_dir=folder,
                user=f"{os.getuid()}:{os.getgid()}",
                **({"network": network} if network else {}),
            )
        )
        for port in server.ports:
            # Docker takes an address with the port; testcontainers' type does not know it.
            made.ports[f"{port}/tcp"] = (HOST, port)  # type: ignore[assignment]
        return made

    def kill(self) -> None:
        if self._container is None:
            return
        with self._engine() as errors:
            if self._status() == "running":
                try:
                    self._container.kill()
                except errors.APIError as error:
                    # It may end by itself meanwhile, as a server that was asked to leave.
                    if "is not running" not in str(error):
                        raise
                self._container.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._container is not None, "it does not run"
        with self._engine():
            self._container.kill(number.name)

    def runs(self) -> bool:
        if self._container is None:
            return False
        with self._engine():
            return self._status() == "running"

    def _status(self) -> str:
        self._container.reload()
        return str(self._container.status)

    def log(self) -> str:
        if self._container is None:
            return ""
        with self._engine():
            return str(self._container.logs(), "utf-8", "replace")

    def end(self) -> None:
        if self._made is None:
            return
        self._made.stop()
        self._container = None
        guardian.forget("container", self.host)

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        """Talk to Docker, and keep no connection: a test may count its sockets."""
        from docker import errors

        assert self._made is not None
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

    def make_network(self, name: str) -> Any:
        """Make a network on which containers know each other's names."""
        try:
            return self._client.networks.create(name)
        finally:
            self._client.close()

    def has_network(self, name: str) -> bool:
        """Whether there is such a network."""
        try:
            return bool(self._client.networks.list(names=[name]))
        finally:
            self._client.close()


@asynccontextmanager
async def network_of() -> AsyncIterator[str]:
    """A network of Docker's, on which containers find each other by their names."""
    name = f"wsrooms-{uuid.uuid4().hex}"
    docker = engine()
    if isinstance(docker, str):
        missing(docker)
    guardian.watch("network", name)
    made = await asyncio.to_thread(docker.make_network, name)
    try:
        yield name
    finally:
        await asyncio.shield(asyncio.to_thread(made.remove))
        guardian.forget("network", name)


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

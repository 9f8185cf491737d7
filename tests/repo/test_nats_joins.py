"""The tool that counts what joins miss in a cluster of NATS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers.nats import NATS
from tests.deadlines import DEADLINE

TOOL = Path(__file__).parents[2] / "tools" / "nats_joins.py"


@pytest.mark.skipif(
    not any(map(NATS.program, (NATS.wheel, NATS.on_path))), reason="there is no nats-server here"
)
def test_what_joins_miss_is_counted_with_and_without_asking() -> None:
    command = [sys.executable, str(TOOL), "--only", "far", "--joins", "8", "--settle", "0", "asked"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    assert [row[0] for row in rows] == ["join_settle, ms", "---|---|---|---|---|---", "0", "asked"]
    assert int(rows[2][1]) > 0
    assert rows[3][1:4] == ["0", "16", "0.00"]

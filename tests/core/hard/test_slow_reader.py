"""One client stops reading: ``tools/slow_reader.py`` at a size of a few seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wsrooms
from tests.deadlines import DEADLINE, promised

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the program reads /proc")

TOOL = Path(__file__).parents[3] / "tools" / "slow_reader.py"

MIB = 16
"""What memory may grow by, as at full size: it does not depend on what is offered."""


@pytest.mark.parametrize("policy", ["close", "drop_oldest", "drop_newest"])
def test_a_client_that_does_not_read_costs_no_memory_and_the_others_no_time(policy: str) -> None:
    size = [
        "--members",
        "60",
        "--megabytes",
        "30",
        "--seconds",
        f"{promised(0.3):g}",
        "--rounds",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(TOOL), "--loop", "asyncio", "--policy", policy, *size],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(wsrooms.__file__).parent.parent)},
    )
    # It has checked who received what, to the message.
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["grown_mib"] < MIB
    assert found["traced_mib"] < MIB
    # So short a run tells only whether somebody was waited for: the socket that is not read
    # stays full for all of a phase. The ratio is for `make slow-reader`.
    assert min(found["p99_ms_one_stuck"]) < max(found["p99_ms_all_read"]) + promised(100)

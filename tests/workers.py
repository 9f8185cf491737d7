"""What the processes of a run have noted, brought to the one that shows it at the end.

``make test`` runs its tests in several processes (pytest-xdist): each knows its own
brokers and faults, and only the one that started them has a terminal.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.brokers.record import lacking, started
from tests.integration.faults_table import ROWS, Row

NOTED = "wsrooms_noted"


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:  # this process is one of several
        rows = [dataclasses.asdict(row) for row in ROWS]
        output[NOTED] = {"started": dict(started), "lacking": dict(lacking), "rows": rows}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process has noted that has ended; one that has died tells nothing."""
    noted = getattr(node, "workeroutput", {}).get(NOTED)
    if noted is not None:
        started.update(noted["started"])
        lacking.update(noted["lacking"])
        ROWS.extend(Row(**row) for row in noted["rows"])

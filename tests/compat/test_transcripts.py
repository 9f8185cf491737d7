"""An app that is declared like the original's answers its clients like the original.

Every scenario of ``transcripts.json`` has its server in one of the files
``test_transcripts_*.py``, declared with our API under the scenario's name;
``conftest.py`` replays what the clients did. Where we answer otherwise on
purpose the step says so, and with what reason.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsrooms import WsApp

    # The fixture of conftest.py, which importlib mode does not let us import.
    Transcripts = Any


def declared() -> dict[str, Callable[[], WsApp]]:
    """Return the applications of all the files."""
    applications: dict[str, Callable[[], WsApp]] = {}
    for path in Path(__file__).parent.glob("test_transcripts_*.py"):
        applications |= run_path(str(path))["APPLICATIONS"]
    return applications


def test_every_recorded_scenario_is_replayed(transcripts: Transcripts) -> None:
    assert declared().keys() == {scenario.name for scenario in transcripts.scenarios}


def test_every_deviation_has_a_reason_and_another_outcome(transcripts: Transcripts) -> None:
    for scenario in transcripts.scenarios:
        for step in scenario.steps:
            if step.deviation is not None:
                assert step.deviation.because
                assert (step.received, step.closed) != (
                    step.deviation.received,
                    step.deviation.closed,
                )

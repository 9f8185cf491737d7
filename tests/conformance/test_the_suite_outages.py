"""Every case about faults can fail: a transport that breaks its promise is found by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.outage_breaks import BREAKS
from wsrooms.testing import HistoryViolated, run
from wsrooms.testing.conformance import ConformanceFailed, SimulatedRig, cases

BY_NAME = {case.name: case for case in cases()}


@pytest.mark.parametrize(
    ("name", "rig"), [pytest.param(name, rig, id=f"{name}-{what}") for name, what, rig in BREAKS]
)
def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str, rig: Callable[[], SimulatedRig]
) -> None:
    async def main() -> None:
        with pytest.raises((ConformanceFailed, HistoryViolated)):
            await BY_NAME[name].run(rig())

    run(main())

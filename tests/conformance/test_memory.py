"""The conformance suite on what needs no broker: memory, and the lossy bus."""

from __future__ import annotations

import pytest

from tests.conformance.running import run_case
from wsrooms.testing import run
from wsrooms.testing.conformance import Case, MemoryRig, SimulatedRig, cases

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_the_memory_transport_conforms(case: Case) -> None:
    await run_case(case, MemoryRig())


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_lossy_bus_conforms_on_virtual_time(case: Case) -> None:
    run(run_case(case, SimulatedRig(seed=1)))

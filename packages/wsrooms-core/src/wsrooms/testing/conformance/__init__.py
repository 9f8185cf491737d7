"""The conformance suite: the 58 cases that show whether a transport keeps the contract.

Independent of any test framework. The author of a transport writes a :class:`Rig`, which
makes transports and says what may be done to their broker, and runs every case on it:

.. code-block:: python

    @pytest.mark.parametrize("case", cases(), ids=str)
    async def test_conformance(case: Case) -> None:
        try:
            await case.run(MyRig())
        except NotApplicable as skipped:
            pytest.skip(skipped.reason)

At the end of each case no task and no socket may be left, nothing may have warned or
logged what the case is not about, and the event loop may not have been blocked.
"""

from __future__ import annotations

from wsrooms.testing.conformance import (
    away,
    basics,
    bounds,
    endings,
    flapping,
    handlers,
    logins,
    names,
    outages,
    payloads,
    plain,
    sequences,
    telling,
)
from wsrooms.testing.conformance.case import Case
from wsrooms.testing.conformance.memory import MemoryRig, SimulatedRig
from wsrooms.testing.conformance.rig import (
    BrokerControl,
    Login,
    Misfit,
    NotApplicable,
    ProxyControl,
    Rig,
    Stranger,
)
from wsrooms.testing.conformance.trial import ConformanceFailed

__all__ = [
    "BrokerControl",
    "Case",
    "ConformanceFailed",
    "Login",
    "MemoryRig",
    "Misfit",
    "NotApplicable",
    "ProxyControl",
    "Rig",
    "SimulatedRig",
    "Stranger",
    "cases",
]

_MODULES = (
    basics,
    names,
    payloads,
    sequences,
    flapping,
    outages,
    away,
    bounds,
    handlers,
    logins,
    endings,
    telling,
    plain,
)


def cases() -> tuple[Case, ...]:
    """Every case, in the order of its number."""
    found = [each for module in _MODULES for each in vars(module).values()]
    return tuple(
        sorted((each for each in found if isinstance(each, Case)), key=lambda case: case.number)
    )

"""How the tests of this folder run a case: what is not applicable is skipped, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wsrooms.testing.conformance import NotApplicable

if TYPE_CHECKING:
    from wsrooms.testing.conformance import Case, Rig


async def run_case(case: Case, rig: Rig) -> None:
    try:
        await case.run(rig)
    except NotApplicable as skipped:
        pytest.skip(skipped.reason)

"""Every case of the suite can fail: a transport that breaks its promise is found by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.bench import Bench
from tests.conformance.breaks import BREAKS
from wsrooms.testing import HistoryViolated
from wsrooms.testing.conformance import ConformanceFailed, cases

if TYPE_CHECKING:
    from tests.conformance.bench import Good

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")

BY_NAME = {case.name: case for case in cases()}


def test_every_case_of_messages_has_a_transport_that_breaks_it() -> None:
    of_messages = {case.name for case in cases() if case.number in (*range(1, 28), 47, 48, 58)}
    assert of_messages - {name for name, _, _ in BREAKS} == set()


@pytest.mark.parametrize("name", sorted({name for name, _, _ in BREAKS}))
async def test_the_transport_that_is_broken_below_conforms_unbroken(name: str) -> None:
    if name == "a_burst_is_batched":
        pytest.skip("it has no socket, so only its broken form writes to one")
    await BY_NAME[name].run(Bench())


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(name, kind, id=f"{name}-{what}") for name, what, kind in BREAKS]
)
async def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str, kind: type[Good]
) -> None:
    with pytest.raises((ConformanceFailed, HistoryViolated)):
        await BY_NAME[name].run(Bench(kind))

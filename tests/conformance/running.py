"""How the tests of this folder run a case, and a server for many of them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.deadlines import promised
from wsrooms.testing import HistoryViolated
from wsrooms.testing.conformance import ConformanceFailed, NotApplicable, cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers import Server
    from wsrooms.testing.conformance import Case, Rig


S = TypeVar("S", bound="Server")


async def run_case(case: Case, rig: Rig) -> None:
    """Run it; what is not applicable is skipped, with its reason."""
    rig.slowdown = max(rig.slowdown, promised(1.0))
    try:
        await case.run(rig)
    except NotApplicable as skipped:
        pytest.skip(skipped.reason)


async def assert_finds(name: str, rig: Rig) -> None:
    """The case of that name fails the transport of the rig, because a promise is broken."""
    [case] = [case for case in cases() if case.name == name]
    rig.patience, rig.slowdown = 2.0, 1.0  # however late all is, it is noticed
    with pytest.raises((ConformanceFailed, HistoryViolated)):
        await case.run(rig)


@contextmanager
def lasting(server: S) -> Iterator[S]:
    """A server that outlives the event loops of the tests, which leave it as they found it."""
    asyncio.run(server.__aenter__())
    try:
        yield server
    finally:
        asyncio.run(server.__aexit__(None, None, None))

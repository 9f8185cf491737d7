"""How the tests of this folder run a case, and a server for many of them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from wsrooms.testing.conformance import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers import Server
    from wsrooms.testing.conformance import Case, Rig


S = TypeVar("S", bound="Server")


async def run_case(case: Case, rig: Rig) -> None:
    """Run it; what is not applicable is skipped, with its reason."""
    try:
        await case.run(rig)
    except NotApplicable as skipped:
        pytest.skip(skipped.reason)


@contextmanager
def lasting(server: S) -> Iterator[S]:
    """A server that outlives the event loops of the tests, which leave it as they found it."""
    asyncio.run(server.__aenter__())
    try:
        yield server
    finally:
        asyncio.run(server.__aexit__(None, None, None))

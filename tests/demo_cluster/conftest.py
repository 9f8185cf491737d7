"""One demo for all these tests; each finds it whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE

from .running import Demo, end, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="package")
def running() -> Iterator[Demo]:
    demo = started()
    yield demo
    end(demo)


@pytest.fixture
async def demo(running: Demo) -> AsyncIterator[Demo]:
    """All of it up, with its buttons at hand."""
    async with running.connect("/fleet") as running.panel:
        async with asyncio.timeout(DEADLINE):
            await running.heal()
        yield running

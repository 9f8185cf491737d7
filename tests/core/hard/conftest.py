"""Tests of what clients, clocks and loops can do to an app: asyncio's loop, and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is marked ``every_loop`` on each loop there is, the rest on asyncio's own."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if item.get_closest_marker("every_loop"):
        with contextlib.suppress(ImportError):  # there is none for Windows
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
    return factories

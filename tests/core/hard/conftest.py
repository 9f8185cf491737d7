"""Which tests of this folder run on every loop there is: those of modules that ask for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Add uvloop for modules that say ``ON_EVERY_LOOP = True``."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if getattr(item.module, "ON_EVERY_LOOP", False):
        with contextlib.suppress(ImportError):  # there is none for Windows
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
    return factories

"""Event loops that are held up, as where other things take the processor: races show sooner.

``WSROOMS_JITTER=1 make test`` holds asyncio's loops, one turn in ten, for up to 4 ms before
what is due: callbacks, timers and sockets come together in orders that a quiet machine has once
in thousands of runs. Any seed will do in place of 1; it and the name of a test give the pauses of
that test's own process, whose rest the machine adds. After each test garbage is collected, so that
what it left unawaited fails that test and no other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold_up_loops"]

SEED = os.environ.get("WSROOMS_JITTER", "")
SHARE = 0.1
"""Of the turns of a loop, how many are held up."""
LONGEST = 0.004
"""Seconds for which a turn may be: a time slice of the kernel's, and far less than any limit."""

_chances = random.Random()


def hold_up_loops() -> None:
    """From now on hold up asyncio's loops in this process, if ``WSROOMS_JITTER`` is set."""
    if not SEED:
        return
    loops: Any = asyncio.BaseEventLoop  # which says nothing of its turns
    turn = loops._run_once

    def _run_once(loop: asyncio.BaseEventLoop) -> None:
        if _chances.random() < SHARE:
            time.sleep(_chances.random() * LONGEST)
        turn(loop)

    loops._run_once = _run_once


def pytest_configure() -> None:
    """Begin before there is a loop."""
    hold_up_loops()


def pytest_report_header() -> str | None:
    """Say that loops are held up, and how to see it again."""
    return f"WSROOMS_JITTER={SEED}: event loops are held up" if SEED else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Draw the pauses from the name of the test."""
    if SEED:
        _chances.seed(f"{SEED} {item.nodeid}")
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Collect what the test has left, and let it fail if that was not finished with."""
    result = yield
    if SEED and (told := _told_by_garbage()):
        pytest.fail("left behind as garbage: " + "; ".join(told), pytrace=False)
    return result


def _told_by_garbage() -> list[str]:
    told: list[str] = []

    def note(unraisable: sys.UnraisableHookArgs) -> None:
        told.append(str(unraisable.exc_value or unraisable.exc_type))

    before, sys.unraisablehook = sys.unraisablehook, note
    try:
        gc.collect()
    finally:
        sys.unraisablehook = before
    return told

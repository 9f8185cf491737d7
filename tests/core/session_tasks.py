"""What the tests of a session's tasks share: a clock that stands still, and who is who."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import weakref
from typing import Any

Task = asyncio.Task[Any]

SILENT = logging.getLogger("wsrooms.silent")
"""pytest would keep a record, and with it the traceback, of each failure that is logged."""
SILENT.setLevel(logging.CRITICAL + 1)


class Clock:
    """The time that a turn is measured by: it stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def me() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


NUMBERS: weakref.WeakKeyDictionary[Task, int] = weakref.WeakKeyDictionary()


def number_of(task: Task) -> int:
    """Which task it is, without keeping it: a task that is kept takes on no other message."""
    return NUMBERS.setdefault(task, next(COUNTER))


COUNTER = itertools.count()


def burst(peer: Any, *events: str) -> None:
    """Send a message of each event, all in one segment; data and id are its number."""
    peer.send_text(
        *(
            json.dumps({"event": event, "path": "/", "id": number, "data": number})
            for number, event in enumerate(events)
        )
    )

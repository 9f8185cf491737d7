"""What aiokafka logs of the clients of wsrooms: nothing, unless somebody looks for faults.

In an outage it logs some twenty lines a second at level ERROR, and at level DEBUG each
request with what is in it, a password for instance. What they are about is told once, by
the state of the transport and its errors. Clients of others log as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["quietly"]

Answer = TypeVar("Answer")

_OURS: ContextVar[bool] = ContextVar("wsrooms_kafka", default=False)
"""Whether what is logged now is about a client of wsrooms: tasks that it starts inherit it."""


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if not _OURS.get():
            return True
        if not logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return False
        args = record.args if isinstance(record.args, tuple) else ()
        return not any("SaslAuthenticate" in type(each).__name__ for each in args)


_QUIET = _Quiet()


def quietly(work: Coroutine[Any, Any, Answer], name: str) -> asyncio.Task[Answer]:
    """Do ``work`` in a task of its own, and let nothing be logged of it and of its tasks."""
    for theirs in list(logging.root.manager.loggerDict):
        if theirs.partition(".")[0] == "aiokafka":
            logging.getLogger(theirs).addFilter(_QUIET)  # once: a second time changes nothing
    context = copy_context()
    context.run(_OURS.set, True)
    return asyncio.get_running_loop().create_task(work, name=name, context=context)

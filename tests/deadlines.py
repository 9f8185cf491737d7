"""How long tests wait, and what a promise in seconds is worth on a busy machine."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["DEADLINE", "PATIENT", "promised"]

DEADLINE = 60.0
"""Seconds after which what has not happened never will.

It ends a test that hangs and judges nothing: what takes a moment on a quiet machine takes ten
of them where all of CI runs at once.
"""

SLOWDOWN = float(os.environ.get("WSROOMS_SLOWDOWN", "1"))
"""How many times longer everything may take than on a machine with nothing beside."""


def promised(seconds: float) -> float:
    """Within how many seconds something has to happen that happens within ``seconds`` by itself.

    For limits that a test is about, and for the options that have to grow with them, or the
    limit would grow past what it excludes. ``WSROOMS_SLOWDOWN`` says how much later all may be
    where several runs share the machine: CI sets it, and nobody else has to.
    """
    return seconds * SLOWDOWN


PATIENT: dict[str, Any] = {"connect_timeout": promised(10.0), "start_timeout": promised(20.0)}
"""Options of a transport where it is not time that is tested: a busy broker lets it in late."""

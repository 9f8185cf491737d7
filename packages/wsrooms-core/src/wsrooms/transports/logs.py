"""What the log is told of a transport: its states, and what may come a thousand times a second."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsrooms.transports.protocols import TransportState

__all__ = ["LEVELS", "SeldomLog"]

EVERY = 60.0
"""Seconds between two lines of one kind."""

LEVELS: dict[TransportState, int] = {
    "starting": logging.DEBUG,
    "up": logging.INFO,
    "deaf": logging.WARNING,
    "down": logging.WARNING,
    "closed": logging.DEBUG,
}


class SeldomLog:
    """Logs at most one line of a kind a minute; whoever logs counts the rest."""

    __slots__ = ("_clock", "_logged_at", "_logger")

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def error(self, kind: str, text: str, *args: object) -> None:
        """Log ``text % args``, unless a line of ``kind`` was logged within the last minute.

        Args:
            kind: One of a few, never what a client says: each is remembered.
            text: The line.
            args: Its values.
        """
        if self._is_due(kind):
            self._logger.error(text, *args)

    def warning(self, kind: str, text: str, *args: object) -> None:
        """As :meth:`error`, one level below."""
        if self._is_due(kind):
            self._logger.warning(text, *args)

    def _is_due(self, kind: str) -> bool:
        now = self._clock()
        if now - self._logged_at.get(kind, -EVERY) < EVERY:
            return False
        self._logged_at[kind] = now
        return True

"""Lines that may come a thousand times a second are told once a minute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wsrooms.transports.logs import EVERY, SeldomLog

if TYPE_CHECKING:
    import pytest


def test_a_line_of_a_kind_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = SeldomLog(logging.getLogger("wsrooms.test"), clock=lambda: now)
    for number in range(1000):
        log.error("flood", "number %d", number)
    log.error("other", "another kind")
    log.warning("a third", "lower")
    log.warning("a third", "lower")
    now = EVERY
    log.error("flood", "number %d", 1000)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "number 0"),
        ("ERROR", "another kind"),
        ("WARNING", "lower"),
        ("ERROR", "number 1000"),
    ]

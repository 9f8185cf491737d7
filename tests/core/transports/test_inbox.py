"""What comes from others: in its order, once, its gaps told, and no error let out."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from wsrooms.transports import Envelope, Gap
from wsrooms.transports.inbox import Inbox

LOGGER = logging.getLogger("wsrooms.test")
ROOM = "ws:room:r"


class Listener:
    """An inbox, and all that it tells."""

    def __init__(self) -> None:
        self.inbox = Inbox(LOGGER)
        self.told: list[str | Gap] = []
        self.inbox.on_gap = self.told.append

    def receives(self, *numbers: int, now: float = 0) -> None:
        for seq in numbers:
            self.inbox.deliver(ROOM, self.told.append, Envelope("peer", 1, seq, f"m{seq}"), now)


def test_a_repetition_is_counted_and_handed_to_nobody() -> None:
    listener = Listener()
    listener.receives(1, 2, 2, 1, 3)
    assert listener.told == ["m1", "m2", "m3"]
    assert (listener.inbox.received, listener.inbox.duplicates) == (3, 2)


def test_a_gap_is_told_before_what_comes_after_it() -> None:
    listener = Listener()
    listener.receives(1, 4)
    assert listener.told == ["m1", Gap("r", "peer", 2), "m4"]
    assert (listener.inbox.gaps, listener.inbox.missing) == (1, 2)


@pytest.mark.parametrize("forgets", [Inbox.begin, lambda inbox: inbox.unsubscribed(ROOM, 0)])
def test_what_passes_before_a_beginning_or_after_an_unsubscribe_is_no_gap(
    forgets: Callable[[Inbox], None],
) -> None:
    listener = Listener()
    listener.receives(1)
    forgets(listener.inbox)
    listener.receives(9)
    assert listener.told == ["m1", "m9"]


def test_no_error_of_whoever_is_told_is_let_out(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("mine")

    listener = Listener()
    listener.receives(1)
    listener.inbox.on_gap = fail
    listener.inbox.deliver(ROOM, fail, Envelope("peer", 1, 3, "m3"), 0)
    listener.receives(4)
    assert listener.told == ["m1", "m4"]
    assert listener.inbox.handler_errors == 2
    assert [each.getMessage() for each in caplog.records] == [
        "a gap callback failed",
        "a handler of ws:room:r failed",
    ]


def test_a_gap_that_nobody_wants_to_hear_of_is_counted() -> None:
    inbox = Inbox(LOGGER)
    inbox.gap(Gap(None, None, None))
    assert inbox.gaps == 1

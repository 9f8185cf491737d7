"""Whether the other servers of a cluster know of a subscription, asked of them themselves.

The server that an instance is connected to confirms a subscription as soon as it has told
the others, not when they have heard. So a traced message follows it: our server says over
which routes that went, and each server at their ends says that it came. On a route nothing
overtakes anything, hence who has seen the message knows of the subscription.

Traces are a part of nats-server since 2.11, and need no account of the system's. Each
instance subscribes the subject that is traced, so that the servers which have instances
are asked, and no others; the message itself is delivered to nobody.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Question", "Routes"]

CLIENT, ROUTER = 0, 1
"""What nats-server calls the two kinds of connections."""

NOBODY, TRACES = b"0", b"t"
"""Subscriptions that belong to no channel."""

_HEADER = b"NATS/1.0\r\nNats-Trace-Dest: %b\r\nNats-Trace-Only: true\r\n%b: %b\r\n\r\n"

NUMBER = "Wsrooms-Question"
"""A header that comes back with each answer."""


class Question:
    """One traced message, and who has answered.

    Attributes:
        number: Which one.
        silent: A server on the way cannot answer: it is older than 2.11.
        asked: The servers that it reached; None until the own one has told.
        own: The server that it was asked at.
    """

    __slots__ = ("_answered", "_excused", "_mute", "asked", "number", "own", "silent")

    def __init__(
        self,
        number: bytes,
        asked: frozenset[str] | None,
        excused: frozenset[str],
        mute: set[str],
    ) -> None:
        self.number: bytes = number
        self.silent: bool = False
        self.asked: frozenset[str] | None = asked
        self.own: str | None = None
        self._answered: set[str] = set()
        self._excused = excused
        self._mute = mute

    @property
    def done(self) -> bool:
        """Whether all have answered that can."""
        return self.asked is not None and self.missing <= self._mute

    @property
    def missing(self) -> frozenset[str]:
        """The servers that have not answered and should have."""
        return (self.asked or frozenset()) - self._excused - self._answered

    def read(self, event: dict[str, Any]) -> None:
        """Take note of one server's trace."""
        came, *went = event["events"]
        server: str = event["server"]["name"]
        if came["kind"] == ROUTER:
            self._answered.add(server)
        elif came["kind"] == CLIENT:
            routes = [each for each in went if each["type"] == "eg" and each["kind"] == ROUTER]
            self.asked = frozenset(each["name"] for each in routes if "error" not in each)
            self.silent = len(self.asked) < len(routes)
            self.own = server


class Routes:
    """The questions of one connection."""

    def __init__(self, prefix: str, token: str) -> None:
        """Prepare them.

        Args:
            prefix: Of all subjects.
            token: What no other connection has.
        """
        self.prefix: bytes = f"{prefix}ws:sync.".encode()
        self._subject = self.prefix + b"ask"
        self._answers = self.prefix + token.encode()
        self._open: dict[bytes, Question] = {}
        self._mute: set[str] = set()
        self._asked = 0

    def subscribed(self) -> bytes:
        """What has to be written before the first question."""
        return b"SUB %b %b\r\nSUB %b %b\r\n" % (self._subject, NOBODY, self._answers, TRACES)

    def asked(
        self, who: frozenset[str] | None = None, excused: frozenset[str] = frozenset()
    ) -> tuple[Question, bytes]:
        """A question about all that is written before it, and what to write.

        Args:
            who: The servers that are to answer, where the own one does not say.
            excused: Servers that need not. One that is about to stop traces nothing.
        """
        self._asked += 1
        question = Question(b"%d" % self._asked, who, excused, self._mute)
        self._open[question.number] = question
        header = _HEADER % (self._answers, NUMBER.encode(), question.number)
        size = len(header)
        return question, b"HPUB %b %d %d\r\n%b\r\n" % (self._subject, size, size, header)

    def received(self, data: bytes) -> Question | None:
        """The question to which ``data`` belongs, if it is open; what is no trace counts not."""
        try:
            event = json.loads(data)
            self._mute.discard(event["server"]["name"])
            number: str = event["request"]["header"][NUMBER][0]
            question = self._open.get(number.encode())
            if question is not None:
                question.read(event)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return question

    def give_up(self, question: Question, own: str) -> None:
        """Wait no more for those that have not answered ``question``, until they do.

        Args:
            question: Which has waited long enough.
            own: The server that it was asked at, of which it is if that has not told either.
        """
        self._mute |= question.missing if question.asked is not None else {own}

    def is_mute(self, server: str) -> bool:
        """Whether ``server`` has been given up."""
        return server in self._mute

    def forget(self, question: Question) -> None:
        """Wait for no more answers to ``question``."""
        self._open.pop(question.number, None)

    def concerns(self, subject: str) -> bool:
        """Whether the server's words about ``subject`` are about questions."""
        return subject.encode("utf-8", "replace").startswith(self.prefix)

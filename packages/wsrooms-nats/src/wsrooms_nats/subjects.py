"""What a channel is called at NATS: one token, readable, and never a wildcard.

But for the channels on which instances probe themselves, of two tokens: whoever may use some
rooms only has to be allowed the probes of all instances to come, ``wsrooms.ws:probe.*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from urllib.parse import quote, unquote

from wsrooms.transports import PROBE_PREFIX

__all__ = ["Subjects"]

SAFE = "/:@!$&'()+,;=~-_"
"""What NATS takes as it is, beside letters and digits; "." and "*" and ">" have a meaning."""

_PLAIN = re.compile(f"[A-Za-z0-9{re.escape(SAFE)}]*")

PROBES = PROBE_PREFIX.rstrip(":")

REMEMBERED = 64
"""Subjects that need not be made anew: of those who publish to few rooms, which is common."""


class Subjects:
    """The names of one namespace; what is encoded is ASCII, and different for each channel."""

    def __init__(self, namespace: str) -> None:
        """Prepare the prefix: ``wsrooms.`` and, where there is one, the namespace."""
        self.prefix: str = f"wsrooms.{_token(namespace)}." if namespace else "wsrooms."

        # The prefix alone, no reference to this object: a cycle would outlive its transport.
        self.of: Callable[[str], bytes] = lru_cache(REMEMBERED)(partial(_subject, self.prefix))
        """The subject of a channel: of ``ws:room:/a`` it is ``wsrooms.ws:room:/a``."""

    def channel(self, subject: str) -> str:
        """The channel that is called so."""
        name = subject[len(self.prefix) :]
        head, dot, rest = name.partition(".")
        return PROBE_PREFIX + unquote(rest) if dot and head == PROBES else unquote(name)


def _subject(prefix: str, channel: str) -> bytes:
    head, probe, instance = channel.partition(PROBE_PREFIX)
    if probe and instance and not head:
        return f"{prefix}{PROBES}.{_token(instance)}".encode("ascii")
    return (prefix + _token(channel)).encode("ascii")


def _token(text: str) -> str:
    if _PLAIN.fullmatch(text) is not None:  # a quarter of the time
        return text
    return quote(text, safe=SAFE).replace(".", "%2E")

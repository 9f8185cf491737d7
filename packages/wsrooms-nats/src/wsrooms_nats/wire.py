"""One connection to a NATS server, once nats-py has logged in: bytes to messages.

nats-py keeps a task and a queue for each subscription, confirms nothing by itself and never
recovers from a silent peer with unsent bytes; the protocol of NATS needs none of that.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from wsrooms.errors import TransportUnavailable
from wsrooms.transports import BrokerWire

__all__ = ["NatsWire", "Reader"]

LONGEST_LINE = 1024 * 1024
"""Bytes of a line: INFO of a large cluster is the longest."""

LARGEST = 64 * 1024 * 1024 + LONGEST_LINE
"""Bytes of a message: the server takes no ``max_payload`` above 64 MiB."""

END = b"\r\n"


class Reader(Protocol):
    """Who is told what the server says."""

    def on_message(self, sid: bytes, data: bytes, now: float) -> None:
        """A message has come for the subscription ``sid``."""

    def on_pong(self) -> None:
        """Everything that was written before the oldest open ping is done."""

    def on_error(self, text: str) -> None:
        """The server has refused something, in its words."""

    def on_info(self, info: dict[str, Any]) -> None:
        """The server tells something new about itself or its cluster."""


class NatsWire(BrokerWire):
    """A logged-in connection; what the server says goes to a :class:`Reader`."""

    def __init__(self, reader: Reader) -> None:
        """Prepare a connection for ``reader``, whose errors end it."""
        super().__init__()
        self.keeps: object = None
        """What must live as long as the connection."""
        self._to = reader
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = 0
        """Bytes without which there is nothing more to hand on."""

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)

    def _hand_on(self, until: float) -> bool:
        if self._held < self._needed:
            return True
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, in_time = 0, True
        clock, on_message = self._loop.time, self._to.on_message
        while not self._ended:
            end = data.find(END, at)
            if end < 0:
                self._needed = len(data) - at + 1
                if self._needed > LONGEST_LINE:
                    raise _garbage(data[at:])
                break
            if data.startswith(b"MSG ", at):
                words, header = data[at + 4 : end].split(b" "), 0
            elif data.startswith(b"HMSG ", at):
                words = data[at + 5 : end].split(b" ")
                header = _size(words.pop(-2) if len(words) > 3 else b"", data[at:end])
            else:
                self._line(data[at:end])
                at = end + 2
                continue
            if not 3 <= len(words) <= 4:  # subject, sid, perhaps where to answer, size
                raise _garbage(data[at:end])
            start = end + 2
            stop = start + _size(words[-1], data[at:end])
            if len(data) < stop + 2:
                self._needed = stop + 2 - at
                break
            if not data.startswith(END, stop):
                raise _garbage(data[at:end])
            at = stop + 2
            on_message(words[1], data[start + header : stop], self.heard_at)
            if clock() > until:
                in_time, self._needed = False, 0
                break
        self._parts = [data[at:]] if at < len(data) else []
        self._held = len(data) - at
        return in_time

    def _line(self, line: bytes) -> None:
        """Read what is no message."""
        word, _, rest = line.partition(b" ")
        match word.upper():
            case b"PONG":
                self._to.on_pong()
            case b"PING":
                self.write(b"PONG\r\n")
            case b"-ERR":
                self._to.on_error(rest.decode("utf-8", "replace").strip(" '"))
            case b"INFO":
                self._to.on_info(_info(rest))
            case b"+OK":
                pass
            case _:
                raise _garbage(line)


def _size(word: bytes, line: bytes) -> int:
    size = int(word) if word.isdigit() and len(word) < 10 else LARGEST
    if size >= LARGEST:
        raise _garbage(line)
    return size


def _info(text: bytes) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise _garbage(b"INFO " + text)
    return info


def _garbage(data: bytes) -> TransportUnavailable:
    return TransportUnavailable(f"what answers there is not NATS: {data[:40]!r}")

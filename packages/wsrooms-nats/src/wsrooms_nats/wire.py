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

TURNS = 32
"""Messages between two looks at the clock."""

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

    def on_end(self) -> None:
        """There will be no more; may be told twice."""


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

    def _end(self) -> None:
        super()._end()
        self._to.on_end()

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)

    def _hand_on(self, until: float) -> bool:
        if self._held < self._needed:
            return True
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        # One split finds every line and the end of nearly every payload: half the cost of a
        # search for each. The last part is what has no end yet.
        parts = data.split(END)
        last = len(parts) - 1
        place = read = 0
        clock, on_message, heard_at = self._loop.time, self._to.on_message, self.heard_at
        self._needed = 0
        while place < last and not self._ended:
            line = parts[place]
            words = line.split(b" ")
            place += 1
            payload = parts[place]
            if len(words) == 4 and words[0] == b"MSG" and words[3] == b"%d" % len(payload):
                if place == last:  # its own line end is missing
                    place -= 1
                    self._needed = len(line) + len(payload) + 4
                    break
                place += 1
                on_message(words[2], payload, heard_at)
            elif words[0] == b"MSG" or words[0] == b"HMSG":
                taken = self._odd(line, words, parts, place)
                if not taken:
                    place -= 1
                    break
                place += taken
            else:
                self._line(line)
                continue
            read += 1
            if not read % TURNS and clock() > until:
                break
        rest = END.join(parts[place:])
        self._parts = [rest] if rest else []
        self._held = len(rest)
        if not self._needed and place < last and not self._ended:
            return False
        self._needed = self._needed or len(rest) + 1
        if len(parts[last]) > LONGEST_LINE and place == last:
            raise self._garbage(rest)
        return True

    def _odd(self, line: bytes, words: list[bytes], parts: list[bytes], place: int) -> int:
        """Hand on a message that has a header, an answer's subject or line ends of its own.

        Returns:
            How many parts it took; 0: it is not complete.
        """
        header = 0
        if words[0] == b"HMSG":
            header = self._size(words.pop(-2) if len(words) > 4 else b"", line)
        if not 4 <= len(words) <= 5:  # MSG, subject, sid, perhaps where to answer, size
            raise self._garbage(line)
        size = self._size(words[-1], line)
        if header > size:
            raise self._garbage(line)
        held, stop = len(parts[place]), place + 1
        while held < size and stop < len(parts):
            held += 2 + len(parts[stop])
            stop += 1
        if stop == len(parts) and held < size + 2:  # half a line end may be there
            self._needed = len(line) + 2 + size + 2
            return 0
        if held != size:
            raise self._garbage(line)
        payload = END.join(parts[place:stop])
        self._to.on_message(words[2], payload[header:] if header else payload, self.heard_at)
        return stop - place

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
                self._to.on_info(self._info(rest))
            case b"+OK":
                pass
            case _:
                raise self._garbage(line)

    def _size(self, word: bytes, line: bytes) -> int:
        size = int(word) if word.isdigit() and len(word) < 10 else LARGEST
        if size >= LARGEST:
            raise self._garbage(line)
        return size

    def _info(self, text: bytes) -> dict[str, Any]:
        try:
            info = json.loads(text)
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, dict):
            raise self._garbage(b"INFO " + text)
        return info

    def _garbage(self, data: bytes) -> TransportUnavailable:
        told = f"{self.where}: what answers there is not NATS: {data[:40]!r}"
        return TransportUnavailable(told)

"""How far each partition has been read, across connections and across other logs.

Pure. Kafka keeps a log, so an instance that was cut off goes on where it was, if the log
is still the same. Three signs tell that it is not: it ends before that place, or begins
behind it; the next record is not the next; or the record before it is another one. Where it
may have lost its end alone, what is older than what was read is not handed on once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["AnotherLog", "Place"]


BROKERS = 1
"""The type of a timestamp that the broker has given: LogAppendTime."""


class _Record(Protocol):
    """What tells a record from another one at the same offset of another log."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


Record = TypeVar("Record", bound=_Record)


class Place:
    """How far one partition has been read.

    Attributes:
        next: The offset that is read next; None: whichever comes.
        backlog: Where the log ended when the connection began: what comes before that was
            published while there was none.
    """

    __slots__ = ("_last", "_newest", "_older", "_unsure", "backlog", "next")

    def __init__(self, place: int, *, known: bool) -> None:
        """Begin at ``place``; where it is ``known``, what comes before it has been read."""
        self.next: int | None = place
        self.backlog: int = place
        self._last: object = None
        self._newest = -1
        self._older = -1
        """What was written before that time is no news, in a log that is read once more."""
        self._unsure = known

    def resume(self, begin: int, end: int) -> tuple[int, bool]:
        """A connection has been made to a log from ``begin`` to ``end``.

        Returns:
            Where to read from, and whether records are gone that were not read.
        """
        self.backlog = end
        place = self.next
        missing = place is not None and not begin <= place <= end
        if place is None or missing:
            self.next, self._last, self._unsure = begin, None, False
            if place is not None and place > end:
                self._older = self._newest
            return begin, missing
        # The last one is read again, to see whether this is the log that it was read from.
        self._unsure = place > begin and (self._unsure or self._last is not None)
        return self.start, False

    def read(self, records: Sequence[Record]) -> tuple[Sequence[Record], bool]:
        """Some records have come, one after the other.

        Returns:
            Those that are new, and whether any are missing before them.

        Raises:
            AnotherLog: It is another log, to be read from its beginning.
        """
        if self._unsure:
            self._unsure = False
            if self.next is not None and records[0].offset == self.next - 1:
                seen = _mark(records[0])
                if self._last not in (None, seen):
                    self.next, self._last, self._older = None, None, self._newest
                    raise AnotherLog
                self._last = seen
                self._newest = max(self._newest, records[0].timestamp)
                records = records[1:]
        if not records:
            return records, False
        missing = self.next not in (None, records[0].offset)
        if missing and self.next is not None and records[0].offset < self.next:
            self._older = self._newest
        self.next = records[-1].offset + 1
        self._last = _mark(records[-1])
        return self._news(records), missing

    def _news(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that were not there before the log lost its end, if that is what it has lost."""
        if self._older >= 0:
            known = 0
            while known < len(records) and _is_older(records[known], self._older):
                known += 1
            if known < len(records):
                self._older = -1
            records = records[known:]
        if records:
            self._newest = max(self._newest, records[-1].timestamp)
        return records

    @property
    def start(self) -> int:
        """Where to read from: the last one that was read is read again, where it is in doubt."""
        return 0 if self.next is None else self.next - self._unsure

    def moved(self, to: int) -> None:
        """It is read on at ``to``, since what is between cannot be read, or is there no more."""
        if self.next is not None and to < self.next:
            self._older = self._newest
        self.next, self._last, self._unsure = to, None, False

    @property
    def behind(self) -> bool:
        """Whether what comes next was published before the connection began."""
        return self.next is not None and self.next < self.backlog


class AnotherLog(Exception):
    """The topic was deleted and made again, or its log was lost."""


def _is_older(record: _Record, than: int) -> bool:
    """Whether it was written before that time, by the one clock that may be compared."""
    return record.timestamp_type == BROKERS and record.timestamp < than


def _mark(record: _Record) -> object:
    return record.timestamp, record.key, record.headers

"""What makes an echoing bus safe: tagged payloads and their sequence numbers.

Pure bookkeeping, shared by ``tagged()`` and the transports of the brokers. A
payload travels as ``1 <instance> <epoch> <seq> <payload>``. The instance tells a
receiver what is its own; epoch and sequence, counted per publisher and channel,
tell it what came twice and what never came.
"""

from __future__ import annotations

import math
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "ENVELOPE_BYTES",
    "Envelope",
    "SequenceWatch",
    "Sequencer",
    "Verdict",
    "assemble",
    "new_instance_id",
    "parse",
    "wrap",
]

ENVELOPE_BYTES = 64
"""Bytes that it adds to a payload, at most: an instance of 16 and two numbers of up to 19."""

COUNTERS = 100_000
"""Channels whose numbers an instance remembers: some 20 MB, where all are used."""

_FORM = re.compile(r"1 ([!-~]{1,64}) (0|[1-9][0-9]{0,18}) ([1-9][0-9]{0,18}) ", re.ASCII)
_LIMIT = 2**63


class Envelope(NamedTuple):
    """A payload with what its publisher said about it."""

    instance: str
    epoch: int
    seq: int
    payload: str


class Verdict(NamedTuple):
    """What to do with a message: deliver it or not, and how many are missing before it."""

    deliver: bool
    missing: int


DELIVER = Verdict(True, 0)
DUPLICATE = Verdict(False, 0)


def new_instance_id() -> str:
    """16 random hex digits: who publishes, for as long as it runs."""
    return secrets.token_hex(8)


def wrap(instance: str, epoch: int, seq: int, payload: str) -> str:
    """The tagged form of ``payload``."""
    return f"1 {instance} {epoch} {seq} {payload}"


def parse(text: str) -> Envelope | None:
    """The parts of a tagged payload; None for anything else."""
    match = _FORM.match(text)
    if match is None:
        return None
    epoch, seq = int(match[2]), int(match[3])
    if epoch >= _LIMIT or seq >= _LIMIT:
        return None
    return Envelope(match[1], epoch, seq, text[match.end() :])


def assemble(head: Sequence[bytes], payload: bytes) -> Envelope | None:
    """What :func:`parse` gives, where a broker keeps the parts of the head apart.

    Args:
        head: Version, instance, epoch and sequence number.
        payload: The payload.
    """
    try:
        envelope = parse(b" ".join((*head, b"")).decode("ascii"))
        # A part with a space in it would leave something behind the head.
        if envelope is None or envelope.payload:
            return None
        return envelope._replace(payload=payload.decode())
    except UnicodeDecodeError:
        return None


class Sequencer:
    """Numbers what one instance publishes: from 1 per channel.

    Counters are bounded; the least recently used goes. A channel that comes
    back after that counts from 1 in a greater epoch.
    """

    __slots__ = ("_counters", "_epoch", "_limit")

    def __init__(self, limit: int = COUNTERS) -> None:
        """Keep at most ``limit`` counters."""
        self._limit = limit
        self._epoch = 1
        self._counters: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def next(self, channel: str) -> tuple[int, int]:
        """The (epoch, seq) of the next message on ``channel``."""
        counters = self._counters
        epoch, seq = counters.get(channel, (self._epoch, 0))
        counters[channel] = (epoch, seq + 1)
        counters.move_to_end(channel)
        if len(counters) > self._limit:
            counters.popitem(last=False)
            self._epoch += 1
        return epoch, seq + 1


class _Seen:
    __slots__ = ("at", "epoch", "resync", "seq")

    def __init__(self, epoch: int, seq: int, at: float) -> None:
        self.epoch = epoch
        self.seq = seq
        self.at = at
        self.resync = False


class SequenceWatch:
    """Judges incoming messages by their numbers: new, repeated, or after a gap.

    What a publisher sent before it was first seen is no gap. After an
    unsubscribe the numbers are kept for a while, so that a late duplicate is
    still known, but what passed meanwhile is no gap either.
    """

    __slots__ = ("_channels", "_forget_after", "_publishers", "_swept_at")

    def __init__(self, *, publishers: int = 1024, forget_after: float = 60.0) -> None:
        """Watch at most ``publishers`` a channel, each forgotten after seconds of silence."""
        self._channels: dict[str, OrderedDict[str, _Seen]] = {}
        self._publishers = publishers
        self._forget_after = forget_after
        self._swept_at = -math.inf

    def judge(self, channel: str, instance: str, epoch: int, seq: int, now: float) -> Verdict:
        """What to do with the message that carries these numbers."""
        seen_here = self._channels.get(channel)
        if seen_here is None:
            seen_here = self._channels[channel] = OrderedDict()
        self._forget_old(seen_here, now)
        seen = seen_here.get(instance)
        if seen is None:
            seen_here[instance] = _Seen(epoch, seq, now)
            if len(seen_here) > self._publishers:
                seen_here.popitem(last=False)
            return DELIVER
        if epoch < seen.epoch or (epoch == seen.epoch and seq <= seen.seq):
            return DUPLICATE
        missing = seq - 1 if epoch > seen.epoch else seq - seen.seq - 1
        if seen.resync:
            missing = 0
            seen.resync = False
        seen.epoch, seen.seq, seen.at = epoch, seq, now
        seen_here.move_to_end(instance)
        return DELIVER if not missing else Verdict(True, missing)

    def unsubscribed(self, channel: str, now: float) -> None:
        """From now on messages of ``channel`` are not heard, until it is subscribed again."""
        seen_here = self._channels.get(channel)
        if seen_here is None:
            return
        self._forget_old(seen_here, now)
        if not seen_here:
            del self._channels[channel]
        for seen in seen_here.values():
            seen.resync = True

    def forget_old(self, now: float) -> None:
        """Drop what has been silent for too long; to be called now and then.

        It looks through everything at most once in ``forget_after`` seconds, so
        that whoever calls it for each of 10,000 channels pays for one look.
        """
        if now - self._swept_at < self._forget_after:
            return
        self._swept_at = now
        for channel in list(self._channels):
            self._forget_old(self._channels[channel], now)
            if not self._channels[channel]:
                del self._channels[channel]

    def _forget_old(self, seen_here: OrderedDict[str, _Seen], now: float) -> None:
        # Ordered by the time of the last message: the silent ones are in front.
        while seen_here:
            instance, seen = next(iter(seen_here.items()))
            if now - seen.at <= self._forget_after:
                return
            del seen_here[instance]

    def __len__(self) -> int:
        return sum(len(seen) for seen in self._channels.values())

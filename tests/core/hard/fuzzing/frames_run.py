"""A bounded run of the frame fuzzer, and what makes its findings small enough to read."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.core.hard.fuzzing.frames_bench import Bench
from tests.core.hard.fuzzing.frames_streams import Stream, make_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTEMPTS = 2000
"""Tries at making one finding smaller."""


class Finding(NamedTuple):
    """A stream about which the server and the reference differ."""

    number: int
    told: str
    stream: Stream

    def __str__(self) -> str:
        return f"stream {self.number}: {self.told}\n    {self.stream}"


class Outcome(NamedTuple):
    """What a run came to; ``unsure`` streams were judged up to a frame only."""

    streams: int
    frames: int
    unsure: int
    findings: list[Finding]


def stream_of(seed: str, number: int) -> Stream:
    """One stream of a run: each can be made without those before it."""
    return make_stream(Random(f"{seed}/{number}"))


def fuzz(
    seed: str,
    frames: int,
    *,
    first: int = 0,
    findings: int = 1,
    progress: Callable[[Bench, int], None] = lambda bench, number: None,
) -> Outcome:
    """Run streams until ``frames`` frames were read, or so many findings were made."""
    return asyncio.run(_fuzz(seed, frames, first, findings, progress))


async def _fuzz(
    seed: str, frames: int, first: int, most: int, progress: Callable[[Bench, int], None]
) -> Outcome:
    found: list[Finding] = []
    number = first
    async with Bench().running() as bench:
        while bench.frames < frames and len(found) < most:
            stream = stream_of(seed, number)
            told = await bench.check(stream)
            if told is not None:
                counted = bench.frames
                stream, told = await smaller(bench, stream, told)
                bench.frames = counted
                found.append(Finding(number, told, stream))
            number += 1
            progress(bench, number)
    return Outcome(number - first, bench.frames, bench.unsure, found)


async def smaller(bench: Bench, stream: Stream, told: str) -> tuple[Stream, str]:
    """The smallest stream near ``stream`` that the two still differ about."""
    attempts = 0
    again = True
    while again:
        again = False
        for candidate in simpler(stream):
            attempts += 1
            if attempts > ATTEMPTS:
                return stream, told
            difference = await bench.check(candidate)
            if difference is not None:
                stream, told, again = candidate, difference, True
                break
    return stream, told


def simpler(stream: Stream) -> Iterator[Stream]:
    """Streams with one thing less."""
    if stream.cuts:
        yield stream._replace(cuts=())
    if stream.blocked is not None:
        yield stream._replace(blocked=None)
    if stream.eager:
        yield stream._replace(eager=False)
    if stream.app != "small":
        yield stream._replace(app="small")
    frames, cuts = stream.frames, stream.cuts
    for step in (8, 1):
        for at in range(0, len(frames), step):
            rest = frames[:at] + frames[at + step :]
            if rest:
                yield shortened(stream._replace(frames=rest))
    for at in range(len(cuts)):
        yield stream._replace(cuts=cuts[:at] + cuts[at + 1 :])
        if cuts[at].rest:
            yield stream._replace(cuts=(*cuts[:at], cuts[at]._replace(rest=False), *cuts[at + 1 :]))


def shortened(stream: Stream) -> Stream:
    """A stream without the cuts behind its end."""
    end = stream.end
    return stream._replace(cuts=tuple(cut for cut in stream.cuts if cut.at < end))

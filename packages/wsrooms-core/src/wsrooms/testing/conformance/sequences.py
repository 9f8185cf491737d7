"""Cases 24 to 27: the numbers that messages carry show what came twice and what never came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.testing.conformance.case import case
from wsrooms.transports import Gap, new_instance_id, room_of

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Listener
    from wsrooms.testing.conformance.trial import Trial

BATCH = 100
"""Publishes between two turns of the loop."""


@case(24, needs=("publish_raw", "stats"))
async def duplicate_is_dropped_and_counted(trial: Trial) -> None:
    """A message that is carried twice, or late, is delivered once, and counted as a duplicate."""
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    before = b.stats.get("duplicates", 0)
    await _frames(trial, listener, [(1, 1), (1, 2), (1, 2), (1, 1), (1, 3), (1, 3), (1, 4)])
    await trial.until(lambda: "1.4" in listener.received, "the last of the frames")
    trial.check(
        listener.received == ["1.1", "1.2", "1.3", "1.4"],
        f"of frames 1 2 2 1 3 3 4 it received {listener.received}",
    )
    counted = b.stats.get("duplicates", 0) - before
    trial.check(counted == 3, f"{counted} of 3 duplicates are counted")
    trial.check(not b.gaps, f"nothing was lost, and told are {b.gaps}")


@case(25, needs=("publish_raw", "gaps"))
async def gap_is_reported_once_with_its_size(trial: Trial) -> None:
    """Who skips three numbers is reported once, by room and publisher, as three missing."""
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    room = room_of(listener.channel)
    publisher = await _frames(trial, listener, [(1, 7), (1, 8), (1, 12), (1, 13)])
    await trial.until(lambda: "1.13" in listener.received, "the last of the frames")
    trial.check(
        b.gaps == [Gap(room, publisher, 3)], f"frames 7 8 12 13 have a gap of 3; told: {b.gaps}"
    )
    # A greater epoch begins with 1; what comes late from a former one is no news.
    await _frames(trial, listener, [(2, 3), (1, 14), (2, 4)], publisher)
    await trial.until(lambda: "2.4" in listener.received, "the last of the frames")
    trial.check("1.14" not in listener.received, "a frame of a former epoch was delivered")
    trial.check(
        b.gaps[1:] == [Gap(room, publisher, 2)],
        f"epoch 2 begins with 3, so two are missing; told: {b.gaps[1:]}",
    )


async def _frames(
    trial: Trial,
    listener: Listener,
    numbers: list[tuple[int, int]],
    publisher: str | None = None,
) -> str:
    """Publish frames of an instance that is not there; its id."""
    publisher = new_instance_id() if publisher is None else publisher
    for epoch, seq in numbers:
        payload = f"{epoch}.{seq}"
        await trial.rig.publish_frame(listener.channel, publisher, epoch, seq, payload)
    return publisher


@case(26)
async def late_subscriber_sees_no_gap(trial: Trial) -> None:
    """What was published before a subscribe, or between two, is not reported as missing."""
    a, b = await trial.several(2)
    channel = trial.channel()
    await _numbered(trial, channel, 0, 500)
    listener = await b.listen(channel)
    await _numbered(trial, channel, 500, 600)
    await trial.heard(listener, 100)
    await b.unsubscribe(channel)
    await _numbered(trial, channel, 600, 900)
    again = await b.listen(channel)
    await _numbered(trial, channel, 900, 1000)
    await trial.heard(again, 100)
    await trial.flushed(a, again)
    trial.judge()
    trial.check(not b.gaps, f"nothing was lost, and told are {b.gaps}")


async def _numbered(trial: Trial, channel: str, first: int, last: int) -> None:
    publisher = trial.instances[0]
    receipts = [publisher.publish(channel, str(number)) for number in range(first, last)]
    await trial.all_published(receipts)


@case(27, needs=("counters",), deadline=60.0)
async def counter_eviction_is_no_gap(trial: Trial) -> None:
    """A publisher that has forgotten how far it counted on a channel causes no gap and no loss."""
    limit = trial.rig.counters
    if limit is None:
        trial.skip("there are too many counters")
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    for turn in range(3):
        for number in range(3):
            await a.say(listener.channel, f"{turn}.{number}")
        receipts = []
        for number in range(limit + 1):
            receipts.append(a.publish(trial.channel(f"{turn}.{number}"), f"{turn} {number}"))
            if number % BATCH == 0:
                await asyncio.sleep(0)
        await trial.all_published(receipts, timeout=20.0)
    await trial.heard(listener, 9)
    await trial.flushed(a, listener)
    trial.judge()
    trial.check(not b.gaps, f"nothing was lost, and told are {b.gaps}")

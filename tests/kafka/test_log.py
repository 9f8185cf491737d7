"""The log is not what it was: lost, cut short, or another one that has grown past our place.

Of each message each receiver has an account: it came, once and in order, or a gap counts it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE, promised
from tests.kafka.shared import ROOMS, Topic, topic_at
from tests.transports.crew import Crew, crew_of
from wsrooms import Gap
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsrooms.testing import TcpProxy

ANY_ROOM = Gap(None, None, None)

NO_PROBES = 3600.0
"""Seconds between two probes that never come."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def one_behind_a_proxy(topic: Topic) -> AsyncIterator[tuple[Crew, TcpProxy]]:
    """A crew of which the first is behind a proxy, and two are not."""
    async with topic.server.proxy() as proxy:
        ways = [topic.url(proxy.port), topic.url(), topic.url()]
        async with crew_of(map(KafkaTransport, ways), ROOMS) as crew:
            yield crew, proxy


async def cut_off(crew: Crew, proxy: TcpProxy) -> None:
    """Let the first have no connection, and wait until it knows."""
    async with asyncio.timeout(DEADLINE):
        for receipt in crew[0].receipts:  # what is not confirmed would be sent again
            await receipt
    proxy.refuse()
    proxy.cut()
    await crew.until(lambda: crew[0].states[-1:] == ["down"])


async def confirmed(crew: Crew, each: int) -> None:
    """Have those that are not cut off publish so many in each room, and Kafka take them."""
    async with asyncio.timeout(DEADLINE):
        for instance in crew[1:]:
            for _ in range(each * len(ROOMS)):
                await instance.receipts[instance.say()]


async def back_again(crew: Crew, proxy: TcpProxy) -> None:
    """Give the first a connection, and wait until all hear all."""
    proxy.heal()
    await crew.until(lambda: crew[0].states[-1:] == ["up"])
    await crew.all_hear_all()


async def test_what_was_published_meanwhile_is_heard_after_an_outage() -> None:
    async with topic_at() as topic, one_behind_a_proxy(topic) as (crew, proxy):
        await cut_off(crew, proxy)
        await confirmed(crew, 20)
        assert not crew[0].has(crew[1].name, len(crew[1].receipts) - 1)
        await back_again(crew, proxy)
        account = await crew.account()
        assert (account.failed, account.told) == (0, 0)
        assert all(instance.gaps == [] for instance in crew)
        assert [instance.transport.stats()["duplicates"] for instance in crew] == [0, 0, 0]


async def test_records_that_were_removed_during_an_outage_are_told_as_lost() -> None:
    async with topic_at() as topic, one_behind_a_proxy(topic) as (crew, proxy):
        await cut_off(crew, proxy)
        await confirmed(crew, 20)
        await topic.remove_records()
        await confirmed(crew, 5)
        await back_again(crew, proxy)
        account = await crew.account()
        assert account.failed == 0
        lost = 20 * len(ROOMS)
        assert account.lost == {(crew[0].name, other.name): lost for other in crew[1:]}
        assert crew[0].gaps.count(ANY_ROOM) == 1
        assert all(instance.gaps == [] for instance in crew[1:])


async def test_a_log_that_was_made_again_and_has_grown_past_our_place_is_read_from_its_first() -> (
    None
):
    async with topic_at() as topic, one_behind_a_proxy(topic) as (crew, proxy):
        await cut_off(crew, proxy)
        read = await topic.ends()
        await topic.make_again()
        await confirmed(crew, max(read.values()))
        assert all(end > read[number] for number, end in (await topic.ends()).items())
        await back_again(crew, proxy)
        account = await crew.account()
        log.info("%s", account)
        assert (account.failed, account.told) == (0, 0)
        assert crew[0].gaps == [ANY_ROOM]


async def test_a_log_that_is_made_again_under_running_instances_loses_only_what_is_told() -> None:
    async with topic_at() as topic:
        transports = [KafkaTransport(topic.url()) for _ in range(3)]
        async with crew_of(transports, ROOMS) as crew:
            await topic.make_again()
            # Kafka tells no reader that it is another log, once that has the place it asks for.
            for _ in range(50 * len(ROOMS)):
                for instance in crew:
                    instance.say()
            await crew.all_hear_all()
            account = await crew.account()
            log.info("%s", account)
            assert account.failed == 0


async def test_a_broker_that_comes_back_without_its_log_is_heard_from_the_first_message_on() -> (
    None
):
    async with topic_at(auto_create=True) as topic:
        # A machine may take its time to start it: nothing may get too old meanwhile.
        ways = [KafkaTransport(topic.url(outbox_age=60)) for _ in range(3)]
        async with crew_of(ways, ROOMS) as crew:
            async with crew.talking(pace=0.01):
                await crew.each_says(100)
                for instance in crew:
                    instance.states.clear()
                await topic.server.restart(keep_log=False)
                await crew.until(lambda: all(each.states[-1:] == ["up"] for each in crew))
                await crew.all_hear_all()
            await crew.all_hear_all()
            account = await crew.account()
            log.info("%s", account)
            assert account.failed == 0
            assert all(ANY_ROOM in instance.gaps for instance in crew)
        assert len(await topic.partitions()) == len(ROOMS)


async def test_what_becomes_too_old_while_an_instance_stands_still_is_told_as_lost() -> None:
    room = ROOMS[0]
    async with topic_at() as topic:
        # Long enough for the process to hear what it is to hear; its probes would be kept too.
        url = topic.url(retention=round(promised(3)), probe_interval=NO_PROBES)
        async with crew_of([KafkaTransport(url)], [room]) as crew, a_listener(url, room) as process:
            [instance] = crew
            before = instance.say()
            assert await lines_until(process, f"heard {instance.name} {before}") == []
            process.send_signal(signal.SIGSTOP)
            for _ in range(100):
                await instance.receipts[instance.say()]
            async with asyncio.timeout(DEADLINE):
                while not await topic.is_empty():  # noqa: ASYNC110 - Kafka tells nobody
                    await asyncio.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            # What had been sent to it before it stood still, it has.
            heard = await lines_until(process, "gap anywhere")
            missing = len(instance.receipts) - before - 1 - len(heard)
            assert missing > 0
            assert heard == [f"heard {instance.name} {before + 1 + at}" for at in range(len(heard))]
            after = instance.say()  # once it runs again: else this might become too old as well
            lines = await lines_until(process, f"heard {instance.name} {after}")
            assert lines == [f"gap {room} {missing}"]


@asynccontextmanager
async def a_listener(url: str, room: str) -> AsyncIterator[Process]:
    """A process that says what it hears there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kafka.listener", url, room, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    try:
        await lines_until(process, "ready")
        yield process
        process.stdin.close()
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def lines_until(process: Process, last: str) -> list[str]:
    """What it says before it says that."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(DEADLINE):
        async for line in process.stdout:
            said = line.decode().rstrip()
            if said == last:
                return lines
            lines.append(said)
    raise AssertionError(f"it has ended: {lines}")

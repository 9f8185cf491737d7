"""A cluster of three servers: instances at each, and what becomes of them when servers die."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.brokers import NatsServer, nats_cluster
from tests.deadlines import DEADLINE, promised
from tests.nats.crew import Crew, Instance, crew_at, names_at, url_of
from wsrooms import Gap
from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEALED_WITHIN = promised(10.0)

log = logging.getLogger(__name__)


@pytest.fixture
async def servers() -> AsyncIterator[list[NatsServer]]:
    async with nats_cluster(3) as servers:
        yield servers


def each_first(servers: list[NatsServer]) -> list[str]:
    """URLs that name all servers, each of them first in one."""
    return [url_of(*servers[at:], *servers[:at]) for at in range(len(servers))]


async def healed(crew: Crew, moved: list[Instance], began: float) -> None:
    """Wait until ``moved`` are up again and all hear all."""
    await crew.until(lambda: all(instance.states[-1:] == ["up"] for instance in moved))
    await crew.all_hear_all()
    took = time.monotonic() - began
    log.info("healed in %.2f s", took)
    assert took < HEALED_WITHIN


async def test_what_is_published_at_any_server_after_a_join_is_heard(
    servers: list[NatsServer],
) -> None:
    async with crew_at(*map(url_of, servers)) as crew:
        joins, *publish = [instance.transport for instance in crew]
        heard: list[str] = []

        async def join_and_publish(channel: str) -> None:
            await joins.subscribe(channel, heard.append)
            for transport in publish:
                transport.publish(channel, channel)

        for many in range(10):
            async with asyncio.TaskGroup() as tasks:
                for number in range(30):
                    tasks.create_task(join_and_publish(f"ws:room:{many}/{number}"))
        await crew.all_hear_all()  # behind all that was published before, on the same ways
        assert sorted(heard) == sorted(2 * [f"ws:room:{n // 30}/{n % 30}" for n in range(300)])


async def test_the_kill_of_a_server_under_load_costs_only_what_passed_it(
    servers: list[NatsServer],
) -> None:
    async with crew_at(*each_first(servers), *each_first(servers)) as crew:
        moved, stayed = [crew[0], crew[3]], [crew[1], crew[2], crew[4], crew[5]]
        for instance in moved:
            instance.states.clear()
        async with crew.talking():
            await crew.each_says(100)
            began = time.monotonic()
            await servers[0].kill()
            await healed(crew, moved, began)
            await crew.each_says(100)
        await crew.all_hear_all()
        account = await crew.account()
        log.info("%s", account)
        assert account.failed == 0
        names = {instance.name for instance in stayed}
        assert not [pair for pair in account.lost if names.issuperset(pair)]
        for instance in crew:
            lost_link = instance in moved
            assert instance.gaps.count(Gap(None, None, None)) == lost_link
            assert instance.transport.stats()["reconnects"] == lost_link
        found = await asyncio.gather(*map(names_at, servers[1:]))
        assert set.union(*found) == {instance.name for instance in crew}


async def test_a_server_that_stood_still_and_goes_on_delivers_nothing_twice(
    servers: list[NatsServer],
) -> None:
    query = f"?ping_interval={promised(0.5):g}&confirm_timeout={promised(1.0):g}"
    async with crew_at(*(url + query for url in each_first(servers))) as crew:
        async with crew.talking():
            await crew.each_says(50)
            crew[0].states.clear()
            began = time.monotonic()
            await servers[0].stop()
            await healed(crew, crew[:1], began)
            # What it had taken before it stood still it sends on now, behind what is newer.
            await servers[0].cont()
            await crew.until(
                lambda: sum(each.transport.stats()["duplicates"] for each in crew[1:]) > 0
            )
            await crew.each_says(100)
        await crew.all_hear_all()
        account = await crew.account()
        log.info("%s", account)
        assert account.failed == 0
        assert account.lost.keys() <= {("instance-0", "instance-1"), ("instance-0", "instance-2")}


async def test_each_server_in_turn_may_be_killed_and_brought_back(
    servers: list[NatsServer],
) -> None:
    async with crew_at(*each_first(servers)) as crew:
        async with crew.talking():
            for server in servers:
                await crew.each_says(50)
                names = await names_at(server)
                moved = [instance for instance in crew if instance.name in names]
                for instance in moved:
                    instance.states.clear()
                began = time.monotonic()
                await server.kill()
                await healed(crew, moved, began)
                await server.start()
                await crew.all_hear_all()
        await crew.all_hear_all()
        account = await crew.account()
        log.info("%s", account)
        assert account.failed == 0
        assert all(instance.transport.stats()["reconnects"] >= 1 for instance in crew)


async def test_when_all_servers_have_died_instances_come_back_to_those_that_return(
    servers: list[NatsServer],
) -> None:
    async with crew_at(*each_first(servers)) as crew:
        async with crew.talking():
            await crew.each_says(50)
            for server in servers:
                await server.kill()
            await crew.until(lambda: all(each.states[-1:] == ["down"] for each in crew))
            await crew.each_says(50)
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for server in servers:
                    tasks.create_task(server.start())
            await healed(crew, crew, began)
        await crew.all_hear_all()
        account = await crew.account()
        log.info("%s", account)
        assert account.failed == 0
        for instance in crew:
            assert Gap(None, None, None) in instance.gaps


async def test_a_server_that_only_the_others_have_named_takes_over(
    servers: list[NatsServer],
) -> None:
    named, second, late = servers
    await late.kill()
    async with crew_at(url_of(named), url_of(second)) as crew:
        await late.start()
        moved = crew[0].transport
        assert isinstance(moved, NatsTransport)
        knows = moved.target.addresses
        async with asyncio.timeout(DEADLINE):
            while late.port not in [address.port for address in knows]:  # noqa: ASYNC110 - told by the server
                await asyncio.sleep(0.01)
        crew[0].states.clear()
        began = time.monotonic()
        await named.kill()
        await second.kill()
        await healed(crew, crew[:1], began)
        account = await crew.account()
        assert account.failed == 0
        assert await names_at(late) == {"instance-0", "instance-1"}

"""Servers of a cluster that are told to go: the instances there move on, and miss nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tests.brokers import NatsServer, nats_cluster, nats_server
from tests.deadlines import DEADLINE
from tests.nats.crew import LEAVES_SLOWLY, Crew, crew_at, left_by_all, names_at, url_of
from tests.nats.pair import LOGIN, MAY_NOT_ASK, a_pair, behind_a_proxy
from wsrooms import Gap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAR = 0.1
"""Seconds between servers: longer than anything else takes here."""

log = logging.getLogger(__name__)


@pytest.fixture
async def servers() -> AsyncIterator[list[NatsServer]]:
    async with nats_cluster(3, config=LEAVES_SLOWLY) as servers:
        yield servers


def forget_states(crew: Crew) -> None:
    for instance in crew:
        instance.states.clear()


async def test_servers_that_are_replaced_one_after_the_other_cost_no_message(
    servers: list[NatsServer],
) -> None:
    urls = [url_of(*servers[at:], *servers[:at]) for at in range(3)]
    async with crew_at(*urls, *urls) as crew:
        forget_states(crew)
        async with crew.talking():
            for server in servers:
                await crew.each_says(50)
                await server.lame_duck()
                await left_by_all(server)
                await server.restart()
                await crew.all_hear_all()
        await crew.all_hear_all()
        account = await crew.account()
        log.info("%s", account)
        assert (account.failed, account.told, account.lost) == (0, 0, {})
        for instance in crew:
            assert (instance.states, instance.gaps) == ([], [])
            assert instance.transport.stats()["reconnects"] == 0


async def test_a_server_that_only_the_leaving_one_has_named_takes_over_without_a_loss(
    servers: list[NatsServer],
) -> None:
    leaving, other, _ = servers
    async with crew_at(url_of(leaving), url_of(other)) as crew:
        forget_states(crew)
        async with crew.talking():
            await crew.each_says(50)
            await leaving.lame_duck()
            await left_by_all(leaving)
            await crew.each_says(50)
        await crew.all_hear_all()
        account = await crew.account()
        assert (account.failed, account.told, account.lost) == (0, 0, {})
        assert [(instance.states, instance.gaps) for instance in crew] == 2 * [([], [])]
        found = await asyncio.gather(*map(names_at, servers))
        assert set.union(*found[1:]) == {instance.name for instance in crew}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=["from afar", "to afar"])
async def test_joins_while_an_instance_moves_miss_nothing(order: tuple[int, int, int]) -> None:
    async with behind_a_proxy(3, LEAVES_SLOWLY) as (servers, route, _):
        leaving, to, other = (servers[number] for number in order)
        async with crew_at(url_of(leaving, to), url_of(other)) as crew:
            route.slow(latency=FAR)
            await joined_during_a_move(crew, leaving)


async def joined_during_a_move(crew: Crew, leaving: NatsServer) -> None:
    moves, publishes = (instance.transport for instance in crew)
    heard: list[str] = []
    rooms: list[str] = []
    over = asyncio.Event()

    async def join() -> None:
        while not over.is_set():
            room = f"ws:room:{len(rooms)}"
            rooms.append(room)
            await moves.subscribe(room, heard.append)
            await publishes.publish(room, room)

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(join())
        await leaving.lame_duck()
        await left_by_all(leaving)
        over.set()
    await crew.all_hear_all()  # behind what was published before
    log.info("%d joins", len(rooms))
    assert sorted(heard) == sorted(rooms)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)], ids=["from afar", "to afar"])
async def test_a_move_costs_no_message_where_one_server_is_far_from_the_others(
    order: tuple[int, int, int],
) -> None:
    async with behind_a_proxy(3, LEAVES_SLOWLY) as (servers, route, _):
        leaving, to, other = (servers[number] for number in order)
        urls = [url_of(leaving, to), url_of(leaving, to), url_of(to), url_of(other)]
        async with crew_at(*urls) as crew:
            forget_states(crew)
            route.slow(latency=FAR)
            async with crew.talking():
                await crew.each_says(100)
                await leaving.lame_duck()
                await left_by_all(leaving)
                await crew.each_says(100)
            await crew.all_hear_all()
            account = await crew.account()
            log.info("%s", account)
            assert (account.failed, account.told, account.lost) == (0, 0, {})
            assert [(instance.states, instance.gaps) for instance in crew] == 4 * [([], [])]
            assert await names_at(to) == {"instance-0", "instance-1", "instance-2"}


async def test_who_may_not_ask_other_servers_moves_at_a_cost_that_is_told() -> None:
    async with a_pair(LOGIN, MAY_NOT_ASK + LEAVES_SLOWLY) as pair:
        forget_states(pair.crew)
        one, other = pair.crew
        async with pair.crew.talking():
            await pair.crew.each_says(50)
            await pair.servers[0].lame_duck()
            await left_by_all(pair.servers[0])
            await pair.crew.until(lambda: one.states[-1:] == ["up"])
            await pair.crew.each_says(50)
        await pair.crew.all_hear_all()
        account = await pair.crew.account()
        assert account.failed == 0
        assert account.lost.keys() <= {(one.name, other.name)}
        assert one.states == ["down", "up"]
        assert one.gaps.count(Gap(None, None, None)) == 1
        assert (other.states, Gap(None, None, None) in other.gaps) == ([], False)


async def test_a_server_in_lame_duck_mode_is_kept_while_there_is_no_other() -> None:
    async with nats_server(config=LEAVES_SLOWLY) as server, crew_at(*2 * [url_of(server)]) as crew:
        forget_states(crew)
        await server.lame_duck()
        await crew.all_hear_all()  # behind what the server has told
        assert [instance.states for instance in crew] == [[], []]

"""The route between two servers of a cluster breaks: what instances on either side see of it.

Neither server goes, so no instance is told anything, and its own messages come back: that is
a partition. What it costs is told by the next message that comes through.
"""

from __future__ import annotations

import asyncio

from tests.deadlines import DEADLINE
from tests.nats.crew import ROOM, Crew
from tests.nats.pair import a_pair
from wsrooms import Gap

MESSAGES = 100

PROBES = "?probe_interval=0.2"


async def published(crew: Crew) -> None:
    """Have each publish, and its server take it."""
    for _ in range(MESSAGES):
        for instance in crew:
            instance.say()
    async with asyncio.timeout(DEADLINE):
        for instance in crew:
            for receipt in instance.receipts:
                await receipt


async def probed(crew: Crew) -> None:
    """Wait until each has had messages to itself back."""
    before = [instance.transport.exchange.probes for instance in crew]
    async with asyncio.timeout(DEADLINE):
        for instance, probes in zip(crew, before, strict=True):
            while instance.transport.exchange.probes < probes + 2:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.02)


async def test_a_cut_route_is_noticed_by_nobody_and_its_cost_is_told_once_it_is_back() -> None:
    async with a_pair(PROBES) as pair:
        one, other = pair.crew
        pair.route.refuse()
        pair.route.cut()
        for server in pair.servers:
            async with asyncio.timeout(DEADLINE):
                while (await server.monitor("/routez"))["routes"]:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
        await published(pair.crew)
        await probed(pair.crew)
        assert one.heard[other.name] == other.heard[one.name] == [0]
        assert not any(instance.gaps or instance.states for instance in pair.crew)
        pair.route.heal()
        await pair.routed()
        # What each server then tells the other of its subscriptions may still be on its way.
        async with asyncio.timeout(DEADLINE):
            while not all(each.heard[peer.name][1:] for each, peer in ((one, other), (other, one))):
                for instance in pair.crew:
                    instance.say()
                await asyncio.sleep(0.02)
        await pair.crew.all_hear_all()
        account = await pair.crew.account()
        assert account.failed == 0
        for instance, publisher in ((one, other), (other, one)):
            [gap] = instance.gaps
            lost = account.lost[instance.name, publisher.name]
            assert gap == Gap(ROOM, publisher.transport.exchange.instance, lost)
            assert lost >= MESSAGES
            assert instance.states == []
            assert instance.transport.stats()["duplicates"] == 0


async def test_a_join_during_a_partition_is_confirmed_by_the_server_that_is_there() -> None:
    async with a_pair() as pair:
        one, other = pair.crew
        pair.route.hole()
        heard: list[str] = []
        async with asyncio.timeout(DEADLINE):
            await one.transport.subscribe("ws:room:/late", heard.append)
            await other.transport.publish("ws:room:/late", "missed")
        pair.route.heal()
        await pair.crew.all_hear_all()
        async with asyncio.timeout(DEADLINE):
            while not heard:  # the subscription itself was in the hole, and tells nobody
                other.transport.publish("ws:room:/late", "heard")
                await asyncio.sleep(0.02)
        assert "missed" not in heard
        assert one.gaps == []


async def test_a_route_that_is_silent_for_a_while_delays_and_loses_nothing() -> None:
    async with a_pair() as pair:
        one, other = pair.crew
        pair.route.hole()
        await published(pair.crew)
        assert one.heard[other.name] == other.heard[one.name] == [0]
        pair.route.heal()
        await pair.crew.all_hear_all()
        account = await pair.crew.account()
        assert (account.failed, account.told, account.lost) == (0, 0, {})
        assert not any(instance.gaps or instance.states for instance in pair.crew)
        assert [each.transport.stats()["duplicates"] for each in pair.crew] == [0, 0]

"""What a join waits for in a cluster, until no message of another server is missed."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, PATIENT, promised
from tests.nats.crew import Instance, url_of
from tests.nats.pair import (
    LOGIN,
    MAY_NOT_ASK,
    Pair,
    a_pair,
    behind_a_proxy,
    knows_a_room_elsewhere,
)
from wsrooms.testing import TcpProxy
from wsrooms_nats import NatsTransport, conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.brokers import NatsServer

CHANNEL = "ws:room:/late"

FAR = 0.1
"""Seconds between the two servers: longer than anything else takes here."""

NEAR = promised(0.1)
"""Seconds within which a server has learnt of those who started when it did."""

LATE = promised(0.4)
"""Seconds that what an instance writes takes to its own server, and the answer back."""

ROOMS = 20


async def missed(pair: Pair, query: str = "", then: Callable[[], None] = lambda: None) -> list[str]:
    """Rooms that an instance joins and does not hear, where another one publishes at once.

    ``then`` is called when the other's server has taken all of that.
    """
    joins = NatsTransport(url_of(pair.servers[0]) + query)
    publishes = pair.crew[1].transport
    heard: list[str] = []
    rooms = [f"ws:room:{number}" for number in range(ROOMS)]

    async def join(room: str) -> None:
        await joins.subscribe(room, heard.append)
        await publishes.publish(room, room)

    async with asyncio.timeout(DEADLINE):
        await joins.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for room in rooms:
                    tasks.create_task(join(room))
            then()
            # What follows on the same way, until it is known there, comes behind the others.
            await joins.subscribe(CHANNEL, heard.append)
            while CHANNEL not in heard:
                publishes.publish(CHANNEL, CHANNEL)
                await asyncio.sleep(FAR / 10)
        finally:
            await joins.close()
    return sorted(set(rooms).difference(heard))


async def test_a_join_waits_until_a_server_far_away_knows_of_it() -> None:
    async with a_pair() as pair:
        pair.route.slow(latency=FAR)
        assert await missed(pair) == []


async def test_a_join_waits_as_long_as_it_is_told_to() -> None:
    async with a_pair() as pair:
        pair.route.slow(latency=FAR)
        assert await missed(pair, f"?join_settle={promised(1.0)}") == []


async def test_a_join_that_is_to_wait_for_nobody_misses_what_comes_before_others_know() -> None:
    async with a_pair() as pair:
        pair.route.hole()
        assert len(await missed(pair, "?join_settle=0", pair.route.heal)) == ROOMS


@pytest.mark.parametrize(("query", "heard"), [("", ["now"]), ("?join_settle=0", [])])
async def test_a_start_waits_until_its_server_knows_of_those_who_join_meanwhile(
    query: str, heard: list[str]
) -> None:
    async with a_pair() as pair:
        one, other = pair.crew
        await other.transport.close()
        await nobody_asked_from(pair.servers[0])
        if heard:
            pair.route.slow(latency=FAR)
        else:
            pair.route.hole()
        got: list[str] = []
        late = NatsTransport(url_of(pair.servers[1]) + query)
        async with asyncio.timeout(DEADLINE):
            # Nobody at the other server could say so: this is confirmed at once.
            await one.transport.subscribe(CHANNEL, got.append)
            await late.start()
            try:
                await late.publish(CHANNEL, "now")
                if not heard:
                    pair.route.heal()
                while "later" not in got:
                    late.publish(CHANNEL, "later")
                    await asyncio.sleep(FAR / 10)
            finally:
                await late.close()
        assert [each for each in got if each != "later"] == heard


async def test_of_instances_that_start_at_once_each_hears_the_others_first_message() -> None:
    async with behind_a_proxy(2) as (servers, route, _):
        route.slow(latency=NEAR)
        for number in range(5):
            room = f"ws:room:{number}"
            joins, publishes = (NatsTransport(url_of(server)) for server in servers)
            heard: asyncio.Queue[str] = asyncio.Queue()
            async with asyncio.timeout(DEADLINE):
                try:
                    await asyncio.gather(joins.start(), publishes.start())
                    await joins.subscribe(room, heard.put_nowait)
                    await publishes.publish(room, room)
                    assert await heard.get() == room
                finally:
                    await asyncio.gather(joins.close(), publishes.close())


async def test_a_start_settles_once_its_own_server_knows_of_it() -> None:
    async with (
        behind_a_proxy(2) as (servers, _, _),
        TcpProxy(servers[0].host, servers[0].port) as proxy,
    ):
        proxy.slow(latency=LATE)
        took: list[float] = []
        for query in ("?join_settle=0", ""):
            url = f"nats://{proxy.host}:{proxy.port}{query}"
            transport = NatsTransport(url, **PATIENT)
            began = time.monotonic()
            await transport.start()
            took.append(time.monotonic() - began)
            await transport.close()
        assert took[1] - took[0] > conversation.SETTLE + LATE


async def nobody_asked_from(server: NatsServer) -> None:
    """Wait until the server knows of no other one that has an instance."""
    async with asyncio.timeout(DEADLINE):
        while "ws:sync.ask" in str(await server.monitor("/routez?subs=1")):  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(0.01)


async def test_a_server_that_does_not_answer_costs_one_join_a_second_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_pair() as pair:
        one, _ = pair.crew
        pair.route.hole()
        with caplog.at_level(logging.WARNING, "wsrooms"):
            first, second = [await seconds_of_join(one, f"ws:room:{room}") for room in "ab"]
        pair.route.heal()
    assert 0.9 * conversation.ANSWER < first < promised(5.0)
    assert second < first / 2
    [line] = warnings_of(caplog)
    assert f"did not say within {conversation.ANSWER:g} s that it knows" in line


async def test_an_instance_that_waits_for_nobody_is_waited_for_by_others() -> None:
    async with behind_a_proxy(2) as (servers, route, _):
        urls = [url_of(server) for server in servers]
        joins, publishes = NatsTransport(urls[0]), NatsTransport(f"{urls[1]}?join_settle=0")
        heard = asyncio.Event()
        async with asyncio.timeout(DEADLINE):
            try:
                await asyncio.gather(joins.start(), publishes.start())
                await publishes.subscribe(CHANNEL, print)
                await knows_a_room_elsewhere(servers[0], CHANNEL)
                route.slow(latency=FAR)
                await joins.subscribe("ws:room:new", lambda _: heard.set())
                await publishes.publish("ws:room:new", "")
                await heard.wait()
            finally:
                await asyncio.gather(joins.close(), publishes.close())


async def test_who_may_not_ask_waits_a_moment_instead_and_the_log_says_what_to_allow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "wsrooms"):
        async with a_pair(LOGIN, MAY_NOT_ASK) as pair:
            one, _ = pair.crew
            for room in ("ws:room:a", "ws:room:b"):
                assert await seconds_of_join(one, room) >= 0.9 * conversation.SETTLE
    denies = [line for line in warnings_of(caplog) if "denies wsrooms.ws:sync." in line]
    assert len(denies) == len(pair.crew)


async def seconds_of_join(instance: Instance, room: str) -> float:
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE):
        await instance.transport.subscribe(room, print)
    return time.monotonic() - began


def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterable[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

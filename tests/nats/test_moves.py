"""From a server in lame duck mode to the next one: what may go wrong on the way."""

from __future__ import annotations

import asyncio
import time
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.brokers import NatsServer, nats_cluster, nats_server
from tests.deadlines import promised
from tests.nats.crew import LEAVES_SLOWLY, crew_at, left_by_all, names_at, url_of
from wsrooms.errors import TransportUnavailable
from wsrooms_nats import NatsTransport, link
from wsrooms_nats.dialogue import Dialogue
from wsrooms_nats.link import NatsLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def servers() -> AsyncIterator[list[NatsServer]]:
    async with nats_cluster(3, config=LEAVES_SLOWLY) as servers:
        yield servers


async def test_a_server_in_lame_duck_mode_is_kept_until_another_one_can_be_reached(
    servers: list[NatsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, late, other = servers
    async with crew_at(url_of(leaving, late), url_of(other)) as crew:
        monkeypatch.setattr(link, "MOVE", promised(1.0))
        await other.stop()
        await late.kill()
        await leaving.lame_duck()
        began = time.monotonic()
        while time.monotonic() - began < 1.2 * link.MOVE:  # each round trip is a witness
            await crew[0].transport.publish("ws:room:alone", "x")
            await asyncio.sleep(0.1)
        crew[0].states.clear()
        assert crew[0].transport.state == "up"
        await other.cont()
        await late.start()
        await left_by_all(leaving)
        assert crew[0].states == []


async def test_the_death_of_the_next_server_during_a_move_holds_up_nothing(
    servers: list[NatsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = Dialogue.follow

    async def follow_and_die(self: Dialogue, other: Dialogue) -> frozenset[str] | None:
        found = await followed(self, other)
        self.wire.abort(TransportUnavailable("it has died"))
        return found

    async with crew_at(url_of(*servers), url_of(servers[1])) as crew:
        for instance in crew:
            instance.states.clear()
        monkeypatch.setattr(Dialogue, "follow", follow_and_die)
        monkeypatch.setattr(link, "MOVE", promised(link.MOVE))
        began = time.monotonic()
        await servers[0].lame_duck()
        # A try that fails tells its own words, so "down" may come more than once.
        await crew.until(lambda: [state for state, _ in groupby(crew[0].states)] == ["down", "up"])
        await crew.all_hear_all()
        assert time.monotonic() - began < link.MOVE / 2
        assert await names_at(servers[0]) == set()


async def test_a_close_that_has_no_time_left_for_the_end_of_a_move_ends_the_connection() -> None:
    async with nats_server() as server:
        transport = NatsTransport(url_of(server), client_name="closing", close_timeout=0.2)
        await transport.start()

        async def move() -> None:  # whose new connection does not end at once
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(promised(0.5))

        [link] = transport._links
        assert isinstance(link, NatsLink)
        moving = link._moving = asyncio.create_task(move())
        await asyncio.sleep(0)
        await transport.close()
        await left_by_all(server)
        await asyncio.wait([moving])

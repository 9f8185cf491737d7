"""``demo_cluster.instance``: what it adds to the chat, in this process."""

from __future__ import annotations

import asyncio

import pytest

from demo_cluster import instance
from wsrooms import WsError
from wsrooms.testing import connect_client, run

ROOM = "/chat/general"


def test_a_connection_calls_the_roll_past_its_allowance_once_it_has_waited() -> None:
    async def main() -> None:
        app = instance.make_app("one", "memory://").replica(lifespan=None)  # its ticks
        async with connect_client(app) as ann, connect_client(app) as bob:
            for one in (ann, bob):
                await one.call("join", ROOM)
            for _ in range(instance.CALLS_AT_ONCE):
                await ann.call("roll", ROOM)
            for _ in range(3):
                with pytest.raises(WsError, match="wait a second") as refused:
                    await ann.call("roll", ROOM)
                assert refused.value.code == 429
            await bob.call("roll", ROOM)  # each has an allowance of his own
            await asyncio.sleep(instance.CALL_EVERY)
            await ann.call("roll", ROOM)
            with pytest.raises(WsError, match="wait a second"):
                await ann.call("roll", ROOM)
            assert await ann.call("here", ROOM) is None

    run(main())

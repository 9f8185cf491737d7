"""A connection notes when its peer last showed that it is there."""

from __future__ import annotations

import asyncio

from wsrooms_redis.wire import Wire


def _ignored(_: object) -> None:
    """What a reply is handed to."""


async def test_a_late_look_blames_the_peer_for_nothing_and_gives_it_no_credit() -> None:
    now = asyncio.get_running_loop().time
    wire = Wire(_ignored)

    wire.heard_at = before = now() - 10
    wire.look(6.0)
    assert wire.heard_at == before + 6.0

    wire.data_received(b":1\r\n")  # has waited while nobody looked
    heard = wire.heard_at
    wire.look(6.0)
    assert heard <= wire.heard_at <= now()

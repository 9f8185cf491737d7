"""The fleet of ``make demo-cluster`` is broken, and heals."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .running import NAMES, Demo, all_up

if TYPE_CHECKING:
    from .running import Peer


async def three(demo: Demo, stack: AsyncExitStack) -> dict[str, Peer]:
    """A member on each instance, by its name."""
    peers = [await stack.enter_async_context(demo.member()) for _ in NAMES]
    return {await peer.call("instance", "/chat"): peer for peer in peers}


async def hear_each_other(peers: dict[str, Peer]) -> None:
    for name, peer in peers.items():
        await peer.call("message", "/chat/general", {"text": f"from {name}"})
        for other in peers.values():
            if other is not peer:
                assert (await other.push("message"))["text"] == f"from {name}"


async def test_connections_are_dealt_in_turn_and_all_hear_each_other(demo: Demo) -> None:
    async with AsyncExitStack() as stack:
        peers = await three(demo, stack)
        assert set(peers) == set(NAMES)
        await hear_each_other(peers)


async def test_the_fleet_heals_when_its_broker_comes_back_and_tells_what_may_be_missed(
    demo: Demo,
) -> None:
    async with AsyncExitStack() as stack:
        peers = await three(demo, stack)
        assert await demo.panel.call("kill", "/fleet/broker") is None
        parts = await demo.becomes(
            lambda parts: all(parts[name]["state"] == "reconnecting" for name in NAMES)
        )
        assert (parts["broker"]["state"], parts["broker"]["why"]) == (
            "down",
            "killed by its button",
        )
        assert all(parts[name]["error"] for name in NAMES), "the broker's own words"

        assert await demo.panel.call("restart", "/fleet/broker") is None
        for name, peer in peers.items():
            assert await peer.push("missed") == {"instance": name, "missing": None}
        parts = await demo.becomes(all_up)
        assert all(parts[name]["gaps"] and parts[name]["reconnects"] for name in NAMES)
        await hear_each_other(peers)


async def test_clients_of_an_instance_that_is_killed_go_on_elsewhere(demo: Demo) -> None:
    async with AsyncExitStack() as stack:
        peers = await three(demo, stack)
        assert await demo.panel.call("kill", "/fleet/one") is None
        assert (await peers.pop("one").end())[0] == 1006
        parts = await demo.becomes(lambda parts: parts["one"]["state"] == "down")
        assert parts["one"]["why"] == "killed by its button"
        assert await demo.panel.call("kill", "/fleet/one") == (409, "one does not run")

        back = await stack.enter_async_context(demo.member())
        assert await back.call("instance", "/chat") in ("two", "three")
        await hear_each_other({**peers, "back": back})


async def test_an_instance_that_dies_by_itself_is_shown(demo: Demo) -> None:
    parts = await demo.becomes(all_up)
    os.kill(parts["two"]["pid"], signal.SIGSEGV)
    parts = await demo.becomes(lambda parts: parts["two"]["state"] == "down")
    assert parts["two"]["why"] == "ended by itself (SIGSEGV)"


async def test_a_restart_is_another_process(demo: Demo) -> None:
    before: dict[str, Any] = await demo.becomes(all_up)
    assert await demo.panel.call("restart", "/fleet/three") is None
    after = await demo.becomes(
        lambda parts: all_up(parts) and parts["three"]["pid"] != before["three"]["pid"]
    )
    assert after["three"]["connections"] == 0


async def test_who_comes_while_no_instance_lives_is_refused_and_the_page_is_there(
    demo: Demo,
) -> None:
    for name in NAMES:
        await demo.panel.call("kill", f"/fleet/{name}")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{demo.host}/")
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "1"
    assert b"No instance lives" in (refused.value.response.body or b"")

    await demo.heal()  # over the same port, which serves the buttons all the while
    async with demo.member() as peer:
        assert await peer.call("instance", "/chat") in NAMES

"""Credentials that are revoked while an app runs, and given back."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from tests.integration.faults_brokers import breaking
from tests.integration.faults_traffic import ROOM
from tests.integration.faults_trial import AT_ONCE, QUICK, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.clients import Client
    from tests.integration.nursery import Nursery

JOIN_TIMEOUT = promised(1.0)


async def _say_why(trial: Trial, refusal: str, secret: str) -> list[bool]:
    """Whether the health of each instance tells that it is refused, and nothing secret."""
    told = [health["error"] or "" for health in await trial.ask("health")]
    return [refusal in each and secret not in each for each in told]


@pytest.mark.parametrize("restart", [False, True], ids=["revoked", "restarted"])
async def test_credentials_that_are_not_known_any_more_are_told_and_needed_again_only(
    nursery: Nursery, broker: Broker, tmp_path: Path, *, restart: bool
) -> None:
    ways = breaking(broker)
    await ways.allow()
    options = {"join_timeout": JOIN_TIMEOUT}
    async with Trial(
        nursery,
        broker,
        tmp_path,
        given={**QUICK, **ways.given},
        login=ways.login,
        options=options,
    ) as trial:
        client = await trial.client(0)
        how = "by a restart" if restart else "while it runs"
        async with trial.fault(f"credentials revoked {how}, given back") as fault:
            noticing = asyncio.create_task(fault.noticed(AT_ONCE))
            await ways.revoke(restart=restart)
            if not (restart or ways.ends_logins):
                for proxy in trial.proxies:
                    proxy.cut()
            await noticing
            await until_equal(lambda: _say_why(trial, ways.refusal, ways.login[1]), [True] * 3)
            with pytest.raises(WsError) as refusal:
                await client.call("enter", "/room", "meanwhile")
            assert refusal.value.code == 503
            await ways.allow()

        fault.assert_served()
        await trial.all_up()
        await client.call("enter", "/room", "afterwards")


async def test_a_room_that_is_forbidden_meanwhile_is_refused_and_heard_again(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    ways = breaking(broker)
    if not ways.forbids_channels:
        pytest.skip(f"{broker.name} has no rights that are those of a room")
    await ways.allow()
    async with Trial(nursery, broker, tmp_path, login=ways.login) as trial:
        clients = [await trial.client(index) for index in range(3)]
        async with trial.fault("a room forbidden and allowed again") as fault:
            await ways.forbid(f"ws:room:{ROOM}", but=("ws:server", "ws:probe:*", "ws:room:/other"))
            for client in clients:
                await until_equal(partial(_refused_at, client, ROOM), True)
            await trial.all_up()
            await clients[0].call("enter", "/room", "/other")
            await until_equal(lambda: _refused_in(trial), True)
            await ways.allow()
            for client in clients:  # the next join asks again
                await client.call("enter", "/room", ROOM)
        fault.assert_served()
        assert fault.row.refused > 0


async def _refused_in(trial: Trial) -> bool:
    """Whether a message was refused because its sender may not send it."""
    return any("PermissionDenied" in record.note for record in trial.history)


async def _refused_at(client: Client, room: str) -> bool:
    """Whether a join is refused."""
    try:
        await client.call("enter", "/room", room)
    except WsError as error:
        return error.code == 503
    await client.call("exit", "/room", room)
    return False

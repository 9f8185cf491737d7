"""Credentials that are revoked while an app runs, and given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.faults_brokers import breaking
from tests.integration.faults_trial import AT_ONCE, QUICK, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.nursery import Nursery

JOIN_TIMEOUT = 1.0


async def _say_why(trial: Trial) -> list[bool]:
    """Whether the health of each instance tells that it is refused, and nothing secret."""
    return ["refused the login" in health["error"] for health in await trial.ask("health")]


async def test_credentials_that_are_revoked_are_told_and_needed_again_only(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    ways = breaking(broker)
    await ways.allow()
    options = {"join_timeout": JOIN_TIMEOUT}
    async with Trial(
        nursery, broker, tmp_path, given=QUICK, login=ways.login, options=options
    ) as trial:
        client = await trial.client(0)
        async with trial.fault("credentials revoked and given back") as fault:
            await ways.revoke()
            await fault.noticed(AT_ONCE)
            await until_equal(lambda: _say_why(trial), [True] * 3)
            with pytest.raises(WsError) as refusal:
                await client.call("enter", "/room", "meanwhile")
            assert refusal.value.code == 503
            await ways.allow()

        fault.assert_served()
        await trial.all_up()
        await client.call("enter", "/room", "afterwards")

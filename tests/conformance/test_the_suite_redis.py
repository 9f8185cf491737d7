"""Every case about bounds and logins can fail: a transport that breaks it is found by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import redis_server
from tests.conformance.redis_breaks import BREAKS
from tests.conformance.redis_rig import RedisRig
from tests.conformance.running import run_case
from wsrooms.testing import HistoryViolated, TcpProxy
from wsrooms.testing.conformance import ConformanceFailed, cases

if TYPE_CHECKING:
    from wsrooms_redis import RedisTransport

pytestmark = pytest.mark.may_block("the suite watches the loop")

BY_NAME = {case.name: case for case in cases()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(name, kind, id=f"{name}-{kind.__name__}") for name, kind in BREAKS],
)
async def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str, kind: type[RedisTransport]
) -> None:
    async with redis_server() as server, TcpProxy(server.host, server.port) as proxy:
        rig = RedisRig(server, proxy, None, kind)
        rig.patience = 2.0
        with pytest.raises((ConformanceFailed, HistoryViolated)):
            await run_case(BY_NAME[name], rig)

"""Every case about bounds and logins can fail: a transport that breaks it is found by it."""

from __future__ import annotations

import pytest

from tests.brokers import redis_server
from tests.conformance.redis_rig import RedisRig
from tests.conformance.running import assert_finds
from tests.conformance.server_breaks import planted_in
from wsrooms.testing import TcpProxy
from wsrooms_redis import RedisTransport

pytestmark = pytest.mark.may_block("the suite watches the loop")

BREAKS = planted_in(RedisTransport)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, id=f"{name}-{kind.__name__}")
        for name, kind in planted_in(RedisTransport)
    ],
)
async def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str, kind: type[RedisTransport]
) -> None:
    async with redis_server() as server, TcpProxy(server.host, server.port) as proxy:
        await assert_finds(name, RedisRig(server, proxy, None, kind))

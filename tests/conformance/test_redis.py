"""The conformance suite on Redis and Valkey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import redis_images, redis_server
from tests.conformance.redis_rig import RedisRig
from tests.conformance.running import lasting, run_case
from wsrooms.testing import TcpProxy
from wsrooms.testing.conformance import Case, cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers import Server

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")


@pytest.fixture(scope="module", params=redis_images())
def image(request: pytest.FixtureRequest) -> str:
    """Give each kind of server that is here."""
    image: str = request.param
    return image


@pytest.fixture(scope="module")
def server(image: str) -> Iterator[Server]:
    """Give one server for all cases."""
    with lasting(redis_server(image)) as server:
        yield server


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_the_redis_transport_conforms(case: Case, server: Server, image: str) -> None:
    async with TcpProxy(server.host, server.port) as proxy:
        await run_case(case, RedisRig(server, proxy, image))

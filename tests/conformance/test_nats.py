"""The conformance suite on NATS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import nats_images
from tests.conformance.nats_rig import NatsRig, server_of
from tests.conformance.running import lasting, run_case
from wsrooms.testing import TcpProxy
from wsrooms.testing.conformance import Case, cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers import NatsServer

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")


@pytest.fixture(scope="module", params=nats_images())
def image(request: pytest.FixtureRequest) -> str:
    """Give each kind of server that is here."""
    image: str = request.param
    return image


@pytest.fixture(scope="module")
def server(image: str) -> Iterator[NatsServer]:
    """Give one server for all cases."""
    with lasting(server_of(image)) as server:
        yield server


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_the_nats_transport_conforms(case: Case, server: NatsServer, image: str) -> None:
    async with TcpProxy(server.host, server.port) as proxy:
        await run_case(case, NatsRig(server, proxy, image))

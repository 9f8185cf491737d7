"""The conformance suite on Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import kafka_images
from tests.conformance.kafka_rig import KafkaRig, proxy_of
from tests.conformance.running import run_case
from wsrooms.testing.conformance import Case, cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers import KafkaServer

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")


@pytest.fixture(scope="module", params=kafka_images())
def image(request: pytest.FixtureRequest) -> str:
    """Give each kind of server that is here."""
    image: str = request.param
    return image


@pytest.fixture(scope="module")
def server(image: str, kafka_for_rigs: Callable[[str], KafkaServer]) -> KafkaServer:
    """Give one server for all cases."""
    return kafka_for_rigs(image)


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_the_kafka_transport_conforms(case: Case, server: KafkaServer, image: str) -> None:
    async with proxy_of(server) as proxy:
        # Of a topic for each case, a server that was killed would have all to repair; but
        # Tansu has lost its log then, which is a topic's end.
        namespace = "suite" if server.real else None
        await run_case(case, KafkaRig(server, proxy, image, namespace=namespace))

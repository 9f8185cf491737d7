"""Every case that Kafka can break in a way of its own finds the transport that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers import kafka_images
from tests.conformance.kafka_breaks import BREAKS
from tests.conformance.kafka_rig import KafkaRig, proxy_of
from tests.conformance.running import assert_finds
from tests.conformance.server_breaks import planted_in
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers import KafkaServer

pytestmark = pytest.mark.may_block("the suite watches the loop")

IMAGE = kafka_images()[0]

OUTBOX_AGE = 5.0
"""Seconds after which a message that nobody takes is a finding: no server is killed here."""

SHARED = (
    "wrong_password",
    "missing_password",
    "tls_untrusted",
    "tls_to_plain_port",
    "credentials_revoked_at_reconnect",
)
"""Of what any server's transport can break, what depends on the server."""

ALL = [*(each for each in planted_in(KafkaTransport) if each[0] in SHARED), *BREAKS]


@pytest.fixture(scope="module")
def server(kafka_for_rigs: Callable[[str], KafkaServer]) -> KafkaServer:
    """Give the server of the suite."""
    return kafka_for_rigs(IMAGE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(name, kind, id=f"{name}-{kind.__name__}") for name, kind in ALL],
)
async def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str,
    kind: type[KafkaTransport],
    server: KafkaServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxy_of(server) as proxy:
        rig = KafkaRig(server, proxy, IMAGE, kind)
        rig.outbox_age = OUTBOX_AGE
        await assert_finds(name, rig)
    # One that does not fit the link any more would be found by every case.
    assert "unexpectedly" not in caplog.text

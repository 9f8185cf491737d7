"""Every case that NATS can break in a way of its own finds the transport that does."""

from __future__ import annotations

import pytest

from tests.conformance.nats_breaks import BREAKS
from tests.conformance.nats_rig import NatsRig, server_of
from tests.conformance.running import assert_finds
from tests.conformance.server_breaks import planted_in
from wsrooms.testing import TcpProxy
from wsrooms_nats import NatsTransport

pytestmark = pytest.mark.may_block("the suite watches the loop")

ALL = [*planted_in(NatsTransport), *BREAKS]


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(name, kind, id=f"{name}-{kind.__name__}") for name, kind in ALL],
)
async def test_a_case_finds_the_transport_that_breaks_its_promise(
    name: str, kind: type[NatsTransport]
) -> None:
    async with server_of(None) as server, TcpProxy(server.host, server.port) as proxy:
        await assert_finds(name, NatsRig(server, proxy, None, kind))

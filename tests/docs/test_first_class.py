"""The page "Write your own transport": what it shows passes the conformance suite."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.processes import ProcessRunner
from tests.brokers.servers import Server, Setup
from tests.conformance.running import lasting, run_case
from tests.conformance.server_rig import Control
from wsrooms.testing import TcpProxy
from wsrooms.testing.conformance import Case, Rig, cases
from wsrooms.transports import BrokerOptions

from .programs import EXAMPLES, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsrooms.transports import BrokerTransport

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")

FIRST_CLASS = load("own_transport/first_class.py")
BROKER = EXAMPLES / "own_transport/broker.py"


def line_broker() -> Server:
    """Make the broker of the examples, as a process."""
    setup = Setup(
        listen=lambda server: [str(BROKER), str(server.port)], answers=_answers, scheme="line"
    )
    return Server(setup, ProcessRunner(Path(sys.executable), "the line broker of the examples"))


async def _answers(server: Server) -> None:
    await asked(server, ["ping"])


async def asked(server: Server, line: list[str]) -> list[str]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(json.dumps(line).encode() + b"\n")
        answer: list[str] = json.loads(await reader.readline())
        return answer
    finally:
        writer.close()
        await writer.wait_closed()


class LineBrokerRig(Rig):
    """That broker, and a proxy before it."""

    name = "line broker"
    options = frozenset(BrokerOptions.names())

    def __init__(self, server: Server, proxy: TcpProxy) -> None:
        self.server = server
        self.tcp_proxy = self.proxy = proxy
        self.control = self.broker = Control(server)
        self.address = f"{server.host}:{server.port}"

    def transport(self, **options: Any) -> BrokerTransport:
        where = self.tcp_proxy if options.pop("through_proxy", False) else self.server
        made: BrokerTransport = FIRST_CLASS.LineBrokerTransport(
            f"line://{where.host}:{where.port}", **options
        )
        return made

    async def publish_raw(self, channel: str, data: bytes) -> None:
        await asked(self.server, ["publish", channel, data.decode("utf-8", "surrogateescape")])

    async def repair(self) -> None:
        self.tcp_proxy.heal()
        await self.control.repair()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with lasting(line_broker()) as server:
        yield server


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_a_transport_on_the_base_class_keeps_the_contract(case: Case, server: Server) -> None:
    async with TcpProxy(server.host, server.port) as proxy:
        await run_case(case, LineBrokerRig(server, proxy))

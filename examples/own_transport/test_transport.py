"""The proof that a transport of one's own keeps the contract: the cases, by import."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsrooms.testing.conformance import Case, NotApplicable, Rig, cases
from wsrooms.transports import WsBroadcastTransport, tagged

from transport import LineTransport

BROKER = Path(__file__).with_name("broker.py")


# --8<-- [start:rig]
class LineRig(Rig):
    name = "line broker"
    slowdown = float(os.environ.get("SLOWDOWN", "1"))  # of a machine that is busy

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"

    def transport(self, **options: Any) -> WsBroadcastTransport:
        return tagged(LineTransport("127.0.0.1", self.port))
        # --8<-- [end:rig]

    # --8<-- [start:raw]
    async def publish_raw(self, channel: str, data: bytes) -> None:
        foreigner = LineTransport("127.0.0.1", self.port)
        await foreigner.start()
        try:
            await foreigner.publish(channel, text_of(data))
        finally:
            await foreigner.close()


def text_of(data: bytes) -> str:
    """This broker carries nothing but text: what is none comes as some that is foreign too."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return json.dumps(repr(data))
        # --8<-- [end:raw]


# --8<-- [start:test]
@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Run a broker of its own, on a port that is free."""
    command = [sys.executable, str(BROKER), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        yield int(broker.stdout.readline())
        broker.kill()


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_the_transport_conforms(case: Case, port: int) -> None:
    try:
        await case.run(LineRig(port))
    except NotApplicable as skipped:
        pytest.skip(skipped.reason)
        # --8<-- [end:test]

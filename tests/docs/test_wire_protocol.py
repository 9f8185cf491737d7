"""The page "Wire protocol": each frame of its table is answered as it says."""

from __future__ import annotations

import asyncio
import re

import pytest
from websockets.asyncio.client import connect

from tests.deadlines import DEADLINE

from .programs import ROOT, load

PAGE = (ROOT / "docs/wire-protocol.md").read_text("utf-8")
TABLE = PAGE.split("| the client sends | the server sends |\n|---|---|\n")[1].split("\n\n")[0]
CODE = re.compile(r"(?<!`)(?:`([^`]+)`|``(.+?)``)(?!`)")

MARK = '{"event":"echo","path":"/x","data":"that was all","id":"mark"}'
MARKED = '{"id":"mark","data":"that was all"}'


def frames(cell: str) -> list[str]:
    return [one or two for one, two in CODE.findall(cell)]


ROWS = [[frames(cell) for cell in row.strip("| ").split(" | ")] for row in TABLE.splitlines()]


@pytest.mark.parametrize(("sent", "expected"), ROWS, ids=lambda cell: " ".join(cell) or "nothing")
async def test_a_frame_is_answered_byte_for_byte_as_its_row_says(
    sent: list[str], expected: list[str]
) -> None:
    received: list[str | bytes] = []
    async with (
        load("wire_protocol.py").ws.serving() as address,
        connect(address.url) as client,
        asyncio.timeout(DEADLINE),
    ):
        for frame in (*sent, MARK):
            await client.send(frame)
        while MARKED not in received:
            received.append(await client.recv())
    assert received == [*expected, MARKED]


def test_every_row_of_the_table_is_read() -> None:
    assert len(ROWS) == len(TABLE.splitlines()) >= 20
    assert all(len(sent) == 1 for sent, _ in ROWS)
    assert sum(not expected for _, expected in ROWS) == TABLE.count("| nothing |")

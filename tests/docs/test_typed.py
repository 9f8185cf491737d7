"""The page about typed messages: its program, and every row of its table of errors."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from .programs import ROOT, Client, client, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    Shop = tuple[Client, Client]

PAGE = (ROOT / "docs/typed.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (`+) ?(.+?) ?\3 \|$", PAGE, re.MULTILINE)
SHOP = "/shops/1"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """Loaded before any test's event loop runs: importing pydantic takes its time."""
    return load("typed_messages.py")


@pytest.fixture
async def shop(program: ModuleType) -> AsyncIterator[Shop]:
    """Two clients of the program; the second one is in the room."""
    async with (
        program.ws.serving() as address,
        client(address.url) as one,
        client(address.url) as other,
    ):
        await other.call("join", SHOP)
        yield one, other


@pytest.mark.parametrize(
    ("event", "data", "reply"),
    [
        ("order", {"lines": [{"article": "tea"}]}, None),
        ("recount", {"article": "tea", "count": 3}, 3),
        ("put", {"shelf": 1, "side": "left"}, {"shelf": 2, "side": "left"}),
        ("rename", {"old": "tea", "new": "chai"}, "tea is now chai"),
        ("rate", {"stars": 5}, {"stars": 5}),
        ("register", {"name": "Ann", "born": "1999-12-31"}, None),
        ("settle", {"type": "paid", "cents": 250}, "2.50 paid"),
        ("settle", {"type": "cancelled", "reason": "rain"}, "cancelled: rain"),
        ("import", [{"name": "Ann"}, {"name": "Bob"}], ["Ann", "Bob"]),
        ("forget", "Ann", "Ann forgotten"),
        ("forget", None, "all forgotten"),
    ],
)
async def test_what_fits_is_handled(event: str, data: Any, reply: Any, shop: Shop) -> None:
    expected = {
        "order": {"lines": [{"article": "tea", "count": 1}], "note": None},
        "register": {"name": "Ann", "born": "1999-12-31"},
    }
    one, _ = shop
    assert await one.call(event, SHOP, data=data) == {"data": expected.get(event, reply)}


async def test_what_came_in_goes_out_to_the_room(shop: Shop) -> None:
    one, other = shop
    await one.call("order", SHOP, data={"lines": []})
    ordered = await one.call("order", SHOP, data={"lines": [{"article": "tea"}]})
    assert (await other.receive())["data"] == ordered["data"]
    registered = await one.call("register", SHOP, data={"name": "Ann"})
    assert registered == {"data": {"name": "Ann"}}  # as its hook has it: without what is None
    assert (await other.receive())["data"] == {"customer": registered["data"]}


async def test_data_that_was_not_sent_is_null(shop: Shop) -> None:
    one, _ = shop
    assert await one.call("forget", SHOP) == {"data": "all forgotten"}


@pytest.mark.parametrize(("event", "data", "told"), [(row[0], row[1], row[3]) for row in ROWS])
async def test_each_row_of_the_table_is_what_a_client_is_told(
    event: str, data: str, told: str, shop: Shop
) -> None:
    one, _ = shop
    reply = await one.call(event, SHOP, data=json.loads(data))
    assert reply == {"error": {"code": 422, "message": told}}


def test_every_row_of_the_table_was_read() -> None:
    assert len(ROWS) == sum(line.startswith("| `") for line in PAGE.splitlines())
    shown = re.findall(r'"examples/typed_messages\.py:(\w+)"', PAGE)
    program = (ROOT / "examples/typed_messages.py").read_text("utf-8")
    assert sorted(shown) == sorted(re.findall(r"\[start:(\w+)\]", program))

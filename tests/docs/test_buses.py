"""The pages of the transports: their options are the code's, their programs reach real brokers."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from wsrooms.errors import UnknownOption

from .buses import BUSES, at, heard, shown
from .programs import EXAMPLES, ROOT, client, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import Server
    from wsrooms import WsApp

    from .buses import Bus

pytestmark = pytest.mark.parametrize("bus", BUSES, ids=lambda bus: bus.name, scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(bus: Bus) -> AsyncIterator[Server]:
    """Run one for all tests of its kind: Kafka takes some seconds to start."""
    async with bus.server() as server:
        yield server


# The page

SECTIONS = (
    "What it keeps",
    "Options",
    "Users",
    "TLS",
    "Clusters|Failover",
    "Settings of the server|Settings of the broker",
    "Several apps on one .*",
    "Sizing",
    "What to alert on",
    ".*services, proxies",
)
"""What whoever knows the page of one transport looks for on another's, in this order."""


def test_the_pages_have_their_sections_in_one_order(bus: Bus) -> None:
    headings = re.findall(r"^## (.+)$", bus.page, re.M)
    places = [
        [at for at, heading in enumerate(headings) if re.fullmatch(section, heading, re.I)]
        for section in SECTIONS
    ]
    assert [len(found) for found in places] == [1] * len(SECTIONS), headings
    assert places == sorted(places), headings


# The table of options


def test_the_options_and_their_defaults_are_those_of_the_code(bus: Bus) -> None:
    fields = [(field.name, repr(field.default)) for field in dataclasses.fields(bus.options)]
    assert sorted((name, default) for name, default, *_ in bus.table) == sorted(fields)


def test_the_options_that_a_url_does_not_take_are_called_keyword_only(bus: Bus) -> None:
    with pytest.raises(UnknownOption) as caught:
        bus.transport(f"{bus.name}://localhost?nonsense=1")
    keyword_only = [name for name, *_, told in bus.table if told.startswith("keyword only")]
    assert keyword_only
    assert sorted([*caught.value.known, *keyword_only]) == sorted(name for name, *_ in bus.table)


def test_each_duration_and_each_size_has_its_unit(bus: Bus) -> None:
    things = ("bytes", "messages", "partitions", "brokers")
    units = {"float": ("s",), "int": things, "bool": ("",), "str": ("", "file")}
    kinds = {field.name: str(field.type) for field in dataclasses.fields(bus.options)}
    for name, _, unit, _ in bus.table:
        allowed = units.get(kinds[name].removesuffix(" | None"), ("",))
        assert unit in allowed, name


# The programs


def test_the_page_shows_every_transport_of_the_example(bus: Bus) -> None:
    source = (EXAMPLES / bus.example).read_text("utf-8")
    sections = set(re.findall(r"\[start:(\w+)\]", source))
    line = rf'^--8<-- "examples/{bus.example}:(\w+)"'
    assert set(re.findall(line, bus.page, re.MULTILINE)) == sections


async def test_the_app_of_three_lines_is_up(bus: Bus, server: Server) -> None:
    app: WsApp = load(bus.example, {bus.address: at(server)}).ws
    async with app.serving():
        assert app.health().state == "up"


async def test_options_by_keywords_and_by_url_are_the_same(bus: Bus, server: Server) -> None:
    by_keywords = shown(bus.example, "by_keywords", {bus.address: at(server)})
    by_url = shown(bus.example, "by_url", {bus.address: at(server)})
    assert by_keywords.options == by_url.options
    assert by_keywords.options.namespace == "staging"
    assert await heard(by_keywords, by_url) == ["hello"]


async def test_the_packages_readme_shows_an_app_that_is_up(bus: Bus, server: Server) -> None:
    page = (ROOT / f"packages/wsrooms-{bus.name}/README.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert bus.address in code
    names: dict[str, WsApp] = {}
    exec(code.replace(bus.address, at(server)), names)
    async with names["ws"].serving():
        assert names["ws"].health().state == "up"


# From one process to two


def diffs(page: str) -> list[str]:
    return re.findall(r"^```diff\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)


async def test_one_changed_line_makes_two_of_the_chat_one(bus: Bus, server: Server) -> None:
    [changed] = {diff for page in bus.pages for diff in diffs(page)}
    old, new = changed.splitlines()
    assert (old[0], new[0]) == ("-", "+")
    changes = {old[1:]: new[1:].replace(bus.address, at(server))}
    one, other = load("chat.py", changes).ws, load("chat.py", changes).ws
    async with (
        one.serving() as here,
        other.serving() as there,
        client(here.url) as ann,
        client(there.url) as bob,
    ):
        for each in (ann, bob):
            assert await each.call("join", "/chat/general") == {"data": {"joined": True}}
        await ann.send("message", "/chat/general", data="hello")
        assert (await bob.receive())["data"] == "hello"

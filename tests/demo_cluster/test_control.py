"""Who may press the buttons of ``make demo-cluster``, and what they know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    from .running import Demo


async def test_a_page_of_another_origin_is_refused(demo: Demo) -> None:
    for origin in ("http://example.org", "http://127.0.0.1:1", "https://" + demo.host, "null"):
        with pytest.raises(InvalidStatus) as refused:
            async with demo.connect("/fleet", {"Origin": origin}):
                pytest.fail(f"{origin} was let in")
        assert refused.value.response.status_code == 403


async def test_a_page_that_has_pointed_its_name_at_this_machine_is_refused(demo: Demo) -> None:
    port = demo.host.partition(":")[2]
    name = f"rebound.example.org:{port}"
    with pytest.raises(InvalidStatus) as refused:
        async with demo.connect("/fleet", {"Host": name, "Origin": f"http://{name}"}):
            pytest.fail("it was let in")
    assert refused.value.response.status_code == 403
    ours = {"Host": name, "Origin": f"http://{demo.host}"}
    async with demo.connect("/fleet", ours) as stranger:
        assert await stranger.end() == (1008, "Only the page of the demo may do this")


async def test_what_is_no_page_is_refused(demo: Demo) -> None:
    async with demo.connect("/fleet", {}) as program:
        assert (await program.end())[0] == 1008


async def test_only_the_parts_of_the_fleet_have_buttons(demo: Demo) -> None:
    known = "broker, one, two, three"
    for event in ("kill", "restart"):
        for name in ("four", "1", "One", "..", "%2e%2e"):
            told = (404, f"There is no {name.replace('%2e', '.')}: {known}")
            assert await demo.panel.call(event, f"/fleet/{name}") == told
    assert await demo.panel.call("stop", "/fleet/one") == (404, "Not found")
    assert len(await demo.processes()) == 8


async def test_the_buttons_are_not_in_the_chat(demo: Demo) -> None:
    async with demo.connect() as client:
        assert await client.call("kill", "/fleet/one") == (404, "Not found")


async def test_the_page_asks_for_nothing_and_nothing_else_is_served(demo: Demo) -> None:
    page = await ask(demo, "GET / HTTP/1.1")
    assert page.startswith("HTTP/1.1 200")
    assert "frame-ancestors 'none'" in page
    assert 'id="fleet"' in page
    assert "function rollCall" in page
    assert "export function" not in page
    assert (await ask(demo, "GET /fleet HTTP/1.1")).startswith("HTTP/1.1 404")
    assert (await ask(demo, "POST / HTTP/1.1")).startswith("HTTP/1.1 405")


async def ask(demo: Demo, request: str) -> str:
    host, _, port = demo.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{request}\r\nHost: {demo.host}\r\n\r\n".encode())
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()

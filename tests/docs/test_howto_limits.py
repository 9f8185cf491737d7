"""The how-to about what a client may do: an allowance of messages, and the limits of the app."""

from __future__ import annotations

import asyncio
import re

import pytest

from wsrooms import WsError, WsLimits
from wsrooms.testing import connect_client, run

from .programs import ROOT, load


def test_a_client_that_sends_too_much_is_refused_until_it_has_waited() -> None:
    async def main() -> None:
        ws = load("rate_limit.py").ws
        async with connect_client(ws) as ann, connect_client(ws) as bob:
            for _ in range(20):
                await ann.call("message", "/chat/tea", "hello")
            with pytest.raises(WsError, match="wait a second") as refused:
                await ann.call("message", "/chat/tea", "hello")
            assert refused.value.code == 429
            await bob.call("message", "/chat/tea", "hello")  # each has an allowance of his own
            await asyncio.sleep(1)
            for _ in range(4):
                await ann.call("message", "/chat/tea", "hello")
            with pytest.raises(WsError):
                await ann.call("message", "/chat/tea", "hello")

    run(main())


def test_a_client_that_goes_on_is_shown_out() -> None:
    async def main() -> None:
        async with connect_client(load("rate_limit.py").ws) as ann:
            for _ in range(41):
                ann.send("message", "/chat/tea", "hello")
            assert await ann.closed() == (1008, "too many messages")

    run(main())


def test_the_limits_of_the_page_have_the_defaults_that_it_says() -> None:
    page = (ROOT / "docs/howto/limits.md").read_text("utf-8")
    shown = dict(re.findall(r"^\| `WsLimits\((\w+)=(.+?)\)` \|", page, re.MULTILINE))
    assert len(shown) == 6
    assert shown == {name: repr(getattr(WsLimits(), name)) for name in shown}

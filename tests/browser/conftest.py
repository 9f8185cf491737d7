"""A real browser for the demo: Debian's chromium, or the one that WSROOMS_BROWSER names.

`make browser` runs these tests, and nothing else does: pyproject.toml keeps pytest from
collecting them unless they are asked for, so that CI needs no browser.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext

    from .tabs import Server, Tab

    OpenTab = Callable[..., Tab]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser, without a window; skip where there is none."""
    given = os.environ.get("WSROOMS_BROWSER")
    path = given or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no chromium here: apt install chromium, or name one in WSROOMS_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def server(browser: Browser, tmp_path: Path) -> Iterator[Server]:
    """The demo, running; it must not have logged a complaint when the test ends."""
    from .tabs import Server

    server = Server(tmp_path / "server.log")
    server.start()
    yield server
    server.kill()
    assert server.take_complaints() == []


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has never been here; its tabs share what a person's tabs share."""
    context = browser.new_context(locale="en-GB", reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def open_tab(server: Server, context: BrowserContext) -> Iterator[OpenTab]:
    """Open a tab: with a name, in its room; without, where it asks for one.

    No tab may have had a complaint when the test ends.
    """
    from .tabs import Tab

    tabs: list[Tab] = []

    def open_tab(name: str | None = None, room: str = "general") -> Tab:
        tab = Tab(context, server.url)
        tabs.append(tab)
        tab.open(room)
        if name is not None:
            tab.answer(name)
            tab.is_online()
            tab.page.locator("#people-list li", has_text="you").wait_for()
        return tab

    yield open_tab
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@pytest.fixture
def ann(open_tab: OpenTab) -> Tab:
    """Ann's tab, in /chat/general."""
    return open_tab("Ann")


@pytest.fixture
def bob(ann: Tab, open_tab: OpenTab) -> Tab:
    """Bob's tab, in /chat/general, where Ann is already; each sees the other."""
    bob = open_tab("Bob")
    for tab in (ann, bob):
        tab.is_in("general", "Ann", "Bob")
    return bob

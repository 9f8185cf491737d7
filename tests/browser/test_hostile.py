"""Those who mean harm: html for text, frames of their own, pages of another site."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from .tabs import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext

    from .conftest import OpenTab
    from .tabs import Server, Tab

NAME = "<img src=x onerror=go()>"
TEXT = "<script>go()</script><b>bold</b>&amp;<img src=x onerror=go()>"

# Resolves to whether a socket of this page could be opened.
CAN_CONNECT = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => { socket.close(); done(true); };
    socket.onerror = () => done(false);
})"""


def test_html_in_a_name_a_message_a_room_or_an_announcement_is_text(
    ann: Tab, open_tab: OpenTab
) -> None:
    ann.go_to(NAME.replace(" ", "-"))
    mallory = open_tab(NAME, room=ann.page.url.partition("#/chat/")[2])
    ann.page.evaluate("window.go = () => { document.title = 'owned' }")
    ann.is_in(NAME.replace(" ", "-"), "Ann", NAME)
    ann.sees(f"{NAME} joined.")
    mallory.box.press_sequentially("<")
    expect(ann.typing).to_have_text(f"{NAME} is typing…")
    mallory.say(TEXT)
    ann.hears(NAME, TEXT)
    mallory.page.get_by_role("button", name="Announce to everybody").click()
    mallory.answer(TEXT)
    for tab in (ann, mallory):
        expect(tab.page.locator(".loud")).to_contain_text(TEXT)
        expect(tab.page.locator(".loud bdi")).to_have_text(NAME)
        assert tab.page.locator("img, .bubble b, .bubble script").count() == 0
    mallory.page.close()
    ann.sees(f"{NAME} closed the page.")
    assert ann.page.title() != "owned"


def test_right_to_left_marks_in_a_name_do_not_turn_the_line_around(
    ann: Tab, open_tab: OpenTab
) -> None:
    open_tab("\u202eAnn")
    expect(ann.lines.last.locator("bdi")).to_have_text("\u202eAnn")


def test_a_room_that_no_page_would_use_is_not_in_the_list(ann: Tab, open_tab: OpenTab) -> None:
    mallory = open_tab("Mallory")
    mallory.page.evaluate(
        "for (const name of ['%3c', '%', 'a%2fb', '%ff', 'tea']) call('join', '/chat/' + name)"
    )
    expect(ann.page.locator("#room-list .room", has_text="/tea")).to_have_count(1)
    rooms = ann.page.locator("#room-list .room > span")
    expect(rooms).to_have_text(["/general", "/python", "/random", "/tea"])


def test_who_is_not_in_a_room_does_not_speak_there(ann: Tab, bob: Tab) -> None:
    refused = bob.page.evaluate(
        "call('message', '/chat/python', { text: 'psst' }).then(() => null, (e) => e.code)"
    )
    assert refused == 403
    ann.go_to("python")
    ann.is_in("python", "Ann")
    expect(ann.heard("psst")).to_have_count(0)


class OtherSite(BaseHTTPRequestHandler):
    """A page of another origin; whatever the path, it frames what the query names."""

    def do_GET(self) -> None:
        framed = self.path.partition("?")[2]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><iframe src='{framed}'></iframe>".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def other_site() -> Iterator[str]:
    """The address of another site on this machine, so that only the origin differs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/"
        site.shutdown()
        thread.join()


def test_a_page_of_another_origin_is_refused(
    server: Server, context: BrowserContext, open_tab: OpenTab, other_site: str
) -> None:
    socket = server.url.replace("http", "ws", 1)
    assert open_tab("Ann").page.evaluate(CAN_CONNECT, socket)
    elsewhere = context.new_page()
    elsewhere.goto(other_site)
    assert not elsewhere.evaluate(CAN_CONNECT, socket)
    (told,) = server.take_complaints()
    assert other_site.removesuffix("/") in told


def test_a_page_of_another_origin_cannot_frame_the_chat(
    server: Server, context: BrowserContext, other_site: str
) -> None:
    elsewhere = context.new_page()
    elsewhere.goto(f"{other_site}?{server.url}")
    assert [frame.url for frame in elsewhere.frames[1:]] == ["chrome-error://chromewebdata/"]

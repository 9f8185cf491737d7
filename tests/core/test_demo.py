"""``wsrooms.demo``: its handlers over real sockets, its page, its command line."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wsrooms
from tests.deadlines import DEADLINE
from wsrooms import WsAddress, WsRequest
from wsrooms.demo import chat
from wsrooms.demo.__main__ import page_url
from wsrooms.demo.page import serve_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    RawConnect = Callable[..., AbstractAsyncContextManager[Any]]

ROOM = "/chat/general"
ASSETS = ("page.html", "page.css", "link.js", "page.js", "input.js")


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WsAddress]:
    """The chat, with one tick at the start and no other."""
    monkeypatch.setattr(chat, "TICK", 3600.0)
    async with chat.ws.replica().serving(http_handler=serve_page) as address:
        yield address


@pytest.fixture
async def enter(connect: Connect, address: WsAddress) -> Callable[..., Awaitable[tuple[Any, Any]]]:
    """Give what brings somebody into a room: a client and how others see it."""

    async def somebody(name: str, *rooms: str) -> tuple[Any, Any]:
        peer = await connect(address)
        reply = await peer.call("hello", "/chat", {"name": name})
        for room in rooms:
            await peer.call("join", room)
        return peer, reply["you"]

    return somebody


# The handlers


async def test_who_joins_is_told_who_is_there_and_the_others_are_told_who_came(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, he = await enter("Ben")

    there = await ben.call("join", ROOM)

    assert sorted(one["name"] for one in there) == ["Ada", "Ben"]
    assert {one["id"] for one in there} == {she["id"], he["id"]}
    push = await ada.push()
    assert (push["event"], push["path"], push["data"]) == ("joined", ROOM, he)
    assert await ben.pushes() == []


async def test_who_is_here_is_answered_per_room(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM, "/chat/python")
    _, he = await enter("Ben", ROOM)

    assert {one["id"] for one in await ada.call("who", ROOM)} == {she["id"], he["id"]}
    assert await ada.call("who", "/chat/python") == [she]
    assert await ada.call("who", "/chat/nobody") == []


async def test_a_message_reaches_the_others_once_and_its_sender_as_the_answer(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, _ = await enter("Ben", ROOM)
    eve, _ = await enter("Eve", "/chat/python")
    await ada.pushes()

    said = await ada.call("message", ROOM, {"text": "Good morning 🦊"})

    assert (said["from"], said["text"]) == (she, "Good morning 🦊")
    push = await ben.push()
    assert (push["event"], push["path"], push["data"]) == ("message", ROOM, said)
    assert [await peer.pushes() for peer in (ada, ben, eve)] == [[], [], []]


async def test_a_typing_hint_reaches_the_others(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, _ = await enter("Ben", ROOM)

    ada.send("typing", ROOM)

    push = await ben.push()
    assert (push["event"], push["data"]) == ("typing", she)


async def test_who_has_left_is_named_to_the_others_and_hears_no_more(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, he = await enter("Ben", ROOM)
    await ada.pushes()

    assert await ada.call("leave", ROOM) is None

    push = await ben.push()
    assert (push["event"], push["data"]) == ("left", she)
    await ben.call("message", ROOM, {"text": "Bye"})
    assert await ada.pushes() == []
    assert await ben.call("who", ROOM) == [he]


@pytest.mark.parametrize(
    ("event", "data"), [("message", {"text": "Hello"}), ("typing", None), ("leave", None)]
)
async def test_only_members_speak_in_a_room(event: str, data: object, enter: Any) -> None:
    ada, _ = await enter("Ada", ROOM)
    eve, _ = await enter("Eve")

    refusal = await eve.call(event, ROOM, data)

    assert refusal["error"] == {"code": 403, "message": "Join the room first"}
    assert await ada.pushes() == []


@pytest.mark.parametrize("dies", [True, False], ids=["its socket dies", "it closes the page"])
async def test_the_rooms_of_who_is_gone_are_told_why(
    dies: bool, enter: Any, eventually: Eventually
) -> None:
    ada, _ = await enter("Ada", ROOM, "/chat/python")
    eve, she = await enter("Eve", ROOM, "/chat/python")
    await ada.pushes()

    if dies:
        eve.abort()
    else:
        await eve.close(1001)

    died = [await ada.push(), await ada.push()]
    assert {push["path"] for push in died} == {ROOM, "/chat/python"}
    for push in died:
        assert push["event"] == "died"
        assert push["data"] == {**she, "code": 1006 if dies else 1001}
    assert await ada.pushes() == []
    assert [one["name"] for one in await ada.call("who", ROOM)] == ["Ada"]


async def test_an_announcement_reaches_everybody_the_sender_too(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    eve, _ = await enter("Eve")

    await ada.call("announce", "/chat", {"text": "Deploy at noon"})

    for peer in (ada, eve):
        push = await peer.push()
        assert (push["event"], push["path"]) == ("announcement", "/chat")
        assert (push["data"]["from"], push["data"]["text"]) == (she, "Deploy at noon")


async def test_the_ticker_tells_everybody_how_it_stands(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "TICK", 0.01)
    async with chat.ws.replica().serving() as address:
        ada, eve = await connect(address), await connect(address)
        await ada.call("join", ROOM)

        for peer in (ada, eve):
            tick = await peer.push()
            while tick["data"]["online"] < 2 or not tick["data"]["rooms"]:
                tick = await peer.push()
            assert (tick["event"], tick["path"]) == ("tick", "/chat")
            assert tick["data"]["rooms"] == {ROOM: 1}
            assert isinstance(tick["data"]["time"], float)


async def test_a_new_name_is_told_to_the_rooms_and_how_it_stands_to_its_bearer(enter: Any) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, _ = await enter("Ben", ROOM)
    await ada.pushes()

    reply = await ada.call("hello", "/chat", {"name": "Countess"})

    assert reply["you"] == {"id": she["id"], "name": "Countess"}
    assert (reply["status"]["online"], reply["status"]["rooms"]) == (2, {ROOM: 2})
    push = await ben.push()
    assert (push["event"], push["data"]) == ("renamed", reply["you"])
    assert await ada.pushes() == []


@pytest.mark.parametrize(
    ("event", "path", "data", "field"),
    [
        ("hello", "/chat", {"name": ""}, "$.name"),
        ("hello", "/chat", {"name": " Ada"}, "$.name"),
        ("hello", "/chat", {"name": "Ada\n"}, "$.name"),
        ("hello", "/chat", {"name": "A" * 25}, "$.name"),
        ("hello", "/chat", {"name": 7}, "$.name"),
        ("hello", "/chat", {}, "`name`"),
        ("message", ROOM, {"text": " \n"}, "$.text"),
        ("message", ROOM, {"text": "x" * 2001}, "$.text"),
        ("message", ROOM, {"text": None}, "$.text"),
        ("announce", "/chat", {"text": ""}, "$.text"),
    ],
)
async def test_what_is_blank_too_long_or_of_another_type_is_refused_by_its_field(
    event: str, path: str, data: object, field: str, enter: Any
) -> None:
    ada, she = await enter("Ada", ROOM)
    ben, _ = await enter("Ben", ROOM)

    refusal = await ada.call(event, path, data)

    assert refusal["error"]["code"] == 422
    assert field in refusal["error"]["message"]
    assert await ben.pushes() == []
    assert she in await ben.call("who", ROOM)


async def test_a_name_and_a_text_may_be_as_long_as_they_say(enter: Any) -> None:
    ada, she = await enter("🦊" * 24, ROOM)

    said = await ada.call("message", ROOM, {"text": "🦊" * 2000})

    assert she["name"] == "🦊" * 24
    assert said["text"] == "🦊" * 2000


async def test_who_has_not_said_hello_is_somebody(connect: Connect, address: WsAddress) -> None:
    peer = await connect(address)

    assert [one["name"] for one in await peer.call("join", ROOM)] == ["somebody"]


async def test_after_a_restart_everybody_is_back_by_saying_hello_and_join_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "TICK", 3600.0)
    app = chat.ws.replica()
    async with app.serving() as address:
        ada = await connect(address)
        await ada.call("join", ROOM)
    assert (await ada.ended()).code == 1001

    async with app.serving(address.port) as address:
        ada = await connect(address)
        await ada.call("hello", "/chat", {"name": "Ada"})
        assert [one["name"] for one in await ada.call("join", ROOM)] == ["Ada"]


def test_the_handlers_take_less_than_80_lines() -> None:
    source = Path(chat.__file__).read_text("utf-8")
    start, end = source.index("\nws: WsApp = WsApp("), source.index("\ndef member(")
    handlers = source[start:end]

    assert all(f"def {fn.__name__}(" in handlers for _, _, fn in chat.ws.routes())
    assert len(handlers.strip().splitlines()) < 80


# The page


async def test_the_page_is_served_by_the_same_port(
    raw_client: RawConnect, address: WsAddress
) -> None:
    async with raw_client(address, None) as client:
        page = await client.http(b"GET /?from=mail HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.body.startswith(b"<!doctype html>")


async def test_another_path_is_404_and_another_method_405(
    raw_client: RawConnect, address: WsAddress
) -> None:
    for request, status in (("GET /page.js", 404), ("GET /../chat.py", 404), ("POST /", 405)):
        async with raw_client(address, None) as client:
            line = f"{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            assert (await client.http(line.encode())).status == status


class Page(HTMLParser):
    """What a page consists of and asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asks_for: list[str] = []
        self.inline: dict[str, str] = {}
        self.labelled: set[str] = set()
        self.fields: list[dict[str, str | None]] = []
        self.buttons: list[tuple[dict[str, str | None], str]] = []
        self._tag = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._tag = tag
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if name in given:
                self.asks_for.append(given[name] or "")
        if tag in ("script", "style"):
            self.inline[tag] = ""
        if tag == "label":
            self.labelled.add(given["for"] or "")
        if tag in ("input", "textarea"):
            self.fields.append(given)

    def handle_data(self, data: str) -> None:
        if self._tag in self.inline:
            self.inline[self._tag] += data

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""


@pytest.fixture(scope="module")
def page() -> str:
    return serve_page(WsRequest("GET", "/", [])).body.decode()


def test_the_page_holds_all_its_parts_and_asks_for_nothing(page: str) -> None:
    parts = Page(page)

    assert all(href.startswith(("#", "data:image/svg+xml,")) for href in parts.asks_for)
    addresses = set(re.findall(r"(?:https?|wss?):/*[\w.%-]+|(?<![:\w])//\w[\w.-]*\.\w+", page))
    assert addresses == {"http://www.w3.org"}, "only the namespace of the icon's SVG"
    assert not re.search(r"@import|url\(|\bfetch\(|\bimport\b|EventSource|XMLHttp", page)
    for name in ASSETS[1:]:
        assert files("wsrooms.demo").joinpath(name).read_text("utf-8").strip() in page


def test_what_others_write_is_never_taken_for_html(page: str) -> None:
    forbidden = r"innerHTML\s*[+]?=(?!=)|outerHTML|insertAdjacentHTML|document\.write|\beval\("
    assert not re.search(forbidden, page)


def test_the_policy_allows_the_pages_own_style_and_script_and_no_other(page: str) -> None:
    policy = serve_page(WsRequest("GET", "/", [])).headers["Content-Security-Policy"]

    for tag, text in Page(page).inline.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_field_of_the_page_has_a_label(page: str) -> None:
    parts = Page(page)

    assert {field["id"] for field in parts.fields} == parts.labelled


def test_every_element_that_the_scripts_ask_for_is_in_the_page(page: str) -> None:
    asked = set(re.findall(r'\$\("([\w-]+)"\)', page))

    assert len(asked) > 20
    assert asked <= set(re.findall(r'\bid="([\w-]+)"', page))


def test_every_event_of_the_page_has_a_handler_and_every_push_a_place_in_the_page(
    page: str,
) -> None:
    source = Path(chat.__file__).read_text("utf-8")
    sent = set(re.findall(r'\b(?:call|send)\("(\w+)"', page))
    pushed = set(re.findall(r'broadcast\("(\w+)"', source))

    assert sent == {event for event, _, _ in chat.ws.routes()}
    for event in pushed:
        assert f"  {event}(room" in page or f"  {event}: " in page


# The command


def demo(*arguments: str) -> subprocess.Popen[str]:
    source = str(Path(wsrooms.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-m", "wsrooms.demo", *arguments],
        env={**os.environ, "PYTHONPATH": source, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_names_the_options() -> None:
    with demo("--help") as process:
        out, err = process.communicate(timeout=DEADLINE)

    assert (process.returncode, err) == (0, "")
    assert all(option in out for option in ("--host", "--port", "--open"))


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with demo("--port", str(port)) as process:
            out, err = process.communicate(timeout=DEADLINE)

    assert process.returncode == 1
    assert out == ""
    (line,) = err.splitlines()
    assert f"port {port}" in line
    assert "in use" in line


@asynccontextmanager
async def running_demo(*arguments: str) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """The demo in a process of its own, and the address that it prints."""
    process = demo("--port", "0", *arguments)
    try:
        assert process.stdout is not None
        printed = ""
        async with asyncio.timeout(DEADLINE):
            while "http" not in printed:
                printed = await asyncio.to_thread(process.stdout.readline)
                assert printed, "it ended without an address"
        found = re.search(r"http://\S+", printed)
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
async def test_it_prints_where_it_is_serves_there_and_ends_well(
    connect: Connect, raw_client: RawConnect
) -> None:
    async with running_demo() as (process, url):
        host, port = url.removeprefix("http://").removesuffix("/").split(":")
        address = WsAddress(host, int(port), f"ws://{host}:{port}")
        async with raw_client(address, None) as client:
            page = await client.http(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        peer = await connect(address, headers={"Origin": url.removesuffix("/")})
        await peer.call("hello", "/chat", {"name": "Ada"})
        there = await peer.call("join", ROOM)

        process.send_signal(signal.SIGTERM)
        ended = await peer.ended()
        status = await asyncio.to_thread(process.wait, DEADLINE)

    assert page.status == 200
    assert [one["name"] for one in there] == ["Ada"]
    assert ended.code == 1001
    assert status == 0


@pytest.mark.parametrize(
    ("host", "url", "page"),
    [
        ("127.0.0.1", "ws://127.0.0.1:8000", "http://127.0.0.1:8000/"),
        ("::1", "ws://[::1]:8000", "http://[::1]:8000/"),
        ("0.0.0.0", "ws://0.0.0.0:8000", "http://localhost:8000/"),
        ("::", "ws://[::]:8000", "http://localhost:8000/"),
    ],
)
def test_the_address_it_prints_can_be_opened(host: str, url: str, page: str) -> None:
    assert page_url(WsAddress(host, 8000, url)) == page

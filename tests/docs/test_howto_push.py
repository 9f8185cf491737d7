"""The how-to about background pushes: from a task, a thread, a web application, another process."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from websockets.sync.client import connect

from tests.deadlines import DEADLINE

from .programs import client, load

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def dashboard() -> ModuleType:
    return load("dashboard.py")


async def test_the_dashboard_shows_figures_at_once_and_then_pushes_them(
    dashboard: ModuleType,
) -> None:
    app = dashboard.ws.replica(lifespan=None)
    vars(dashboard)["ws"] = app
    async with app.serving() as address, client(address.url) as ann:
        first = (await ann.call("join", "/dashboard"))["data"]
        assert (first["connections"], first["messages"]) == (1, 1)
        pushing = app.start_task(dashboard.push_figures(app, every=0.01), name="figures")
        for _ in range(2):
            push = await ann.receive()
            assert (push["event"], push["path"]) == ("figures", "/dashboard")
            assert set(push["data"]) == {"connections", "messages", "cpu_ms"}
        assert not pushing.done()


async def test_the_dashboard_measures_nothing_while_nobody_looks(dashboard: ModuleType) -> None:
    measured = asyncio.Event()
    figures = dashboard.figures

    def measure(app: object) -> object:
        measured.set()
        return figures(app)

    vars(dashboard)["figures"] = measure
    app = dashboard.ws.replica(lifespan=None)
    async with app.serving() as address:
        app.start_task(dashboard.push_figures(app, every=0), name="figures")
        async with client(address.url) as ann:
            await ann.call("nothing", "/nowhere")  # many rounds of the task are over by now
            assert not measured.is_set()
            vars(dashboard)["ws"] = app
            await ann.send("join", "/dashboard")
            async with asyncio.timeout(DEADLINE):
                await measured.wait()


async def test_the_dashboards_task_begins_with_the_app(dashboard: ModuleType) -> None:
    async with dashboard.ws.serving():
        assert "figures" in {task.get_name() for task in asyncio.all_tasks()}


async def test_the_dashboard_serves_its_page_and_the_link(dashboard: ModuleType) -> None:
    async with dashboard.ws.serving(path="/ws", http_handler=dashboard.page) as address:
        base = f"http://127.0.0.1:{address.port}"
        page = await asyncio.to_thread(get, f"{base}/")
        assert 'from "./link.js"' in page
        assert "export function openLink" in await asyncio.to_thread(get, f"{base}/link.js")
        with pytest.raises(HTTPError, match="404"):
            await asyncio.to_thread(get, f"{base}/dashboard.py")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return str(answer.read(), "utf-8")


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


def test_a_wsgi_application_broadcasts_into_the_rooms_of_its_process() -> None:
    module = load("in_a_web_app.py")
    http = make_server("127.0.0.1", 0, module.web, handler_class=Quiet)
    serving = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    with http, module.in_a_thread(module.ws, port=0) as address:
        serving.start()
        try:
            with connect(address.url, compression=None) as socket:
                socket.send('{"event":"join","path":"/orders","id":1}')
                assert json.loads(socket.recv(DEADLINE)) == {"id": 1, "data": None}
                assert get(f"http://127.0.0.1:{http.server_port}/tea") == "ordered\n"
                push = json.loads(socket.recv(DEADLINE))
                assert push == {"event": "ordered", "path": "/orders", "data": "/tea"}
        finally:
            http.shutdown()
            serving.join()
    assert "wsrooms" not in {thread.name for thread in threading.enumerate()}


async def test_another_process_broadcasts_as_a_client_with_a_token() -> None:
    module = load("from_another_process.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        await ann.call("join", "/orders")
        order = {"tea": "two", "sugar": None}
        await asyncio.to_thread(module.push, address.url, "/orders", "ordered", order)
        assert await ann.receive() == {"event": "ordered", "path": "/orders", "data": order}


async def test_who_has_not_the_publishers_token_broadcasts_nothing() -> None:
    module = load("from_another_process.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        await ann.call("join", "/orders")
        push = {"room": "/orders", "event": "ordered"}
        assert (await ann.call("publish", "/internal", data=push))["error"]["code"] == 403
        stranger = load("from_another_process.py")
        vars(stranger)["TOKEN"] = "a guess"
        with pytest.raises(RuntimeError, match="not for you"):
            await asyncio.to_thread(stranger.push, address.url, "/orders", "ordered", 1)

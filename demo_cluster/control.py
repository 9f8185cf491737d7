"""The page of the fleet and its buttons, and who may press them.

It is an app of ``wsrooms`` in the demo's own process. Kill and restart are messages of a
WebSocket that only this page may open: a browser says which page asks (Origin) and for which
host (Host), and both must be the front's own address. A page elsewhere has another Origin,
one that has pointed a name of its own at this machine has another Host, and what has no
Origin is no page.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_cluster.brokers import HOST
from demo_cluster.front import CONTROL
from wsrooms import (
    WsApp,
    WsError,
    WsHttpResponse,
    WsRequest,
    use_route_params,
    use_ws_connection,
)
from wsrooms.demo.page import PARTS, whole_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from demo_cluster.fleet import Fleet
    from demo_cluster.parts import Part

PAGE = Path(__file__).with_name("page")
ROLL_CALL = Path(__file__).resolve().parent.parent / "examples/browser/roll.js"
SOON = 0.05
"""Seconds: changes that come together are told together."""


def control(fleet: Fleet, port: int) -> WsApp:
    """The app behind the buttons of the page at that port of this machine."""
    hosts = hosts_of(port)

    @asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        app.start_task(tell(app, fleet), name="tell the pages")
        yield

    app = WsApp(lifespan=lifespan, allowed_origins=[f"http://{host}" for host in hosts])

    @app.on_connect
    def check() -> None:
        headers = use_ws_connection().request.headers
        if headers.get("Host") not in hosts or "Origin" not in headers:
            raise WsError(403, "Only the page of the demo may do this")

    @app.on_message("watch", CONTROL)
    def watch() -> dict[str, Any]:
        return fleet.snapshot()

    @app.on_message("kill", f"{CONTROL}/:name")
    async def kill() -> None:
        part = named(fleet)
        if not await part.kill():
            raise WsError(409, f"{part.name} does not run")

    @app.on_message("restart", f"{CONTROL}/:name")
    async def restart() -> None:
        await named(fleet).restart()

    return app


def named(fleet: Fleet) -> Part:
    """The part that the current message means; 404 if there is none of that name."""
    name = str(use_route_params()["name"])
    part = fleet.parts.get(name)
    if part is None:
        raise WsError(404, f"There is no {name}: {', '.join(fleet.parts)}")
    return part


async def tell(app: WsApp, fleet: Fleet) -> None:
    """Push how the fleet is whenever that changes."""
    while True:
        await fleet.changed.wait()
        await asyncio.sleep(SOON)
        fleet.changed.clear()
        app.broadcast("fleet", CONTROL, fleet.snapshot())


def hosts_of(port: int) -> list[str]:
    """What the address of the page may be, without its scheme; the first is the one told."""
    return [f"{host}:{port}" for host in (HOST, "localhost")]


def page_server(port: int) -> Callable[[WsRequest], WsHttpResponse]:
    """What answers "/" with the page at that port, and any other path with 404."""

    def serve_page(request: WsRequest) -> WsHttpResponse:
        if request.path != "/":
            return WsHttpResponse(404, f"There is nothing at {request.path}; the chat is at /\n")
        if request.method not in ("GET", "HEAD"):
            return WsHttpResponse(405, "Only GET\n", headers={"Allow": "GET, HEAD"})
        return _page(port)

    return serve_page


@cache
def _page(port: int) -> WsHttpResponse:
    """The demo's page, with the panel before it and two scripts more."""
    panel, style, script = (
        PAGE.joinpath(name).read_text("utf-8") for name in ("fleet.html", "fleet.css", "fleet.js")
    )
    panel = panel.replace("HOSTS", " ".join(hosts_of(port)))
    # The recipe of the documentation is a module; here all scripts are one.
    roll_call = ROLL_CALL.read_text("utf-8").replace("export function", "function")
    scripts = (PARTS["link.js"], PARTS["page.js"], roll_call, script, PARTS["input.js"])
    body = '<div id="app">'
    html = PARTS["page.html"].replace(body, panel + body)
    return whole_page(html, PARTS["page.css"] + style, "\n".join(scripts))

"""A dashboard: a background task pushes figures, a page shows them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time

from wsrooms import WsApp, WsHttpResponse, WsRequest, use_ws_rooms

ROOM = "/dashboard"
BROWSER = Path(__file__).parent / "browser"
FILES = {"/": ("dashboard.html", "text/html"), "/link.js": ("link.js", "text/javascript")}


# --8<-- [start:task]
@asynccontextmanager
async def lifespan(app: WsApp) -> AsyncIterator[None]:
    app.start_task(push_figures(app), name="figures")
    yield


async def push_figures(app: WsApp, every: float = 1.0) -> None:
    while True:
        if app.room(ROOM).connections():  # nobody looks: nothing is measured
            app.room(ROOM).broadcast("figures", figures(app), local=True)
        await asyncio.sleep(every)


def figures(app: WsApp) -> dict[str, float]:
    stats = app.stats()
    return {
        "connections": stats["connections"],
        "messages": stats["messages_in"],
        "cpu_ms": round(process_time() * 1000, 1),
    }


# --8<-- [end:task]


ws = WsApp(lifespan=lifespan)


# --8<-- [start:join]
@ws.on_message("join", ROOM)
async def join() -> dict[str, float]:
    await use_ws_rooms().join()
    return figures(ws)  # something to show until the next push


# --8<-- [end:join]


# --8<-- [start:page]
def page(request: WsRequest) -> WsHttpResponse:
    if request.path not in FILES:
        return WsHttpResponse(404, "There is nothing here.\n")
    name, kind = FILES[request.path]
    return WsHttpResponse(200, (BROWSER / name).read_text("utf-8"), content_type=kind)


if __name__ == "__main__":
    ws.run(port=8000, path="/ws", http_handler=page)
# --8<-- [end:page]

"""Broadcasts from synchronous code: a WSGI application with the rooms in the same process."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import make_server

from wsrooms import WsAddress, WsApp, use_ws_rooms

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ws = WsApp()


@ws.on_message("join", "/orders")
async def join() -> None:
    await use_ws_rooms().join()


# --8<-- [start:thread]
@contextmanager
def in_a_thread(app: WsApp, port: int) -> Iterator[WsAddress]:
    """Serve ``app`` on an event loop of its own, in a thread, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wsrooms")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(app.listen(port), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(app.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# --8<-- [end:thread]


# --8<-- [start:push]
def web(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """What Flask or Django would do: a request changes something, and the rooms are told."""
    receipt = ws.room("/orders").broadcast("ordered", environ["PATH_INFO"])
    receipt.result(timeout=5)  # leave this out unless you must know that the bus has it
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ordered\n"]


# --8<-- [end:push]

if __name__ == "__main__":
    with in_a_thread(ws, port=8000) as address, make_server("127.0.0.1", 8080, web) as http:
        print(f"{address.url}; order with: curl http://127.0.0.1:8080/tea")
        http.serve_forever()

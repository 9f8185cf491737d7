"""The server that is measured, written as a user would write it.

python wsrooms_server.py PORT [--loop asyncio|uvloop] [--handlers sync|async] [--data decoded|raw]
                         [--transport URL]
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from wsrooms import WsApp, use_ws_message, use_ws_rooms


def chat(transport: str | None) -> WsApp:
    """Plain handlers; data is decoded and encoded again. This is the README's server."""
    ws = WsApp(broadcast_transport=transport)

    @ws.on_message("join", "/chat/:room")
    async def join() -> bool:
        await use_ws_rooms().join()
        return True

    @ws.on_message("message", "/chat/:room")
    def message() -> None:
        use_ws_rooms().broadcast("message", use_ws_message().data)

    @ws.on_message("echo", "/chat/:room")
    def echo() -> object:
        return use_ws_message().data

    return ws


def chat_raw(transport: str | None) -> WsApp:
    """Data is passed on as it came."""
    ws = WsApp(broadcast_transport=transport)

    @ws.on_message("join", "/chat/:room")
    async def join() -> bool:
        await use_ws_rooms().join()
        return True

    @ws.on_message("message", "/chat/:room")
    def message() -> None:
        use_ws_rooms().broadcast("message", use_ws_message().data_raw)

    @ws.on_message("echo", "/chat/:room")
    def echo() -> object:
        return use_ws_message().data_raw

    return ws


def chat_async(transport: str | None) -> WsApp:
    """Every handler is a coroutine, and so a task for each message."""
    ws = WsApp(broadcast_transport=transport)

    @ws.on_message("join", "/chat/:room")
    async def join() -> bool:
        await use_ws_rooms().join()
        return True

    @ws.on_message("message", "/chat/:room")
    async def message() -> None:
        await use_ws_rooms().broadcast("message", use_ws_message().data)

    @ws.on_message("echo", "/chat/:room")
    async def echo() -> object:
        return use_ws_message().data

    return ws


def chat_async_raw(transport: str | None) -> WsApp:
    """Both: coroutines that pass data on as it came."""
    ws = WsApp(broadcast_transport=transport)

    @ws.on_message("join", "/chat/:room")
    async def join() -> bool:
        await use_ws_rooms().join()
        return True

    @ws.on_message("message", "/chat/:room")
    async def message() -> None:
        await use_ws_rooms().broadcast("message", use_ws_message().data_raw)

    @ws.on_message("echo", "/chat/:room")
    async def echo() -> object:
        return use_ws_message().data_raw

    return ws


APPS = {
    ("sync", "decoded"): chat,
    ("sync", "raw"): chat_raw,
    ("async", "decoded"): chat_async,
    ("async", "raw"): chat_async_raw,
}


async def serve(app: WsApp, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app.serving(port):
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--handlers", choices=["sync", "async"], default="sync")
    parser.add_argument("--data", choices=["decoded", "raw"], default="decoded")
    parser.add_argument("--transport", help="what joins several of these")
    options = parser.parse_args()
    app = APPS[options.handlers, options.data](options.transport)
    if options.loop == "uvloop":
        import uvloop

        uvloop.run(serve(app, options.port))
    else:
        asyncio.run(serve(app, options.port))


if __name__ == "__main__":
    main()

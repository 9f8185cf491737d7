"""``python -m demo_cluster``: start the fleet, and say where to watch it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

from demo_cluster.brokers import BROKERS, HOST, NotHere
from demo_cluster.control import control, page_server
from demo_cluster.fleet import Fleet
from demo_cluster.front import Front

if TYPE_CHECKING:
    from collections.abc import Callable


async def serve(fleet: Fleet, at: socket.socket, ready: Callable[[str], None]) -> None:
    """Run the fleet until SIGINT or SIGTERM, and leave no process behind."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    port: int = at.getsockname()[1]
    app = control(fleet, port)
    async with app.serving(http_handler=page_server(port)) as address:
        front = Front(fleet.living, address.port)
        async with front.listening(at), fleet.running():
            ready(f"http://{HOST}:{port}/")
            await ended.wait()


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and serve until a signal ends it."""
    parser = argparse.ArgumentParser(
        prog="python -m demo_cluster",
        description="Three instances of the chat over a real broker, with buttons to kill them.",
    )
    parser.add_argument("transport", nargs="?", choices=BROKERS, default="redis")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (%(default)s)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= 65535:
        sys.exit(f"wsrooms: port {given.port} does not exist: use 0 to 65535")

    def ready(url: str) -> None:
        print(
            f"\n  Open {url} in two browser tabs, chat, and press the buttons: kill the broker,"
            "\n  kill an instance, and watch the fleet heal. Ctrl+C ends all of it.\n",
            flush=True,
        )
        if given.open:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    logging.basicConfig(level=logging.WARNING, format="  demo: %(message)s")
    try:
        fleet = Fleet(BROKERS[given.transport])
        at = socket.create_server((HOST, given.port))
    except NotHere as error:
        sys.exit(f"wsrooms: {error}")
    except OSError as error:
        sys.exit(f"wsrooms: cannot listen at port {given.port} ({error}); choose with --port")
    asyncio.run(serve(fleet, at, ready))


if __name__ == "__main__":
    main()

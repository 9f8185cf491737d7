"""``python -m wsrooms.demo``: serve the chat and say where to open it."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from typing import TYPE_CHECKING

from wsrooms import WsAddress, WsApp
from wsrooms.demo import chat
from wsrooms.demo.page import serve_page

if TYPE_CHECKING:
    from typing import Unpack

    from wsrooms import ServerOptions


class DemoApp(WsApp):
    """The chat, telling a person where it is once it can be reached."""

    def __init__(self, *, open_browser: bool) -> None:
        """Take over the chat's handlers."""
        super().__init__(lifespan=chat.lifespan)
        self.include(chat.ws)
        self._open_browser = open_browser

    async def listen(
        self, port: int, host: str = "127.0.0.1", **options: Unpack[ServerOptions]
    ) -> WsAddress:
        """Listen, and print the address of the page."""
        address = await super().listen(port, host, **options)
        url = page_url(address)
        print(f"\n  Open {url} in two browser tabs and chat. Ctrl+C ends it.\n", flush=True)
        if self._open_browser:
            # A browser for terminals would hold a thread, so nobody waits for this one.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        return address


def page_url(address: WsAddress) -> str:
    """What to type into a browser on this machine."""
    if address.host in ("0.0.0.0", "::"):
        return f"http://localhost:{address.port}/"
    return address.url.replace("ws", "http", 1) + "/"


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and serve until a signal ends it."""
    parser = argparse.ArgumentParser(
        prog="python -m wsrooms.demo",
        description="A chat in rooms: the page and its WebSocket, from one process.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen; 0.0.0.0 lets other machines in, such as a phone (%(default)s)",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (%(default)s)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    given = parser.parse_args(arguments)
    DemoApp(open_browser=given.open).run(given.host, given.port, http_handler=serve_page)


if __name__ == "__main__":
    main()

"""``python -m demo_cluster.instance NAME URL``: one instance of the chat, in this process.

What a fleet needs besides the demo's handlers is here: which instance this is, the roll-call
of docs/howto/presence.md with its limit, and a word to clients when messages may have been
lost. How it is, it writes to standard output, a line of JSON each time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

from wsrooms import (
    WsApp,
    WsError,
    WsKey,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.demo import chat

if TYPE_CHECKING:
    from wsrooms.transports import Gap, WsBroadcastTransport

PAID = WsKey[float]("until when the calls of the roll are paid for")
CALL_EVERY = 1.0
CALLS_AT_ONCE = 20
"""A connection's calls of the roll: seconds for each in the long run, and how many at once."""

REPORT_EVERY = 0.25
ROOMS = 20
LONGEST_ROOM = 200
"""Clients name rooms: a report has as many, and names as long, as the page can show."""


def make_app(name: str, transport: str | WsBroadcastTransport) -> WsApp:
    """The chat as an instance of this name."""
    # Without the broker it starts all the same: the page shows how it finds it later.
    app = WsApp(broadcast_transport=transport, start_without_broker=True, lifespan=chat.lifespan)
    app.include(chat.ws)

    def present() -> dict[str, str]:
        chat.member()
        return {**chat.person(use_ws_connection()), "instance": name}

    @app.on_message("instance", "/chat")
    def instance() -> str:
        return name

    @app.on_message("roll", "/chat/:room")
    def roll() -> None:
        chat.member()
        pay()
        use_ws_rooms().broadcast("roll", present(), exclude_self=False)

    @app.on_message("here", "/chat/:room")
    def here() -> None:
        use_ws_rooms().broadcast("here", present(), exclude_self=False)

    @app.on_gap
    def missed(gap: Gap) -> None:
        """Tell those whom it concerns: clients here, as other instances have their own gaps."""
        data = {"instance": name, "missing": gap.missing}
        if gap.room is None:
            use_ws_server().broadcast("missed", "/chat", data, local=True)
        else:
            use_ws_server().room(gap.room).broadcast("missed", data, local=True)

    return app


def pay() -> None:
    """One call of the roll by the current connection, or 429."""
    me, now = use_ws_connection(), asyncio.get_running_loop().time()
    paid = max(me.context.get(PAID, now), now) + CALL_EVERY
    if paid > now + CALLS_AT_ONCE * CALL_EVERY:
        raise WsError(429, "Too many calls of the roll, wait a second")
    me.context[PAID] = paid


def report(app: WsApp, port: int) -> dict[str, object]:
    """How this instance is, as the fleet reads it."""
    health, stats = app.health(), app.stats()
    counts = {name: stats[name] for name in ("connections", "received", "gaps", "reconnects")}
    rooms = Counter(
        room
        for one in app.server.connections()
        for room in one.rooms
        if room.startswith("/chat/") and len(room) <= LONGEST_ROOM
    )
    return {
        "port": port,
        "pid": os.getpid(),
        "state": health.state,
        "error": health.error,
        **counts,
        "rooms": dict(rooms.most_common(ROOMS)),
    }


async def main(name: str, url: str) -> None:
    """Serve at a free port, and report, until killed."""
    app = make_app(name, url)
    address = await app.listen(0)
    while True:
        print(json.dumps(report(app, address.port)), flush=True)
        await asyncio.sleep(REPORT_EVERY)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO,
        format=f"  {sys.argv[1]}: %(message)s",
    )
    asyncio.run(main(*sys.argv[1:]))

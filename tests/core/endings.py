"""How connections end, and that nothing is left of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms import use_ws_connection

if TYPE_CHECKING:
    from wsrooms import WsApp


class Ends:
    """Notes every on_disconnect of an app: who, why, and in which rooms."""

    def __init__(self, app: WsApp) -> None:
        self.app = app
        self.seen: list[tuple[int | None, list[str]]] = []
        self.ids: list[str] = []
        app.on_disconnect(self._note)

    async def _note(self) -> None:
        connection = use_ws_connection()
        assert self.app.server.get_connection(connection.id) is connection
        assert connection in self.app.server.connections()
        rooms = sorted(connection.rooms)
        await asyncio.sleep(0)
        for room in rooms:
            assert connection in self.app.room(room).connections()
        self.ids.append(connection.id)
        self.seen.append((connection.close_code, rooms))


def nothing_left(app: WsApp) -> bool:
    stats = app.stats()
    gauges = ("connections", "rooms", "memberships", "joins_pending")
    return not app.server.connections() and not any(stats[gauge] for gauge in gauges)

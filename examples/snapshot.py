"""A shared board: join first, then read, and no update is lost in between."""

import asyncio
from dataclasses import dataclass, field

from wsrooms import WsApp, WsMessage, use_ws_message, use_ws_rooms

ws = WsApp()


# --8<-- [start:store]
@dataclass
class Board:
    """What your database keeps: every change gets the next number."""

    version: int = 0
    items: dict[str, str] = field(default_factory=dict[str, str])


BOARDS: dict[str, Board] = {}


async def read(board: str) -> Board:
    await asyncio.sleep(0)  # a query takes a while, and others write meanwhile
    found = BOARDS.get(board, Board())
    return Board(found.version, dict(found.items))


async def write(board: str, key: str, value: str) -> int:
    """The number of this change, drawn in the same transaction."""
    kept = BOARDS.setdefault(board, Board())
    kept.items[key] = value
    kept.version += 1
    return kept.version


# --8<-- [end:store]


# --8<-- [start:open]
@ws.on_message("open", "/boards/:board")
async def open_board() -> Board:
    await use_ws_rooms().join()  # from here on every update arrives
    return await read(use_ws_message().path)  # and what came before is in this


# --8<-- [end:open]


# --8<-- [start:set]
@dataclass
class Change:
    key: str
    value: str


@ws.on_message("set", "/boards/:board")
async def set_item(message: WsMessage[Change]) -> int:
    change = message.data
    version = await write(message.path, change.key, change.value)
    update = {"version": version, "key": change.key, "value": change.value}
    use_ws_rooms().broadcast("changed", update, exclude_self=False)
    return version


# --8<-- [end:set]


# --8<-- [start:wrong]
@ws.on_message("open-wrongly", "/boards/:board")
async def open_board_wrongly() -> Board:
    board = await read(use_ws_message().path)
    await use_ws_rooms().join()  # too late for what was written since the read
    return board


# --8<-- [end:wrong]

if __name__ == "__main__":
    ws.run(port=8000)

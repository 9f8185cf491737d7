"""A shop that the tests of the page "Testing" test: typed orders, a room, a late delivery."""

import asyncio
from dataclasses import dataclass

from wsrooms import WsApp, WsError, WsKey, WsMessage, use_ws_connection, use_ws_rooms

ws = WsApp()
USER = WsKey[str]("user")


@dataclass
class Order:
    item: str
    pieces: int = 1


@ws.on_connect
def login() -> None:
    connection = use_ws_connection()
    user = connection.request.cookies.get("user")
    if user is None:
        raise WsError(401, "Log in first")
    connection.context[USER] = user
    connection.join(f"user:{user}")


@ws.on_message("watch", "/shops/:shop")
async def watch() -> str:
    await use_ws_rooms().join()
    return "watching"


@ws.on_message("order", "/shops/:shop")
def order(message: WsMessage[Order]) -> dict[str, int]:
    if message.data.pieces < 1:
        raise WsError(400, "Order one piece at least")
    use_ws_rooms().broadcast("ordered", message.data)
    return {"pieces": message.data.pieces}


@ws.on_message("deliver", "/shops/:shop")
async def deliver() -> str:
    await asyncio.sleep(3600)
    use_ws_rooms().broadcast("delivered")
    return "thank you"

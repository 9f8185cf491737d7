"""The app that answers the frames of the page "Wire protocol"."""

from dataclasses import dataclass
from typing import Any

from wsrooms import WsApp, WsError, WsMessage, use_ws_connection, use_ws_rooms

ws = WsApp()


@dataclass
class Order:
    item: str


@ws.on_message("echo", "/x")
def echo(message: WsMessage[Any]) -> Any:
    return message.data


@ws.on_message("say", "/chat/:room")
async def say(message: WsMessage[Any]) -> str:
    await use_ws_rooms().join()
    use_ws_rooms().broadcast("said", message.data_raw, exclude_self=False)
    return "said"


@ws.on_message("push", "/x")
def push() -> None:
    use_ws_connection().send("nothing", "/x")
    use_ws_connection().send("null", "/x", None)


@ws.on_message("order", "/x")
def order(message: WsMessage[Order]) -> str:
    return message.data.item


@ws.on_message("refuse", "/x")
def refuse() -> None:
    raise WsError(418, "I am a teapot")


@ws.on_message("fail", "/x")
def fail() -> float:
    return 1 / 0


if __name__ == "__main__":
    ws.run(port=8000)

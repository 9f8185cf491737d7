"""A chat with two mistakes, which debug mode tells: run it, and read the log."""

import time

from wsrooms import WsApp, use_ws_message, use_ws_rooms

ws = WsApp(debug=True)


@ws.on_message("join", "/chat/:room")
async def join() -> str:
    await use_ws_rooms().join()
    return "joined"


@ws.on_message("say", "/chat/:room")
def say() -> None:
    use_ws_rooms().broadcast("said", use_ws_message().data)
    time.sleep(0.12)  # a database, say: meanwhile no other client is served
    use_ws_rooms().broadcast("log", room="/Log")  # those who listen are in "/log"


@ws.on_message("log", "/log")
async def log() -> None:
    await use_ws_rooms().join()


if __name__ == "__main__":
    ws.run(port=8000)

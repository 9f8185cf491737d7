"""Two instances of one app, joined by a bus: what is said on one is heard on the other."""

import asyncio

from websockets.asyncio.client import connect

from wsrooms import MemoryBus, MemoryTransport, WsApp, use_ws_message, use_ws_rooms

ws = WsApp()


@ws.on_message("join", "/chat/:room")
async def join() -> str:
    await use_ws_rooms().join()
    return "joined"


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


async def main() -> list[str]:
    bus = MemoryBus()  # joins the apps of one process
    one = ws.replica(broadcast_transport=MemoryTransport(bus))
    two = ws.replica(broadcast_transport=MemoryTransport(bus))
    async with (
        one.serving() as here,
        two.serving() as there,
        connect(here.url) as ann,
        connect(there.url) as bob,
    ):
        await ann.send('{"event":"join","path":"/chat/general","id":1}')
        await bob.send('{"event":"join","path":"/chat/general","id":1}')
        heard = [str(await ann.recv()), str(await bob.recv())]
        await ann.send('{"event":"message","path":"/chat/general","data":"hello"}')
        return [*heard, str(await bob.recv())]


if __name__ == "__main__":
    for line in asyncio.run(main()):
        print(line)

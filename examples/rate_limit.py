"""How much a client may send: an allowance for each, and what happens past it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wsrooms import WsApp, WsError, WsKey, WsLimits, use_ws_connection, use_ws_message, use_ws_rooms

# --8<-- [start:rate]
RATE = 5.0  # messages a second in the long run,
BURST = 20.0  # and so many at once


@dataclass
class Allowance:
    left: float = BURST
    at: float = 0.0

    def take(self, now: float) -> float:
        """One message; below zero it is one too many."""
        self.left = min(BURST, self.left + (now - self.at) * RATE) - 1
        self.at = now
        return self.left


ALLOWANCE = WsKey[Allowance]("allowance")

# --8<-- [end:rate]
# --8<-- [start:limits]
ws = WsApp(
    max_message_size=16 * 1024,  # bytes; the default is 1 MiB
    limits=WsLimits(rooms_per_connection=50),
)
# --8<-- [end:limits]


# --8<-- [start:around]
@ws.on_connect
def connected() -> None:
    use_ws_connection().context[ALLOWANCE] = Allowance()


@ws.around_message
async def not_too_many(call_next: Callable[[], Awaitable[object]]) -> object:
    connection = use_ws_connection()
    left = connection.get(ALLOWANCE).take(asyncio.get_running_loop().time())
    if left < -BURST:  # it goes on and on
        connection.close(1008, "too many messages")
    if left < 0:
        raise WsError(429, "too many messages, wait a second")
    return await call_next()


# --8<-- [end:around]


@ws.on_message("join", "/chat/:room")
async def join() -> None:
    await use_ws_rooms().join()


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


if __name__ == "__main__":
    ws.run(port=8000)

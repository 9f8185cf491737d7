"""Login by the first message, for clients that can send neither a cookie nor a header."""

import asyncio
from collections.abc import Awaitable, Callable

from wsrooms import (
    WsApp,
    WsConnection,
    WsError,
    WsKey,
    WsMessage,
    use_ws_connection,
    use_ws_message,
)

TOKENS = {"ann-token": "ann"}  # what your login page hands out
LOGIN_TIME = 10.0
USER = WsKey[str]("user")

ws = WsApp()


# --8<-- [start:login]
@ws.on_connect
def connected() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(LOGIN_TIME, show_out_strangers, use_ws_connection())


def show_out_strangers(connection: WsConnection) -> None:
    if USER not in connection.context:
        connection.close(1008, "no login in time")


@ws.on_message("login", "/")
def login(message: WsMessage[str]) -> str:
    user = TOKENS.get(message.data)
    if user is None:
        raise WsError(401, "unknown token")  # the connection stays until its time is up
    use_ws_connection().context[USER] = user
    return user


@ws.around_message
async def only_after_login(call_next: Callable[[], Awaitable[object]]) -> object:
    if USER not in use_ws_connection().context and use_ws_message().event != "login":
        raise WsError(401, "log in first")
    return await call_next()


# --8<-- [end:login]


@ws.on_message("whoami", "/")
def whoami() -> str:
    return use_ws_connection().get(USER)


if __name__ == "__main__":
    ws.run(port=8000)

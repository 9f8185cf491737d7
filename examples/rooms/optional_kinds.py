"""Typed data of attrs: for programs that have it installed anyway."""

import attrs

from wsrooms import WsApp, WsMessage
from wsrooms.testing import connect_client


# --8<-- [start:kinds]
@attrs.define
class Size:
    width: int


async def test_attrs_classes_are_types_too() -> None:
    ws = WsApp()

    @ws.on_message("mirror", "/size")
    def size(message: WsMessage[Size]) -> Size:
        return message.data

    async with connect_client(ws) as ann:
        assert await ann.call("mirror", "/size", {"width": 3}) == {"width": 3}


# --8<-- [end:kinds]

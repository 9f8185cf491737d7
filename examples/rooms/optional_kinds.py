"""Typed data of attrs and pydantic: for programs that have them installed anyway."""

import attrs
import pydantic
import pytest

from wsrooms import WsApp, WsError, WsMessage
from wsrooms.testing import connect_client


# --8<-- [start:kinds]
@attrs.define
class Size:
    width: int


class Account(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)


async def test_attrs_classes_and_pydantic_models_are_types_too() -> None:
    ws = WsApp()

    @ws.on_message("mirror", "/size")
    def size(message: WsMessage[Size]) -> Size:
        return message.data

    @ws.on_message("mirror", "/account")
    def account(message: WsMessage[Account]) -> Account:
        return message.data

    async with connect_client(ws) as ann:
        assert await ann.call("mirror", "/size", {"width": 3}) == {"width": 3}
        assert await ann.call("mirror", "/account", {"name": "ann"}) == {"name": "ann"}
        with pytest.raises(WsError, match="at least 2 characters") as refused:
            await ann.call("mirror", "/account", {"name": "a"})
        assert refused.value.code == 422


# --8<-- [end:kinds]

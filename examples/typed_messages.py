"""Typed messages: a shop that declares what its clients may send, in every way there is."""

import dataclasses
from typing import Literal, TypedDict

import attrs
import msgspec
import pydantic

from wsrooms import WsApp, WsError, WsMessage, use_ws_message, use_ws_rooms


# --8<-- [start:hook]
def without_nones(thing: object) -> object:
    if isinstance(thing, pydantic.BaseModel):
        return thing.model_dump(mode="json", exclude_none=True)
    raise NotImplementedError(f"cannot send a {type(thing).__name__}")


ws = WsApp(enc_hook=without_nones)
# --8<-- [end:hook]


# --8<-- [start:struct]
class Line(msgspec.Struct):
    article: str
    count: int = 1


class Order(msgspec.Struct):
    lines: list[Line]
    note: str | None = None


@ws.on_message("order", "/shops/:shop")
def order(message: WsMessage[Order]) -> Order:
    if not message.data.lines:
        raise WsError(422, "an order needs a line")
    use_ws_rooms().broadcast("ordered", message.data)
    return message.data


# --8<-- [end:struct]


# --8<-- [start:composable]
@ws.on_message("recount", "/shops/:shop")
def recount() -> int:
    line = use_ws_message(Line).data
    return line.count


# --8<-- [end:composable]


# --8<-- [start:dataclass]
@dataclasses.dataclass
class Place:
    shelf: int
    side: Literal["left", "right"]


@ws.on_message("put", "/shops/:shop")
def put(message: WsMessage[Place]) -> Place:
    return dataclasses.replace(message.data, shelf=message.data.shelf + 1)


# --8<-- [end:dataclass]


# --8<-- [start:typeddict]
class Rename(TypedDict):
    old: str
    new: str


@ws.on_message("rename", "/shops/:shop")
def rename(message: WsMessage[Rename]) -> str:
    return f"{message.data['old']} is now {message.data['new']}"


# --8<-- [end:typeddict]


# --8<-- [start:attrs]
@attrs.define
class Rating:
    stars: int = attrs.field(validator=attrs.validators.le(5))


@ws.on_message("rate", "/shops/:shop")
def rate(message: WsMessage[Rating]) -> Rating:
    return message.data


# --8<-- [end:attrs]


# --8<-- [start:pydantic]
class Customer(pydantic.BaseModel, extra="forbid"):
    name: str = pydantic.Field(min_length=1)
    born: pydantic.PastDate | None = None


@ws.on_message("register", "/shops/:shop")
def register(message: WsMessage[Customer]) -> Customer:
    use_ws_rooms().broadcast("registered", {"customer": message.data})
    return message.data


# --8<-- [end:pydantic]


# --8<-- [start:union]
class Paid(msgspec.Struct, tag="paid"):
    cents: int


class Cancelled(msgspec.Struct, tag="cancelled"):
    reason: str


@ws.on_message("settle", "/shops/:shop")
def settle(message: WsMessage[Paid | Cancelled]) -> str:
    match message.data:
        case Paid(cents=cents):
            return f"{cents / 100:.2f} paid"
        case Cancelled(reason=reason):
            return f"cancelled: {reason}"


# --8<-- [end:union]


# --8<-- [start:containers]
@ws.on_message("import", "/shops/:shop")
def import_customers(message: WsMessage[list[Customer]]) -> list[str]:
    return [customer.name for customer in message.data]


@ws.on_message("forget", "/shops/:shop")
def forget() -> str:
    name = use_ws_message(str | None).data
    return "all forgotten" if name is None else f"{name} forgotten"


# --8<-- [end:containers]


@ws.on_message("join", "/shops/:shop")
async def join() -> None:
    await use_ws_rooms().join()


if __name__ == "__main__":
    ws.run(port=8000)

"""Typed messages, end to end: every kind of type, in both ways in and every way out."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from wsrooms import (
    InvalidHandler,
    MemoryBus,
    MemoryTransport,
    WsApp,
    WsMessage,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixture of conftest.py

T = TypeVar("T")


class ItemStruct(msgspec.Struct):
    name: str
    count: int = 1


class OrderStruct(msgspec.Struct):
    text: str
    items: list[ItemStruct]


class StrictStruct(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    items: list[ItemStruct]


class CatStruct(msgspec.Struct, tag="cat"):
    lives: int


class DogStruct(msgspec.Struct, tag="dog"):
    name: str


@dataclasses.dataclass
class ItemData:
    name: str
    count: int = 1


@dataclasses.dataclass
class OrderData:
    text: str
    items: list[ItemData]


class ItemDict(TypedDict):
    name: str


class OrderDict(TypedDict):
    text: str
    items: list[ItemDict]


@attrs.define
class ItemAttrs:
    name: str
    count: int = 1


@attrs.define
class OrderAttrs:
    text: str
    items: list[ItemAttrs]


class ItemTuple(NamedTuple):
    name: str
    number: int


class ItemModel(pydantic.BaseModel):
    name: str
    count: int = 1


class OrderModel(pydantic.BaseModel):
    text: str
    items: list[ItemModel]


class StrictModel(pydantic.BaseModel, extra="forbid"):
    text: str
    items: list[ItemModel]


class CatModel(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class DogModel(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class PageModel(pydantic.BaseModel, Generic[T]):
    entries: list[T]


class NamesModel(pydantic.RootModel[list[str]]):
    pass


class AliasedModel(pydantic.BaseModel):
    user_id: int = pydantic.Field(alias="userId")

    @pydantic.field_serializer("user_id")
    def _as_text(self, value: int) -> str:
        return f"#{value}"


@pydantic.dataclasses.dataclass
class PydanticData:
    text: str
    items: list[ItemModel]


class StructOfModels(msgspec.Struct):
    text: str
    items: list[ItemModel]


@dataclasses.dataclass
class DataOfModels:
    text: str
    items: list[ItemModel]


class DictOfModels(TypedDict):
    text: str
    items: list[ItemModel]


@attrs.define
class AttrsOfModels:
    text: str
    items: list[ItemModel]


class Unresolvable(msgspec.Struct):
    other: OnlyForCheckers  # type: ignore[name-defined]  # noqa: F821 - the mistake


@dataclasses.dataclass
class Kind:
    """A type, what fits it, and what does not, each with what the client is told."""

    type: Any
    valid: object
    invalid: dict[str, tuple[object, str]]
    dumped: object = None  # what comes out, where it is not what went in


ITEMS = [{"name": "a", "count": 2}, {"name": "b", "count": 1}]
ORDER = {"text": "t", "items": ITEMS}
ORDER_INVALID: dict[str, tuple[object, str]] = {
    "type": ({"text": 5, "items": []}, "Expected `str`, got `int` - at `$.text`"),
    "missing": ({"items": []}, "Object missing required field `text`"),
    "nested type": (
        {"text": "t", "items": [{"name": "a"}, {"name": None}]},
        "Expected `str`, got `null` - at `$.items[1].name`",
    ),
    "nested missing": (
        {"text": "t", "items": [{"count": 1}]},
        "Object missing required field `name` - at `$.items[0]`",
    ),
    "whole": ([], "Expected `object`, got `array`"),
    "null": (None, "Expected `object`, got `null`"),
}
# A null stands for data that was not sent, too.
UNKNOWN = {"unknown": ({**ORDER, "more": 1}, "Object contains unknown field `more`")}
NAMED = [{"name": "a"}]

KINDS = {
    "Struct": Kind(OrderStruct, ORDER, ORDER_INVALID),
    "Struct that forbids": Kind(StrictStruct, ORDER, {**ORDER_INVALID, **UNKNOWN}),
    "dataclass": Kind(OrderData, ORDER, ORDER_INVALID),
    "TypedDict": Kind(OrderDict, {"text": "t", "items": NAMED}, ORDER_INVALID),
    "attrs": Kind(OrderAttrs, ORDER, ORDER_INVALID),
    "NamedTuple": Kind(
        ItemTuple, ["a", 1], {"type": (["a", "b"], "Expected `int`, got `str` - at `$[1]`")}
    ),
    "model": Kind(OrderModel, ORDER, ORDER_INVALID),
    "model that forbids": Kind(StrictModel, ORDER, {**ORDER_INVALID, **UNKNOWN}),
    "model of aliases": Kind(
        AliasedModel,
        {"userId": 5},
        {
            "type": ({"userId": "x"}, "Expected `int`, got `str` - at `$.userId`"),
            "missing": ({"user_id": 5}, "Object missing required field `userId`"),
        },
        dumped={"user_id": "#5"},
    ),
    "root model": Kind(
        NamesModel, ["a"], {"type": (["a", 5], "Expected `str`, got `int` - at `$[1]`")}
    ),
    "generic model": Kind(
        PageModel[ItemModel],
        {"entries": ITEMS},
        {
            "type": (
                {"entries": [{"name": 1}]},
                "Expected `str`, got `int` - at `$.entries[0].name`",
            )
        },
    ),
    "pydantic dataclass": Kind(PydanticData, ORDER, ORDER_INVALID),
    "Struct of models": Kind(StructOfModels, ORDER, ORDER_INVALID),
    "dataclass of models": Kind(DataOfModels, ORDER, ORDER_INVALID),
    "TypedDict of models": Kind(DictOfModels, ORDER, ORDER_INVALID),
    "attrs of models": Kind(AttrsOfModels, ORDER, ORDER_INVALID),
    "list of Structs": Kind(
        list[ItemStruct],
        ITEMS,
        {"type": ([{"name": 1}], "Expected `str`, got `int` - at `$[0].name`")},
    ),
    "list of models": Kind(
        list[ItemModel],
        ITEMS,
        {
            "type": ([*ITEMS, {"name": 1}], "Expected `str`, got `int` - at `$[2].name`"),
            "missing": ([{}], "Object missing required field `name` - at `$[0]`"),
            "whole": ({}, "Expected `array`, got `object`"),
        },
    ),
    "dict of models": Kind(
        dict[str, ItemModel],
        {"x": ITEMS[0], "a b": ITEMS[1]},
        {"type": ({"a b": {"name": 1}}, 'Expected `str`, got `int` - at `$["a b"].name`')},
    ),
    "model or none": Kind(
        ItemModel | None,
        None,
        {"type": ({"name": []}, "Expected `str`, got `array` - at `$.name`")},
    ),
    "Struct or none": Kind(
        ItemStruct | None, ITEMS[0], {"type": (5, "Expected `object | null`, got `int`")}
    ),
    "union of Structs": Kind(
        CatStruct | DogStruct,
        {"type": "cat", "lives": 7},
        {
            "type": (
                {"type": "cat", "lives": "x"},
                "Expected `int`, got `str` - at `$.lives`",
            ),
            "tag": ({"type": "cow"}, "Invalid value 'cow' - at `$.type`"),
        },
    ),
    "union of models": Kind(
        Annotated[CatModel | DogModel, pydantic.Field(discriminator="kind")],
        {"kind": "cat", "lives": 7},
        {
            "type": (
                {"kind": "cat", "lives": "x"},
                "Expected `int`, got `str` - at `$.lives`",
            ),
            "tag": (
                {"kind": "cow"},
                "Input tag 'cow' found using 'kind' does not match any of the expected tags: "
                "'cat', 'dog'",
            ),
        },
    ),
    "plain union of a model": Kind(
        int | ItemModel, ITEMS[0], {"type": ("x", "Expected `int | object`, got `str`")}
    ),
    "dataclass or model": Kind(
        ItemData | NamesModel,
        ["x"],
        {"type": (5, "Expected `object | array`, got `int`")},
    ),
    "constraint": Kind(
        Annotated[int, pydantic.Field(gt=0)],
        1,
        {"value": (0, "Input should be greater than 0")},
    ),
    "Literal": Kind(Literal["a", "b"], "a", {"value": ("c", "Invalid enum value 'c'")}),
}


def declare(app: WsApp, type_: Any) -> WsApp:
    """Two ways in, and all ways out."""

    def annotated(message: WsMessage[Any]) -> Any:
        return message.data

    annotated.__annotations__["message"] = WsMessage[type_]  # what no checker could follow
    app.on_message("annotated", "/", annotated)

    @app.on_message("used", "/")
    async def used() -> Any:
        return use_ws_message(type_).data

    @app.on_message("join", "/")
    async def join() -> None:
        await use_ws_rooms().join("room")

    @app.on_message("spread", "/")
    def spread() -> dict[str, Any]:
        data = use_ws_message(type_).data
        use_ws_connection().send("sent", "/", data)
        use_ws_connection().send("nested", "/", {"list": [data], "one": data})
        use_ws_rooms().broadcast("said", data, room="room", exclude_self=False)
        app.broadcast("shouted", "/", (data,))
        return {"nested": [data]}

    return app


def only_money(thing: object) -> object:
    """An ``enc_hook`` that knows one class and raises for every other, as its authors should."""
    if isinstance(thing, complex):
        return str(thing)
    raise NotImplementedError(f"no {type(thing).__name__}")


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with enc_hook": {"enc_hook": only_money},
    "with serializer": {"message_serializer": json.dumps},
    "with both and parser": {
        "enc_hook": only_money,
        "message_serializer": json.dumps,
        "message_parser": json.loads,
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_what_fits_comes_in_and_goes_out_in_every_way(
    kind: Kind, options: dict[str, Any], connect: Connect
) -> None:
    bus = MemoryBus()
    app = declare(WsApp(broadcast_transport=MemoryTransport(bus), **options), kind.type)
    other = declare(WsApp(broadcast_transport=MemoryTransport(bus), **options), kind.type)
    expected = kind.valid if kind.dumped is None else kind.dumped
    async with app.serving() as here, other.serving() as there:
        ann, bob = await connect(here), await connect(there)
        await ann.call("join", "/")
        await bob.call("join", "/")
        for way in ("annotated", "used"):
            assert await ann.call(way, "/", kind.valid) == expected
        reply = await ann.call("spread", "/", kind.valid)
        assert reply == {"nested": [expected]}
        pushes = {push["event"]: push["data"] for push in await ann.pushes()}
        assert pushes == {
            "sent": expected,
            "nested": {"list": [expected], "one": expected},
            "said": expected,
            "shouted": [expected],
        }
        assert (await bob.push())["data"] == expected
        assert (await bob.push())["data"] == [expected]


@pytest.mark.parametrize("way", ["annotated", "used"])
@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        pytest.param(kind, data, told, id=f"{name}-{what}")
        for name, kind in KINDS.items()
        for what, (data, told) in kind.invalid.items()
    ],
)
async def test_what_does_not_fit_is_a_422_that_names_the_field(
    kind: Kind, data: object, told: str, way: str, connect: Connect
) -> None:
    async with declare(WsApp(), kind.type).serving() as here:
        client = await connect(here)
        reply = await client.call(way, "/", data)
        assert reply["error"] == {"code": 422, "message": told}


@pytest.mark.parametrize("name", ["Struct", "dataclass", "TypedDict", "attrs", "model"])
async def test_what_a_kind_does_not_forbid_is_left_out(name: str, connect: Connect) -> None:
    kind = KINDS[name]
    async with declare(WsApp(), kind.type).serving() as here:
        client = await connect(here)
        assert isinstance(kind.valid, dict)
        reply = await client.call("used", "/", {**kind.valid, "more": 1})
        assert reply == kind.valid


@pytest.mark.parametrize("name", ["Struct", "model", "list of models", "Struct of models"])
async def test_the_data_of_a_parser_is_validated_by_the_same_rules(
    name: str, connect: Connect
) -> None:
    kind = KINDS[name]
    app = declare(WsApp(message_parser=json.loads), kind.type)
    async with app.serving() as here:
        client = await connect(here)
        for what, (data, told) in kind.invalid.items():
            reply = await client.call("used", "/", data)
            assert reply["error"] == {"code": 422, "message": told}, what


async def test_the_handler_gets_an_object_of_the_type(connect: Connect) -> None:
    got: list[object] = []
    app = WsApp()

    @app.on_message("order", "/")
    def order(message: WsMessage[OrderModel]) -> str:
        got.append(message.data)
        got.append(use_ws_message(OrderStruct).data)
        return message.data.items[0].name

    async with app.serving() as here:
        client = await connect(here)
        assert await client.call("order", "/", ORDER) == "a"
    assert got == [
        OrderModel(text="t", items=[ItemModel(name="a", count=2), ItemModel(name="b")]),
        OrderStruct("t", [ItemStruct("a", 2), ItemStruct("b")]),
    ]


async def test_a_hook_that_knows_models_is_asked_before_pydantic(connect: Connect) -> None:
    def by_alias(thing: object) -> object:
        if isinstance(thing, AliasedModel):
            return {"userId": thing.user_id}
        raise NotImplementedError

    async with declare(WsApp(enc_hook=by_alias), AliasedModel).serving() as here:
        client = await connect(here)
        reply = await client.call("used", "/", {"userId": 5})
        assert reply == {"userId": 5}


def test_a_type_that_nobody_can_validate_is_told_when_the_app_is_made_ready() -> None:
    app = WsApp()

    def handler(message: WsMessage[ItemStruct | ItemModel]) -> None: ...

    handler.__annotations__["message"] = WsMessage[ItemStruct | ItemModel]
    app.on_message("e", "/", handler)
    with pytest.raises(InvalidHandler, match=r"its data type: Type unions .*ItemStruct"):
        app.routes()


def test_a_field_whose_type_cannot_be_found_is_told_when_the_app_is_made_ready() -> None:
    app = WsApp()

    def handler(message: WsMessage[Unresolvable]) -> None: ...

    app.on_message("e", "/", handler)
    with pytest.raises(InvalidHandler, match=r"its data type: .*OnlyForCheckers"):
        app.routes()

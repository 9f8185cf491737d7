"""What pydantic's errors become: msgspec's form, the first error, the JSON path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from wsrooms.datatypes import validator_for
from wsrooms.errors import WsError
from wsrooms.message import WsMessage, typed
from wsrooms.wire import JsonCodec


class Item(pydantic.BaseModel):
    name: str
    count: int = 1


class Forbids(pydantic.BaseModel, extra="forbid"):
    items: list[Item]


@pydantic.dataclasses.dataclass(config={"extra": "forbid"})
class ForbidsData:
    n: int


class FromAttributes(pydantic.BaseModel, from_attributes=True):
    name: str


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Text(pydantic.BaseModel):
    """The tag of this member is also the name of a field."""

    type: Literal["text"]
    text: Any
    size: int


class Picture(pydantic.BaseModel):
    type: Literal["picture"]


class Tree(pydantic.BaseModel):
    type: Literal["tree"]
    tree: Annotated[Tree | Picture, pydantic.Field(discriminator="type")] | None = None


Content = Annotated[Text | Picture, pydantic.Field(discriminator="type")]


class FromPath(pydantic.BaseModel):
    first: int = pydantic.Field(validation_alias=pydantic.AliasPath("all", 0))


class Even(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def _check(cls, n: int) -> int:
        if n == 403:
            raise WsError(403, "not you")
        if n % 2:
            raise ValueError("an odd number")
        return n


class Breaks(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def _check(cls, n: int) -> int:
        raise TypeError(f"{n}: not for clients")


class HoldsBreaks(msgspec.Struct):
    breaks: Breaks


class Holds(msgspec.Struct):
    items: list[Item]
    more: dict[str, Item | None] = {}


CASES: list[tuple[Any, object, str]] = [
    # One for each way in which pydantic says that a kind of value was expected.
    (bool, "x", "Expected `bool`, got `str`"),
    (bool, [], "Expected `bool`, got `array`"),
    (float, "x", "Expected `float`, got `str`"),
    (float, {}, "Expected `float`, got `object`"),
    (int, 1.5, "Expected `int`, got `float`"),
    (int, None, "Expected `int`, got `null`"),
    (None, True, "Expected `null`, got `bool`"),
    (set[int], 1, "Expected `array`, got `int`"),
    (frozenset[int], 1, "Expected `array`, got `int`"),
    (tuple[int, ...], 1, "Expected `array`, got `int`"),
    (dict[str, int], 1, "Expected `object`, got `int`"),
    (Mapping[str, int], 1, "Expected `object`, got `int`"),
    (ForbidsData, 1, "Expected `object`, got `int`"),
    # Where it is.
    (Forbids, {"items": [{}]}, "Object missing required field `name` - at `$.items[0]`"),
    (Forbids, {"items": [], "x": 1, "y": 2}, "Object contains unknown field `x`"),
    (ForbidsData, {"n": 1, "x": 1}, "Object contains unknown field `x`"),
    (dict[int, Item], {"1": {"name": 5}}, "Expected `str`, got `int` - at `$[\"1\"].name`"),
    (tuple[int, int], [1], "Field required - at `$[1]`"),
    (Item, {"name": 5, "count": "x"}, "Expected `str`, got `int` - at `$.name`"),
    (dict[int, Item], {"x": {"name": "a"}}, "Expected `int`, got `str` - at `$.x`"),
    (list[list[Item]], [[{"name": 5}]], "Expected `str`, got `int` - at `$[0][0].name`"),
    # Unions: each member has its say, and none of them is part of the path.
    (Item | list[int], "x", "Expected `object | array`, got `str`"),
    (list[Item | int], [1, "x"], "Expected `object | int`, got `str` - at `$[1]`"),
    (list[Item | Dog], [{"name": 5}], "Expected `str`, got `int` - at `$[0].name`"),
    (
        list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]],
        [{"kind": "cat", "lives": []}],
        "Expected `int`, got `array` - at `$[0].lives`",
    ),
    (
        Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
        {"lives": 1},
        "Unable to extract tag using discriminator 'kind'",
    ),
    # ... also where it has the name of a field.
    (Content, {"type": "text", "text": "x", "size": ""}, "Expected `int`, got `str` - at `$.size`"),
    (Content, {"type": "text", "text": {"size": 1}}, "Object missing required field `size`"),
    (
        list[Content],
        [{"type": "text", "text": {"size": 1}, "size": "x"}],
        "Expected `int`, got `str` - at `$[0].size`",
    ),
    # An alias may be a path, which is named as one.
    (FromPath, {}, "Object missing required field `all[0]`"),
    (FromPath, {"all": []}, "Object missing required field `all[0]`"),
    (FromPath, {"all": ["x"]}, "Expected `int`, got `str` - at `$.all[0]`"),
    # What msgspec has no words for is told in pydantic's.
    (Even, {"n": 1}, "Value error, an odd number - at `$.n`"),
    (Cat, {"kind": "cow", "lives": 1}, "Input should be 'cat' - at `$.kind`"),
    # A model inside of what msgspec validates.
    (Holds, {"items": [{"name": 5}]}, "Expected `str`, got `int` - at `$.items[0].name`"),
    (Holds, {"items": [{}]}, "Object missing required field `name` - at `$.items[0]`"),
    (Holds, {"items": [5]}, "Expected `object`, got `int` - at `$.items[0]`"),
    (Holds, {"items": 5}, "Expected `array`, got `int` - at `$.items`"),
]  # fmt: skip


def adapted(type_: Any) -> Any:
    """``type_``, or a form of it that pydantic validates and not msgspec."""
    return Annotated[type_, pydantic.Field()] if type_ is not Holds else type_


@pytest.mark.parametrize(("type_", "data", "told"), CASES)
def test_the_first_error_is_told_as_msgspec_would(type_: Any, data: object, told: str) -> None:
    validator = validator_for(adapted(type_))
    with pytest.raises(msgspec.ValidationError) as caught:
        validator.decode(json.dumps(data).encode())
    assert str(caught.value) == told
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("type_", "data", "told"), CASES)
def test_the_data_of_a_parser_is_told_alike(type_: Any, data: object, told: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        validator_for(adapted(type_)).convert(data)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("type_", "data", "told"),
    [
        (Item, 1j, "Expected `object`, got `complex`"),
        (FromAttributes, 5, "Expected `object`, got `int`"),
        (list[Item], ({"name": 5},), "Expected `str`, got `int` - at `$[0].name`"),
    ],
)
def test_what_only_a_parser_can_make_is_told_by_its_type(
    type_: Any, data: object, told: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        validator_for(type_).convert(data)
    assert str(caught.value) == told


def test_a_long_name_of_a_client_is_cut() -> None:
    long = "x" * 5000
    for type_, data in (
        (Forbids, {"items": [], long: 1}),
        (dict[str, Item], {"a " + long: 1}),
        (dict[str, Item], {long: 1}),
    ):
        with pytest.raises(msgspec.ValidationError) as caught:
            validator_for(type_).decode(json.dumps(data).encode())
        assert "xxx" in str(caught.value)
        assert len(str(caught.value)) < 200


def test_a_long_tag_of_a_client_is_cut() -> None:
    with pytest.raises(msgspec.ValidationError, match="Input tag 'xxx") as caught:
        validator_for(Content).decode(json.dumps({"type": "x" * 5000}).encode())
    assert len(str(caught.value)) <= 1000


def test_a_megabyte_of_errors_is_counted_and_not_written_out() -> None:
    document = b"[" + b"{}," * 340_000 + b"{}]"
    validator = validator_for(list[Item])
    with pytest.raises(msgspec.ValidationError, match=r"^340001 values do not fit$"):
        validator.decode(document)


def test_a_client_cannot_make_the_path_of_an_error_cost_much() -> None:
    data: dict[str, Any] = {"type": "tree", "tree": 5}
    for _ in range(60):  # at each level the name is a member of the union, and a field
        data = {"type": "tree", "tree": data}
    with pytest.raises(msgspec.ValidationError) as caught:
        validator_for(Tree).decode(json.dumps(data).encode())
    assert str(caught.value).endswith(f"- at `${'.tree' * 61}`")


@pytest.mark.parametrize("type_", [Breaks, HoldsBreaks, list[HoldsBreaks]])
def test_a_mistake_in_a_validator_is_not_told_as_one_of_the_data(type_: Any) -> None:
    data: Any = {"breaks": {"n": 1}, "n": 1}
    data = data if isinstance(type_, type) else [data]
    with pytest.raises(TypeError, match="not for clients"):
        validator_for(type_).decode(json.dumps(data).encode())
    with pytest.raises(TypeError, match="not for clients"):
        validator_for(type_).convert(data)


def test_what_a_validator_raises_for_the_peer_reaches_it() -> None:
    with pytest.raises(WsError, match="not you"):
        validator_for(Even).decode(b'{"n":403}')


# What no type could decode


def message(data: bytes) -> WsMessage[Any]:
    return WsMessage(JsonCodec().decode(b'{"event":"e","path":"/","data":' + data + b"}", True))


@pytest.mark.parametrize(
    "data",
    [
        b'{"name":"a","more":1e999}',
        b'{"name":"a","more":' + b"9" * 5000 + b"}",
        b'{"name":"a","more":' + b"[" * 500 + b"]" * 500 + b"}",
        b"[" * 10_000 + b"]" * 10_000,
    ],
    ids=["out of range", "long number", "deep", "deeper"],
)
def test_what_no_type_could_decode_is_a_400_for_a_model_too(data: bytes) -> None:
    with pytest.raises(WsError, match="Undecodable data") as caught:
        typed(message(data), validator_for(Item))
    assert caught.value.code == 400


def test_half_a_character_is_mended_before_a_model_sees_it() -> None:
    view = typed(message(b'{"name":"a\\ud83d"}'), validator_for(Item))
    assert view.data.name == "a\ufffd"

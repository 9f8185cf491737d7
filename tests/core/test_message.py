"""A message as its handler sees it: decoded late, validated where a type was declared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
import pytest
from msgspec import UNSET, Raw

from wsrooms.datatypes import validator_for
from wsrooms.errors import WsError
from wsrooms.message import WsMessage, typed
from wsrooms.wire import CustomCodec, JsonCodec

DEEP = b"[" * 10_000 + b"]" * 10_000


class Order(msgspec.Struct):
    text: str
    count: int = 1


def received(document: str | bytes) -> WsMessage[Any]:
    payload = document.encode() if isinstance(document, str) else document
    return WsMessage(JsonCodec().decode(payload, text=True))


def carrying(data: str | bytes) -> WsMessage[Any]:
    data = data.encode() if isinstance(data, str) else data
    return received(b'{"event":"e","path":"/p?q=%20","data":' + data + b',"id":7}')


def parsed(data: object) -> WsMessage[Any]:
    """A message of a ``message_parser``, whose data is Python objects."""
    message = {"event": "e", "path": "p", "id": "x"}
    if data is not UNSET:
        message["data"] = data  # type: ignore[assignment]  # whatever a parser makes
    return WsMessage(CustomCodec(lambda _: message, None).decode(b"\xc1", text=False))


def test_a_message_tells_what_was_sent() -> None:
    message = carrying('{"a": [1, 2]}')
    assert (message.event, message.path, message.id) == ("e", "/p?q=%20", 7)
    assert message.data == {"a": [1, 2]}
    assert message.has_data
    assert bytes(message.data_raw) == b'{"a": [1, 2]}'
    assert message.raw.startswith(b'{"event":"e"')
    assert repr(message) == "<WsMessage e /p?q=%20>"


def test_without_data_it_is_none_and_says_so() -> None:
    message = received('{"event":"e","path":"p"}')
    assert message.data is None
    assert not message.has_data
    assert message.id is None


def test_a_null_is_data() -> None:
    message = carrying("null")
    assert message.data is None
    assert message.has_data
    assert bytes(message.data_raw) == b"null"


def test_data_is_decoded_once() -> None:
    message = carrying('{"a":1}')
    assert message.data is message.data


def test_data_that_was_not_sent_is_left_out_again_when_it_is_passed_on() -> None:
    codec = JsonCodec()
    raw = received('{"event":"e","path":"p"}').data_raw
    assert codec.push("e", "p", raw, None) == codec.push("e", "p", UNSET, None)
    inside = codec.push("e", "p", {"said": raw}, None)
    assert inside == codec.push("e", "p", {"said": None}, None)


def test_raw_data_is_passed_on_as_it_is() -> None:
    codec = JsonCodec()
    raw = carrying('{"ü" :  1e999}').data_raw
    assert codec.push("e", "p", raw, None).endswith('"data":{"ü" :  1e999}}'.encode())


@pytest.mark.parametrize(
    ("id", "value"),
    [('"a"', "a"), ('""', ""), ("0", 0), ("1.5", 1.5), ("1e999", math.inf), ("null", None)],
)
def test_an_id_is_a_str_a_number_or_none(id: str, value: object) -> None:
    assert received(f'{{"event":"e","path":"p","id":{id}}}').id == value


@pytest.mark.parametrize("data", ["1e999", "[-1e999]", "9" * 5000])
def test_a_number_beyond_all_range_is_a_400_when_it_is_asked_for_and_not_before(data: str) -> None:
    message = carrying(data)
    assert message.has_data
    assert bytes(message.data_raw) == data.encode()
    for _ in range(2):
        with pytest.raises(WsError, match=r"Undecodable data: .*out of range") as caught:
            message.data  # noqa: B018 - the property raises
        assert caught.value.code == 400


def test_data_nested_too_deep_is_a_400_however_it_is_asked_for() -> None:
    message = carrying(DEEP)
    assert message.has_data
    assert message.id == 7
    asked: list[Callable[[], object]] = [
        lambda: message.data,
        lambda: message.data_raw,
        lambda: message._validate(validator_for(Order)),
    ]
    for ask in asked:
        with pytest.raises(WsError, match="Undecodable data: nested too deep") as caught:
            ask()
        assert caught.value.code == 400


# Typed


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Named(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("type_", "data", "value"),
    [
        (Order, '{"text":"t","more":1}', Order("t")),
        (Point, '{"x":1,"y":2}', Point(1, 2)),
        (Named, '{"name":"n"}', {"name": "n"}),
        (list[int], "[1,2]", [1, 2]),
        (int | None, "null", None),
        (Any, '{"a":1}', {"a": 1}),
    ],
)
def test_data_is_validated_as_the_type_that_was_declared(
    type_: Any, data: str, value: object
) -> None:
    plain = carrying(data)
    message = typed(plain, validator_for(type_))
    assert message.data == value
    assert (message.event, message.id) == (plain.event, plain.id)
    assert bytes(message.data_raw) == data.encode()


def test_a_view_of_another_type_leaves_the_message_as_it_was() -> None:
    plain = carrying('{"text":"t"}')
    view = typed(plain, validator_for(Order))
    again = typed(view, validator_for(dict[str, str]))
    assert (plain.data, view.data, again.data) == ({"text": "t"}, Order("t"), {"text": "t"})
    assert view._plain_data() == {"text": "t"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ('{"text":5}', "Expected `str`, got `int` - at `$.text`"),
        ("{}", "Object missing required field `text`"),
        ("[]", "Expected `object`, got `array`"),
        ("null", "Expected `object`, got `null`"),
        ('{"text":"t","count":1.5}', "Expected `int`, got `float` - at `$.count`"),
    ],
)
def test_data_that_does_not_fit_is_a_422_in_the_words_of_msgspec(data: str, told: str) -> None:
    with pytest.raises(WsError) as caught:
        typed(carrying(data), validator_for(Order))
    assert (caught.value.code, caught.value.message) == (422, told)


def test_data_that_was_not_sent_is_validated_as_null() -> None:
    message = received('{"event":"e","path":"p"}')
    assert typed(message, validator_for(Order | None)).data is None
    with pytest.raises(WsError) as caught:
        typed(message, validator_for(Order))
    assert (caught.value.code, caught.value.message) == (422, "Expected `object`, got `null`")


@pytest.mark.parametrize("type_", [float, list[float], Any])
def test_what_no_type_could_decode_is_a_400_also_where_one_was_declared(type_: Any) -> None:
    data = "[1e999]" if type_ == list[float] else "1e999"
    with pytest.raises(WsError, match="out of range") as caught:
        typed(carrying(data), validator_for(type_))
    assert caught.value.code == 400


def test_data_too_deep_for_the_decoder_of_a_type_is_a_400() -> None:
    message = WsMessage[Any](JsonCodec().decode(b'{"event":"e","path":"p"}', text=True))
    message._inbound.data = Raw(DEEP)  # as a deeper stack would meet it
    with pytest.raises(WsError, match="nested too deep") as caught:
        message._validate(validator_for(Any))
    assert caught.value.code == 400


# Of a message_parser


def test_the_data_of_a_parser_is_what_the_parser_made() -> None:
    data = {1: b"x"}
    message = parsed(data)
    assert message.data is data
    assert (message.has_data, message.id, message.raw) == (True, "x", b"\xc1")
    assert not parsed(UNSET).has_data
    assert parsed(UNSET).data is None


def test_the_data_of_a_parser_can_be_passed_on_as_json() -> None:
    assert bytes(parsed({"a": (1, None), "b": b"x"}).data_raw) == b'{"a":[1,null],"b":"eA=="}'
    with pytest.raises(TypeError, match="type object is unsupported"):
        parsed(object()).data_raw  # noqa: B018 - the property raises
    with pytest.raises(ValueError, match="half a character"):
        parsed("\ud800").data_raw  # noqa: B018 - the property raises


def test_the_data_of_a_parser_is_validated_too() -> None:
    assert typed(parsed({"text": "t"}), validator_for(Order)).data == Order("t")
    with pytest.raises(WsError, match="Expected `str`, got `int`") as caught:
        typed(parsed({"text": 5}), validator_for(Order))
    assert caught.value.code == 422
    assert typed(parsed(UNSET), validator_for(int | None)).data is None

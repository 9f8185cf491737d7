"""What JSON leaves out and a dataclass has a default for is there, and is sent again."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from wsrooms.datatypes import validator_for
from wsrooms.datatypes.defaults import completer_for
from wsrooms.wire import encode_data

T = TypeVar("T")


@dataclasses.dataclass
class Line:
    text: str
    kind: str = "plain"
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    line: Line
    more: Line | None = None


@dataclasses.dataclass
class Tree:
    name: str = "leaf"
    kids: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Slotted:
    text: str
    kind: str = "plain"


@dataclasses.dataclass
class Computed:
    text: str
    seen: bool = dataclasses.field(default=False, init=False)


class HoldsStruct(msgspec.Struct):
    line: Line
    count: int = 1


@attrs.define
class HoldsAttrs:
    lines: dict[str, tuple[Line, ...]]


class HoldsDict(TypedDict):
    line: Line


class HoldsTuple(NamedTuple):
    line: Line


@dataclasses.dataclass
class Box(Generic[T]):
    inside: T


class Item(pydantic.BaseModel):
    name: str


@dataclasses.dataclass
class HoldsModel:
    item: Item
    kind: str = "plain"


LINE = {"text": "hi"}
WHOLE = {"text": "hi", "kind": "plain", "tags": []}
LEAVES = {"name": "leaf", "kids": [{"name": "a", "kids": [{"name": "leaf", "kids": []}]}]}
Named = NewType("Named", Line)

CASES: list[tuple[Any, Any, Any]] = [
    (Line, LINE, WHOLE),
    (Line, {"text": "hi", "kind": "loud"}, {**WHOLE, "kind": "loud"}),
    (list[Line], [LINE, LINE], [WHOLE, WHOLE]),
    (Line | None, LINE, WHOLE),
    (Line | None, None, None),
    (Annotated[Line, "note"], LINE, WHOLE),
    (Named, LINE, WHOLE),
    (Frozen, {"line": LINE}, {"line": WHOLE, "more": None}),
    (Frozen, {"line": LINE, "more": LINE}, {"line": WHOLE, "more": WHOLE}),
    (Tree, {"kids": [{"name": "a", "kids": [{}]}]}, LEAVES),
    (HoldsStruct, {"line": LINE}, {"line": WHOLE, "count": 1}),
    (HoldsAttrs, {"lines": {"a": [LINE]}}, {"lines": {"a": [WHOLE]}}),
    (HoldsDict, {"line": LINE}, {"line": WHOLE}),
    (HoldsTuple, [LINE], [WHOLE]),
    (Box[Line], {"inside": LINE}, {"inside": WHOLE}),
    (Slotted, LINE, {"text": "hi", "kind": "plain"}),
    (HoldsModel, {"item": {"name": "a"}}, {"item": {"name": "a"}, "kind": "plain"}),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "given", "sent"), CASES)
def test_a_field_that_was_left_out_is_sent_with_its_default(
    type_: Any, given: Any, sent: Any
) -> None:
    validator = validator_for(type_)
    for value in (validator.decode(msgspec.json.encode(given)), validator.convert(given)):
        assert msgspec.json.decode(encode_data(value)) == sent


def test_it_is_sent_as_one_made_in_python_is() -> None:
    for type_, given in ((Line, LINE), (Computed, LINE)):
        decoded = validator_for(type_).decode(msgspec.json.encode(given))
        assert vars(decoded) == vars(typing.cast("Any", type_)(**given))


@pytest.mark.parametrize(
    "type_", [int, list[str], Any, Slotted, Computed, Item, dict[str, Any], Box[int]]
)
def test_a_type_without_such_a_field_pays_nothing(type_: Any) -> None:
    assert completer_for(type_) is None

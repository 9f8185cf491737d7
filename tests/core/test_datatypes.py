"""Who validates a type and who dumps an object: msgspec, or pydantic for what is its own."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing
from collections.abc import Hashable, Sized
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType

import msgspec
import pydantic
import pytest

import wsrooms
from wsrooms.datatypes import encoding_hook, validator_for

SOURCE = str(Path(wsrooms.__file__).parent.parent)


class Strict(pydantic.BaseModel, strict=True):
    """In pydantic's JSON mode a str may be a date; in its Python mode it may not."""

    day: date


class HoldsStrict(msgspec.Struct):
    strict: Strict


class Lax(pydantic.BaseModel):
    count: int


@pydantic.dataclasses.dataclass
class LaxData:
    count: int


class HoldsLax(msgspec.Struct):
    lax: Lax
    count: int


@dataclasses.dataclass
class DataHoldsLax:
    lax: Lax
    count: int


@dataclasses.dataclass
class DataOfRules:
    count: Annotated[int, pydantic.Field(gt=0)]


class StructOfRules(msgspec.Struct):
    count: Annotated[int, pydantic.Field(gt=0)]


class Pair(NamedTuple):
    lax: Lax
    number: int


class Node(msgspec.Struct):
    """It names itself, so whoever looks through it must notice where he has been."""

    lax: Lax
    more: list[Node] = []


class Unresolvable(msgspec.Struct):
    other: OnlyForCheckers  # type: ignore[name-defined]  # noqa: F821 - the mistake


class Unhashable:
    """Metadata of an ``Annotated`` that cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]  # as a dataclass with eq has it


class OwnSchema:
    """A class of somebody's own that tells pydantic how to read and write it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda own: own.text),
        )


def decoded(type_: Any, document: str) -> Any:
    return validator_for(type_).decode(document.encode())


def refused(type_: Any, document: str) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        decoded(type_, document)
    return str(caught.value)


# Who validates


def test_a_validator_is_made_once_a_type() -> None:
    for type_ in (HoldsLax, list[Lax], Lax | None, Annotated[int, Unhashable()]):
        assert validator_for(type_) is validator_for(type_)
    assert validator_for(Annotated[int, Unhashable()]) is not validator_for(
        Annotated[int, Unhashable()]
    )


@pytest.mark.parametrize(
    ("type_", "document"),
    [
        (HoldsLax, '{"lax":{"count":"5"},"count":"5"}'),
        (DataHoldsLax, '{"lax":{"count":"5"},"count":"5"}'),
        (Pair, '[{"count":"5"},"5"]'),
        (list[HoldsLax], '[{"lax":{"count":"5"},"count":"5"}]'),
    ],
)
def test_each_class_is_validated_by_its_own_library(type_: Any, document: str) -> None:
    """Which is the same on every Python: pydantic could do some of these, and would take "5"."""
    told = refused(type_, document)
    assert told.startswith("Expected `int`, got `str` - at `$")
    whole = decoded(type_, document.replace(',"count":"5"', ',"count":6').replace(',"5"]', ",6]"))
    assert "count=5" in repr(whole)
    assert "=6" in repr(whole)


@pytest.mark.parametrize(
    "type_",
    [Lax, LaxData, list[Lax], dict[str, Lax], tuple[Lax, int], Lax | int, NewType("Named", Lax)],
)
def test_what_is_around_models_is_pydantics(type_: Any) -> None:
    documents = {
        list[Lax]: '[{"count":"5"}]',
        dict[str, Lax]: '{"x":{"count":"5"}}',
        tuple[Lax, int]: '[{"count":"5"},"6"]',
    }
    assert "5" in repr(decoded(type_, documents.get(type_, '{"count":"5"}')))


def test_constraints_of_pydantic_are_never_passed_over_in_silence() -> None:
    """Msgspec would: it looks at no metadata but its own."""
    assert refused(Annotated[int, pydantic.Field(gt=0)], "0") == "Input should be greater than 0"
    assert refused(DataOfRules, '{"count":0}') == "Input should be greater than 0 - at `$.count`"
    with pytest.raises(TypeError, match="StructOfRules"):
        validator_for(StructOfRules)


def test_a_type_that_names_itself_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    hints = typing.get_type_hints

    def counted(cls: type, *, include_extras: bool) -> dict[str, Any]:
        looked.append(cls)
        found: dict[str, Any] = hints(cls, include_extras=include_extras)
        return found

    monkeypatch.setattr("wsrooms.datatypes.pieces.typing.get_type_hints", counted)
    node = decoded(Node, '{"lax":{"count":1},"more":[{"lax":{"count":2}}]}')
    assert node == Node(Lax(count=1), [Node(Lax(count=2))])
    told = refused(Node, '{"lax":{"count":1},"more":[{"lax":{}}]}')
    assert told == "Object missing required field `count` - at `$.more[0].lax`"
    assert looked == [Node, Node], "for whose it is, and for its defaults"


def test_a_name_that_cannot_be_found_is_told_by_the_library_of_its_class() -> None:
    with pytest.raises(NameError, match="OnlyForCheckers"):
        validator_for(Unresolvable)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in 3.12")
def test_an_alias_of_the_type_statement_is_what_it_stands_for() -> None:
    namespace: dict[str, Any] = {"Lax": Lax}
    exec("type Laxes = list[Lax]; type Many[T] = list[T]", namespace)
    for type_ in (namespace["Laxes"], namespace["Many"][Lax]):
        assert decoded(type_, '[{"count":"5"}]') == [Lax(count=5)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in 3.12")
def test_an_alias_that_names_itself_is_pydantics_or_refused() -> None:
    namespace: dict[str, Any] = {"Lax": Lax}
    exec("type Nested = list[Nested] | Lax; type Lists = list[Lists]", namespace)
    assert decoded(namespace["Nested"], '[[{"count":5}]]') == [[Lax(count=5)]]
    with pytest.raises(TypeError, match="Lists names itself with no class between"):
        validator_for(namespace["Lists"])


def test_json_is_validated_in_jsons_mode_wherever_the_model_is() -> None:
    day = Strict(day=date(2026, 1, 2))
    assert decoded(Strict, '{"day":"2026-01-02"}') == day
    assert decoded(HoldsStrict, '{"strict":{"day":"2026-01-02"}}') == HoldsStrict(day)
    with pytest.raises(msgspec.ValidationError, match=r"valid date - at `\$\.day`"):
        validator_for(Strict).convert({"day": "2026-01-02"})
    with pytest.raises(msgspec.ValidationError, match=r"valid date - at `\$\.strict\.day`"):
        validator_for(HoldsStrict).convert({"strict": {"day": "2026-01-02"}})
    assert validator_for(HoldsStrict).convert({"strict": {"day": date(2026, 1, 2)}}) == HoldsStrict(
        day
    )


def test_a_class_with_a_schema_of_its_own_comes_in_and_goes_out() -> None:
    own = decoded(list[OwnSchema], '["a"]')
    assert isinstance(own[0], OwnSchema)
    assert msgspec.json.encode(own, enc_hook=encoding_hook(None)) == b'["a"]'


# Who dumps


def test_objects_of_pydantic_become_what_they_dump_as() -> None:
    class Address(pydantic.BaseModel):
        url: pydantic.HttpUrl
        secret: pydantic.SecretStr

    address = Address.model_validate({"url": "http://a.b/c", "secret": "x"})
    sent = msgspec.json.encode(
        {"address": address, "url": address.url, "secret": address.secret},
        enc_hook=encoding_hook(None),
    )
    assert msgspec.json.decode(sent) == {
        "address": address.model_dump(mode="json"),
        "url": "http://a.b/c",
        "secret": "**********",
    }


def test_a_model_that_cannot_be_dumped_says_so() -> None:
    class Opaque(pydantic.BaseModel, arbitrary_types_allowed=True):
        thing: object

    with pytest.raises(ValueError, match="Unable to serialize unknown type"):
        msgspec.json.encode(Opaque(thing=object()), enc_hook=encoding_hook(None))


def test_the_apps_hook_is_asked_first_and_pydantic_where_it_raises() -> None:
    def hook(thing: object) -> object:
        if isinstance(thing, Lax):
            return {"lax": thing.count}
        raise KeyError(type(thing))

    encode = encoding_hook(hook)
    assert encode(Lax(count=1)) == {"lax": 1}
    assert encode(Strict(day=date(2026, 1, 2))) == {"day": "2026-01-02"}
    with pytest.raises(KeyError):
        encode(object())


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        (None, "Only dicts with str-like or number-like keys are supported"),
        ((1, 2), "Only dicts with str-like or number-like keys are supported"),
    ],
)
def test_what_nobody_knows_is_refused_in_msgspecs_words(thing: object, told: str) -> None:
    with pytest.raises(TypeError, match=f"^{told}$"):
        encoding_hook(None)(thing)


# Without pydantic


def test_without_pydantic_all_else_works_and_it_is_never_asked_for() -> None:
    program = f"""
import sys
sys.path.insert(0, {SOURCE!r})
sys.modules["pydantic"] = None  # type: ignore[assignment]  # importing it fails
from typing import Annotated
import msgspec
from wsrooms.datatypes import encoding_hook, validator_for
class Order(msgspec.Struct):
    text: str
print(validator_for(list[Order]).decode(b'[{{"text":"t"}}]'))
print(msgspec.json.encode([Order("t")], enc_hook=encoding_hook(None)))
try:
    msgspec.json.encode(object(), enc_hook=encoding_hook(None))
except TypeError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout.splitlines() == [
        "[Order(text='t')]",
        'b\'[{"text":"t"}]\'',
        "Encoding objects of type object is unsupported",
    ]


def test_a_program_without_a_type_of_pydantics_does_not_import_it() -> None:
    program = f"""
import sys
sys.path.insert(0, {SOURCE!r})
import msgspec
from wsrooms import WsApp, WsMessage
from wsrooms.datatypes import encoding_hook
class Order(msgspec.Struct):
    text: str
app = WsApp()
@app.on_message("order", "/")
def order(message: WsMessage[Order]): ...
app.routes()
try:
    msgspec.json.encode(object(), enc_hook=encoding_hook(None))
except TypeError:
    pass
print([name for name in sys.modules if "pydantic" in name or name.startswith("attr")])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout == "[]\n"


class Opaque:
    def __init__(self, text: str) -> None:
        self.text = text


def test_a_class_that_names_no_fields_is_no_fault_of_the_data() -> None:
    validator = validator_for(Opaque)
    with pytest.raises(TypeError, match="class Opaque does not say what its fields are: declare"):
        validator.decode(b"{}")
    made_by_a_parser = Opaque("text")
    assert validator.convert(made_by_a_parser) is made_by_a_parser


@pytest.mark.parametrize("type_", [object, Hashable, Sized])
def test_a_class_that_plain_data_is_of_is_no_such_class(type_: Any) -> None:
    assert validator_for(type_).decode(b'"text"') == "text"

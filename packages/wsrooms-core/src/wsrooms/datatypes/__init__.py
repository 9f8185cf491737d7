"""The types that data may be declared as, and the objects that may be sent.

msgspec knows Structs, dataclasses, TypedDicts, attrs classes and the standard types.
Types of pydantic are left to it: whoever has one has imported pydantic, so it is looked
for in ``sys.modules`` and never imported here. Pure: no loop, no connection.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from wsrooms.datatypes.defaults import completer_for
from wsrooms.datatypes.pieces import Note, field_types, has_fields, pieces_of

if typing.TYPE_CHECKING:
    from msgspec import Raw

__all__ = ["Validator", "encoding_hook", "validator_for"]

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

KNOWN = 1024
"""Types whose validators are kept."""

_PYDANTICS = frozenset({"pydantic", "pydantic_core", "pydantic_extra_types", "annotated_types"})
"""Packages whose objects say in an ``Annotated`` what only pydantic looks at."""


class Validator(Generic[T]):
    """Makes data of one type, or tells in msgspec's words why it cannot.

    Attributes:
        decode: From JSON. It raises ``msgspec.ValidationError`` for what does not fit.
        convert: From what a ``message_parser`` made. Likewise.
    """

    __slots__ = ("convert", "decode")

    def __init__(self, decode: Callable[[bytes | Raw], T], convert: Callable[[object], T]) -> None:
        self.decode: Callable[[bytes | Raw], T] = decode
        self.convert: Callable[[object], T] = convert


def validator_for(type_: Any) -> Validator[Any]:
    """What validates data as ``type_``; made once for each type.

    Raises:
        TypeError: Nobody here can.
    """
    try:
        return _validator(type_)
    except TypeError:
        try:
            hash(type_)
        except TypeError:  # something in an Annotated
            return _validator_of(_Same(type_))
        raise


class _Same:
    """Stands for a type that cannot be hashed; it is equal to itself alone."""

    __slots__ = ("type",)

    def __init__(self, type_: Any) -> None:
        self.type = type_

    def __hash__(self) -> int:
        return id(self.type)  # kept alive from here, so nothing else gets this id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.type is other.type


@lru_cache(maxsize=KNOWN)
def _validator_of(same: _Same) -> Validator[Any]:
    return _make(same.type)


@lru_cache(maxsize=KNOWN)
def _validator(type_: Any) -> Validator[Any]:
    return _make(type_)


def _make(type_: Any) -> Validator[Any]:
    try:
        return _made(type_)
    except RecursionError:
        raise TypeError(
            f"{type_} names itself with no class between, which msgspec cannot follow: "
            "declare a class"
        ) from None


def _made(type_: Any) -> Validator[Any]:
    if "pydantic" in sys.modules:
        found = _Found()
        found.look(type_)
        if found.models or found.rules:
            return _make_with_pydantic(type_, found)
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(type_)
    # A message_parser may make such an object itself, so converting one is well.
    opaque = isinstance(type_, type) and _fits_nothing(type_)
    return _completed(
        type_,
        partial(_refuse_opaque, type_) if opaque else decoder.decode,
        lambda data: msgspec.convert(data, type_),
    )


def _completed(
    type_: Any, decode: Callable[[bytes | Raw], Any], convert: Callable[[object], Any]
) -> Validator[Any]:
    """A validator by msgspec, whose dataclasses have all their fields."""
    complete = completer_for(type_)
    if complete is None:
        return Validator(decode, convert)
    return Validator(
        lambda document: complete(decode(document)), lambda data: complete(convert(data))
    )


def _fits_nothing(cls: type) -> bool:
    """Whether msgspec takes ``cls`` for a type of somebody's own, which no JSON ever is."""
    from msgspec import inspect  # for those who declare types

    if not isinstance(inspect.type_info(cls), inspect.CustomType):
        return False
    plain: tuple[object, ...] = (None, True, 0, 0.5, "", [], {})
    return not any(isinstance(value, cls) for value in plain)


def _refuse_opaque(cls: type, document: object) -> NoReturn:
    """No JSON is of this class: that is a mistake of the program, and no fault of the data."""
    raise TypeError(
        f"class {cls.__qualname__} does not say what its fields are: declare a dataclass, a "
        "TypedDict, a msgspec.Struct or a pydantic model"
    )


def _make_with_pydantic(type_: Any, found: _Found) -> Validator[Any]:
    """Each class is validated by its own library, as far as it can be.

    A list or union of models is pydantic's; a Struct that holds a model is msgspec's, which
    asks pydantic for that part alone.
    """
    from wsrooms.datatypes.models import Mixed, Pydantic

    if found.others and not found.rules:
        try:
            mixed = Mixed(type_)
        except TypeError as error:  # a union, for one, that msgspec cannot tell the members of
            try:
                whole = Pydantic(type_)
            except TypeError:
                raise error from None  # a Struct is in it, or an attrs class
        else:
            return _completed(type_, mixed.decode, mixed.convert)
    else:
        whole = Pydantic(type_)
    return Validator(whole.decode, whole.convert)


class _Found:
    """What a type is made of, as far as pydantic is concerned.

    Attributes:
        models: A pydantic model.
        rules: What only pydantic looks at: its constraints, dataclasses and own types.
        others: A class with fields that is not pydantic's.
    """

    def __init__(self) -> None:
        self.models = False
        self.rules = False
        self.others = False
        self._seen: set[type] = set()

    def look(self, type_: Any) -> None:
        """Look through ``type_`` and all that it names."""
        for piece in pieces_of(type_):
            if isinstance(piece, Note):
                self.rules = self.rules or _is_pydantics(piece.metadata)
            elif isinstance(piece, type) and piece not in self._seen:
                self._seen.add(piece)
                self._look_at_class(piece)

    def _look_at_class(self, cls: type) -> None:
        if _is_model(cls):
            self.models = True
        elif _is_pydantics(cls):
            self.rules = True
        elif has_fields(cls):
            self.others = True
            for field in field_types(cls).values():
                self.look(field)


def _is_model(cls: type) -> bool:
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return model is not None and issubclass(cls, model)


def _is_pydantics(thing: object) -> bool:
    """Whether ``thing``, a class or an object, is pydantic's or made for it."""
    cls = thing if isinstance(thing, type) else type(thing)
    return (
        cls.__module__.partition(".")[0] in _PYDANTICS
        or hasattr(thing, "__get_pydantic_core_schema__")
        or hasattr(cls, "__pydantic_validator__")
    )


def encoding_hook(given: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """What turns objects that msgspec does not know into something that it does.

    The app's own hook ``given`` is asked first; where it raises, and for apps without
    one, pydantic's objects become what ``model_dump(mode="json")`` makes of them.
    """

    def encode(thing: Any) -> Any:
        if given is not None:
            try:
                return given(thing)
            except Exception:
                if not _is_dumpable(thing):
                    raise
        elif not _is_dumpable(thing):
            _refuse(thing)
        from wsrooms.datatypes.models import dump

        return dump(thing)

    return encode


def _refuse(thing: object) -> NoReturn:
    """Raise what msgspec would without a hook.

    Raises:
        TypeError: Always.
    """
    _encode(thing)
    # What it knows as a value it has asked about as a key.
    raise TypeError("Only dicts with str-like or number-like keys are supported")


def _is_dumpable(thing: object) -> bool:
    return "pydantic" in sys.modules and _is_pydantics(thing)

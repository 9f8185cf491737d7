"""What a type is made of: the classes that it names, and what they name in turn."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeVar

__all__ = ["Note", "field_types", "has_fields", "pieces_of"]

_MARKS = ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__", "__required_keys__")


class Note(NamedTuple):
    """What an ``Annotated`` says beside its type."""

    metadata: object


def pieces_of(type_: Any) -> Iterator[type | TypeVar | Note]:
    """The classes, type variables and notes that ``type_`` names; not those of its fields."""
    left = [type_]
    aliases: set[object] = set()  # which may name themselves
    while left:
        one = left.pop()
        origin, parts = typing.get_origin(one), typing.get_args(one)
        if hasattr(one, "__value__"):  # of a `type` statement
            alias = one if origin is None else origin
            if alias not in aliases:
                aliases.add(alias)
                left.append(alias.__value__)
            left.extend(parts)
        elif origin is Annotated:
            left.append(parts[0])
            yield from map(Note, parts[1:])
        elif origin is not None:
            left.extend((origin, *parts))
        elif hasattr(one, "__supertype__"):  # of a NewType
            left.append(one.__supertype__)
        elif isinstance(one, type | TypeVar):
            yield one


def has_fields(cls: type) -> bool:
    """Whether ``cls`` is of one of the kinds that msgspec knows the fields of."""
    return any(hasattr(cls, mark) for mark in _MARKS) or (
        issubclass(cls, tuple) and hasattr(cls, "_fields")
    )


def field_types(cls: type) -> dict[str, Any]:
    """The types of the fields of such a class; of another one, nothing."""
    if not has_fields(cls):
        return {}
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - names that cannot be found: its library will tell
        return {}

"""Dataclasses that msgspec decodes, made whole.

Where JSON leaves out a field that has a plain default, msgspec leaves the attribute to
the class, and then encodes the object without that field: a handler that passes on what it
was given would send less than the same object made in Python. Pure: types and values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from wsrooms.datatypes.pieces import field_types, pieces_of

__all__ = ["completer_for"]


class _Part(NamedTuple):
    """What there is to do for an object of a class."""

    defaults: dict[str, object]
    inside: tuple[str, ...]  # the fields that may hold an object with something to do


def completer_for(type_: Any) -> Callable[[Any], Any] | None:
    """What completes the dataclasses in a value of ``type_``, and returns it.

    None where there are none to complete, which costs such a type nothing.
    """
    parts = _parts_of(type_)
    if not any(part.defaults for part in parts.values()):
        return None

    def complete(value: Any) -> Any:
        left = [value]
        while left:
            thing = left.pop()
            part = parts.get(type(thing))
            if part is not None:
                for name, default in part.defaults.items():
                    thing.__dict__.setdefault(name, default)  # as frozen as it may be
                left.extend([getattr(thing, name) for name in part.inside])
            elif isinstance(thing, list | tuple | set | frozenset):
                left.extend(thing)
            elif isinstance(thing, dict):
                left.extend(thing.values())
        return value

    return complete


def _parts_of(type_: Any) -> dict[type, _Part]:
    """Of each class in ``type_`` for which there is something to do, what that is."""
    fields: dict[type, dict[str, set[object]]] = {}
    left = list(_named_by(type_))
    while left:
        cls = left.pop()
        if isinstance(cls, type) and cls not in fields:
            fields[cls] = {name: _named_by(one) for name, one in field_types(cls).items()}
            left.extend(named for one in fields[cls].values() for named in one)
    defaults = {cls: _defaults_of(cls) for cls in fields}
    # What a type variable stands for is not known here: it may be one of them.
    wanted: set[object] = {cls for cls in fields if defaults[cls]}
    wanted |= {
        one
        for of in fields.values()
        for named in of.values()
        for one in named
        if isinstance(one, TypeVar)
    }
    size = -1
    while size != len(wanted):  # until all are found that hold one of them
        size = len(wanted)
        wanted |= {cls for cls, of in fields.items() if any(map(wanted.__and__, of.values()))}
    return {
        cls: _Part(
            defaults[cls],
            tuple(name for name, named in of.items() if named & wanted),
        )
        for cls, of in fields.items()
        if cls in wanted and not issubclass(cls, dict | tuple)  # whose items are looked at anyway
    }


def _named_by(type_: Any) -> set[object]:
    return {piece for piece in pieces_of(type_) if isinstance(piece, type | TypeVar)}


def _defaults_of(cls: type) -> dict[str, object]:
    if not dataclasses.is_dataclass(cls) or not cls.__dictoffset__:
        return {}
    return {
        field.name: field.default
        for field in dataclasses.fields(cls)
        if field.init
        and field.default is not dataclasses.MISSING
        and getattr(cls, field.name, dataclasses.MISSING) is field.default
    }

"""Data that pydantic validates and dumps; imported where a program has a type of its.

Its errors are told in msgspec's form: what was expected, what came, and the JSON path.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pydantic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

__all__ = ["Mixed", "Pydantic", "dump"]

MAX_ERRORS = 1000
"""Errors of one message of which the first is named: pydantic cannot tell it alone, and to
tell all of a hostile megabyte would keep the loop for seconds."""

MEMBERS = 50
"""Errors of which it is asked whether they are of the same union as the first one."""

WAYS = 200
"""Turnings that are tried on the way to what an error is about, beside the straight one."""

SHOWN = 100
"""Characters of a client's name of a field that an error repeats."""

_EXPECTED = {
    "string_type": "str",
    "int_type": "int",
    "int_parsing": "int",
    "int_from_float": "int",
    "float_type": "float",
    "float_parsing": "float",
    "bool_type": "bool",
    "bool_parsing": "bool",
    "list_type": "array",
    "tuple_type": "array",
    "set_type": "array",
    "frozen_set_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
    "none_required": "null",
}
"""How msgspec calls what pydantic's error misses."""

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class Pydantic:
    """Validates a whole type with pydantic, from JSON in its JSON mode."""

    def __init__(self, type_: Any) -> None:
        """Prepare.

        Raises:
            TypeError: pydantic cannot validate such a type.
        """
        self._adapter = _adapter(type_)

    def decode(self, document: bytes | Raw) -> Any:
        """Make the object that ``document`` says."""
        document = bytes(document)
        # What no type could decode is refused as for any other: pydantic lets 1e999 pass.
        plain = msgspec.json.decode(document)
        return _validated_json(self._adapter, document, plain)

    def convert(self, data: object) -> Any:
        """Make the object that ``data`` says."""
        return _validated(self._adapter, data)


class Mixed:
    """Validates with msgspec a type that holds models, and these with pydantic."""

    def __init__(self, type_: Any) -> None:
        """Prepare.

        Raises:
            TypeError: msgspec cannot validate such a type.
        """
        self._type = type_
        self._adapters: dict[type, pydantic.TypeAdapter[Any]] = {}
        self._decoder = msgspec.json.Decoder(type_, dec_hook=self._from_json)

    def decode(self, document: bytes | Raw) -> Any:
        """Make the object that ``document`` says."""
        try:
            return self._decoder.decode(document)
        except msgspec.ValidationError as error:
            raise _joined(error) from None
        except _Broken as broken:
            raise broken.error from None

    def convert(self, data: object) -> Any:
        """Make the object that ``data`` says."""
        try:
            return msgspec.convert(data, self._type, dec_hook=self._from_python)
        except msgspec.ValidationError as error:
            raise _joined(error) from None
        except _Broken as broken:
            raise broken.error from None

    def _from_json(self, cls: type, data: Any) -> Any:
        # Encoded again, because what JSON may say for a date or a set is not what Python may.
        try:
            return _validated_json(self._of(cls), msgspec.json.encode(data), data)
        except msgspec.ValidationError as error:
            raise _InnerError(str(error)) from None
        except (TypeError, ValueError) as error:
            raise _Broken(error) from None

    def _from_python(self, cls: type, data: Any) -> Any:
        try:
            return _validated(self._of(cls), data)
        except msgspec.ValidationError as error:
            raise _InnerError(str(error)) from None
        except (TypeError, ValueError) as error:
            raise _Broken(error) from None

    def _of(self, cls: type) -> pydantic.TypeAdapter[Any]:
        adapter = self._adapters.get(cls)
        if adapter is None:
            adapter = self._adapters[cls] = _adapter(cls)
        return adapter


class _InnerError(ValueError):
    """What pydantic says of a part; msgspec adds where that part is."""


class _Broken(Exception):
    """A validator's own mistake, which msgspec would take for one of the data.

    Attributes:
        error: What it raised.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error


def dump(thing: Any) -> Any:
    """What JSON can carry of an object of pydantic's, as its ``model_dump(mode="json")``.

    Raises:
        ValueError: It has no such form.
    """
    if isinstance(thing, pydantic.BaseModel):
        return thing.model_dump(mode="json")
    return _dumper(thing.__class__).dump_python(thing, mode="json")


@lru_cache(maxsize=256)
def _dumper(cls: type) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cls)


def _adapter(type_: Any) -> pydantic.TypeAdapter[Any]:
    try:
        return pydantic.TypeAdapter(type_)
    except (pydantic.errors.PydanticUserError, TypeError, AttributeError) as error:
        raise TypeError(str(error).partition("\n")[0]) from error


def _validated_json(adapter: pydantic.TypeAdapter[Any], document: bytes, plain: object) -> Any:
    try:
        return adapter.validate_json(document)
    except pydantic.ValidationError as error:
        raise msgspec.ValidationError(_told(error, plain)) from None


def _validated(adapter: pydantic.TypeAdapter[Any], data: object) -> Any:
    try:
        return adapter.validate_python(data)
    except pydantic.ValidationError as error:
        raise msgspec.ValidationError(_told(error, data)) from None


def _told(error: pydantic.ValidationError, data: object) -> str:
    """The first of the errors in msgspec's form.

    Raises:
        RecursionError: pydantic's own parser does not go so deep.
    """
    if error.error_count() > MAX_ERRORS:
        return f"{error.error_count()} values do not fit"
    errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    kind, steps, came = first["type"], first["loc"], first["input"]
    if kind == "json_invalid":  # it is JSON: msgspec has read it
        raise RecursionError
    if kind == "missing" and steps and not isinstance(came, list | tuple):
        name = _last_name(steps)
        path = _json_path(steps[: -len(name)], data, came)
        field = _shortened(name[0]) + "".join(map(_written, name[1:]))
        what = f"Object missing required field `{field}`"
    elif kind in _UNKNOWN and steps:
        what = f"Object contains unknown field `{_shortened(steps[-1])}`"
        path = _json_path(steps, data, came)[:-1]
    elif kind in _EXPECTED:
        path = _json_path(steps, data, came)
        # The members of a union each have their say.
        expected = dict.fromkeys(
            _EXPECTED[other["type"]]
            for other in errors[:MEMBERS]
            if other["type"] in _EXPECTED and _json_path(other["loc"], data, other["input"]) == path
        )
        what = f"Expected `{' | '.join(expected)}`, got `{_json_type(came)}`"
    else:
        path = _json_path(steps, data, came)
        what = first["msg"][: 10 * SHOWN]  # which may repeat a tag, however long it is
    return f"{what} - at `${''.join(path)}`" if path else what


def _json_path(steps: Sequence[int | str], data: object, came: object) -> list[str]:
    """The way through ``data`` to what ``came``.

    What pydantic adds to it, such as the member of a union, is left out. A field may have
    the name of such a member (``{"type": "text", "text": "hi"}``), so ways without some of
    the steps are tried too: best is one that leads to what came, by the last step.
    """
    best: list[str] = []
    rank = (False, False, -1)
    ways: list[tuple[int, object, list[str], bool]] = [(0, data, [], False)]
    for _ in range(len(steps) + WAYS):
        if not ways or rank == (True, True, len(steps)):
            break
        at, here, path, by_last = ways.pop()
        if at == len(steps):
            found = (here == came, by_last, len(path))
            if found > rank:
                best, rank = path, found
            continue
        step = steps[at]
        if isinstance(here, dict) and step in here:
            ways.append((at + 1, here, path, False))
            value = cast("dict[object, object]", here)[step]
            ways.append((at + 1, value, [*path, _written(str(step))], True))
        elif isinstance(here, list | tuple) and isinstance(step, int):
            items = cast("Sequence[object]", here)
            item = items[step] if step < len(items) else None
            ways.append((at + 1, item, [*path, _written(step)], True))
        else:
            ways.append((at + 1, here, path, False))
    return best


def _last_name(steps: Sequence[int | str]) -> Sequence[int | str]:
    """The end of ``steps`` that says which field it is: its name, or an AliasPath."""
    start = max((at for at, step in enumerate(steps) if isinstance(step, str)), default=0)
    return steps[start:]


def _written(step: int | str) -> str:
    """``step`` as a JSON path has it."""
    if isinstance(step, int):
        return f"[{step}]"
    step = step[:SHOWN]
    return f".{step}" if step.isidentifier() else f"[{json.dumps(step)}]"


def _shortened(name: int | str) -> str:
    return str(name)[:SHOWN]


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list | tuple):
        return "array"
    return type(value).__name__


def _joined(error: msgspec.ValidationError) -> msgspec.ValidationError:
    """``error`` with one path, where pydantic told that inside of a part and msgspec the part's."""
    if not isinstance(error.__cause__, _InnerError):
        return error
    inner, outer = str(error.__cause__), str(error)
    where = outer[len(inner) :].removeprefix(" - at `$").removesuffix("`")
    what, at, path = inner.rpartition(" - at `$")
    if not at:
        what, path = inner, "`"
    return msgspec.ValidationError(f"{what} - at `${where}{path}")

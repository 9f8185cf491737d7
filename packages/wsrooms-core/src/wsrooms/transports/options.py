"""The options that all transports of brokers share, from keywords and from a URL."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict
from urllib.parse import parse_qsl

from wsrooms.errors import ConfigurationError, UnknownOption

__all__ = ["BrokerKeywords", "BrokerOptions"]

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{0,64}", re.ASCII)
_KINDS: dict[type, Mapping[str, Any]] = {}
"""By the options' class: to find out takes milliseconds, and many may be made at once."""
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """Options of every transport that talks to a broker.

    Each may be given as a keyword or in the URL's query, where a keyword counts before
    the URL. Those of one broker are in a subclass.

    Attributes:
        namespace: Keeps apps that share a broker apart: instances hear each other only
            within one. Letters, digits, ``.``, ``_`` and ``-``, at most 64.
        start_timeout: Seconds until ``start()`` gives up.
        close_timeout: Seconds that ``close()`` takes at most; half of them to publish
            what waits.
        connect_timeout: Seconds for one try to connect and log in.
        confirm_timeout: Seconds in which the broker has to confirm what was written;
            then the connection counts as dead.
        ping_interval: Seconds between two pings. A connection on which nothing arrived
            for two of them counts as dead.
        probe_interval: Seconds between two messages to oneself, and the time in which each
            has to come back; else the transport is deaf and connects anew.
        outbox_messages: How many messages may wait to be published and confirmed.
        outbox_bytes: Their bytes.
        outbox_age: Seconds that each may wait.
        outbox_policy: What a full outbox costs: the new message ("reject") or the oldest
            that was not written yet ("drop_oldest").
    """

    namespace: str = ""
    start_timeout: float = 5.0
    close_timeout: float = 5.0
    connect_timeout: float = 2.0
    confirm_timeout: float = 3.0
    ping_interval: float = 2.0
    probe_interval: float = 5.0
    outbox_messages: int = 10_000
    outbox_bytes: int = 16 * 1024 * 1024
    outbox_age: float = 15.0
    outbox_policy: Literal["reject", "drop_oldest"] = "reject"

    may_be_zero: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigurationError: A value makes no sense; the text says which would.
        """
        if not isinstance(self.namespace, str) or not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(
                "option 'namespace' has to be at most 64 letters, digits, '.', '_' and '-', "
                f"not {self.namespace!r}"
            )
        for name, kind in _kinds(type(self)).items():
            value = getattr(self, name)
            if value is None and getattr(type(self), name) is None:
                continue  # its default
            if kind in (int, float) and not _is_number(value, kind, zero=name in self.may_be_zero):
                least = "0 or a positive" if name in self.may_be_zero else "a positive"
                what = f"{least} number" if kind is float else f"{least} whole number"
                raise ConfigurationError(f"option {name!r} has to be {what}, not {value!r}")
            if kind in (bool, str) and not isinstance(value, kind):
                what = "true or false" if kind is bool else "text"  # unshown: it may be a secret
                raise ConfigurationError(
                    f"option {name!r} has to be {what}, not {type(value).__name__}"
                )
            words = _choices(kind)
            if words and value not in words:
                raise ConfigurationError(
                    f"option {name!r} has to be {' or '.join(map(repr, words))}, not {value!r}"
                )

    def check_file(self, name: str) -> None:
        """Check that the file that option ``name`` names can be read, if it names one.

        Raises:
            ConfigurationError: It cannot.
        """
        path = getattr(self, name)
        if path is None:
            return
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigurationError(f"option {name!r} cannot be read: {error}") from None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All options, in order."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def read(cls, query: str, given: Mapping[str, object]) -> typing.Self:
        """The options of a URL's query and of keywords, which count first.

        Raises:
            UnknownOption: One does not exist; the text lists those that do.
            ConfigurationError: A value makes no sense, or stands in the query twice.
        """
        kinds = _kinds(cls)
        in_url = [name for name, kind in kinds.items() if _readable(kind)]
        values: dict[str, Any] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name not in in_url:
                raise UnknownOption(name, in_url)
            if name in values:
                raise ConfigurationError(f"option {name!r} stands in the URL twice")
            values[name] = _value(name, text, kinds[name])
        for name, value in given.items():
            if name not in kinds:
                raise UnknownOption(name, kinds)
            values[name] = value
        return cls(**values)


class BrokerKeywords(TypedDict, total=False):
    """The options of every transport as keywords, which :class:`BrokerOptions` explains."""

    namespace: str
    start_timeout: float
    close_timeout: float
    connect_timeout: float
    confirm_timeout: float
    ping_interval: float
    probe_interval: float
    outbox_messages: int
    outbox_bytes: int
    outbox_age: float
    outbox_policy: Literal["reject", "drop_oldest"]


def _kinds(cls: type[BrokerOptions]) -> Mapping[str, Any]:
    """The type of each option; ``T | None`` counts as T."""
    known = _KINDS.get(cls)
    if known is None:
        known = _KINDS[cls] = _found_kinds(cls)
    return known


def _found_kinds(cls: type[BrokerOptions]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    kinds: dict[str, Any] = {}
    for name in cls.names():
        kind = hints[name]
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        optional = type(None) in typing.get_args(kind)
        kinds[name] = parts[0] if optional and len(parts) == 1 else kind
    return kinds


def _choices(kind: object) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _readable(kind: Any) -> bool:
    return kind in (int, float, str, bool) or bool(_choices(kind))


def _is_number(value: object, kind: type, *, zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    in_range = value >= 0 if zero else value > 0
    return isinstance(value, int | kind) and in_range and value < float("inf")


def _value(name: str, text: str, kind: type) -> object:
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ConfigurationError(f"option {name!r} has to be true or false, not {text!r}")
        return _WORDS[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            what = "a number" if kind is float else "a whole number"
            raise ConfigurationError(f"option {name!r} has to be {what}, not {text!r}") from None
    return text

"""What an app may be told, checked before anything runs.

Every mistake is a ``ConfigurationError`` that names the option and what to give.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, cast

from wsrooms.errors import ConfigurationError, UnknownOption
from wsrooms.instance import WsLimits
from wsrooms.transports import SupportsReplica, WsBroadcastTransport, transport_from_url
from wsrooms.transports.tagged import TaggedTransport
from wsrooms.wire import Codec, CustomCodec, JsonCodec

__all__ = ["check_options", "codec_of", "options_by_name", "owned_transport", "replica_of"]

P = ParamSpec("P")

_OWNER = "_wsrooms_owner"


def options_by_name(init: Callable[P, None]) -> Callable[P, None]:
    """Let an ``__init__`` of options alone tell a misspelt one, and one without its name.

    Python's own TypeError names neither the options that exist nor the one that was meant.

    Raises:
        UnknownOption: When called with an option that does not exist.
        ConfigurationError: When called with one that has no name.
    """
    known: dict[str, Any] = cast("Any", init).__kwdefaults__

    @functools.wraps(init)
    def checked(*given: P.args, **options: P.kwargs) -> None:
        if len(given) > 1:  # the first one is self
            raise ConfigurationError(
                f"{type(given[0]).__name__}() takes no {type(given[1]).__name__} without a name: "
                f"give each option with its own, such as {next(iter(known))}=..."
            )
        for option in options:
            if option not in known:
                raise UnknownOption(option, known)
        init(*given, **options)

    return checked


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what cannot work.

    Raises:
        ConfigurationError: An option is of no use as given.
    """
    for name in ("max_message_size", "max_concurrent_messages"):
        _check_count(name, options[name], 1)
    for name in ("join_timeout", "shutdown_timeout", "heartbeat_timeout"):
        if not _is_seconds(options[name]) or options[name] == 0:
            raise ConfigurationError(f"{name}={options[name]!r}: give seconds above 0")
    interval = options["heartbeat_interval"]
    if interval is not None and not _is_seconds(interval):
        raise ConfigurationError(f"heartbeat_interval={interval!r}: give seconds, or None for none")
    origins = options["allowed_origins"]
    if isinstance(origins, str):
        if origins not in ("same", "*"):
            raise ConfigurationError(
                f'allowed_origins={origins!r}: give "same", "*" or a list, such as [{origins!r}]'
            )
    elif not isinstance(origins, list | tuple | set | frozenset) or not all(
        isinstance(origin, str) for origin in cast("list[object]", origins)
    ):
        raise ConfigurationError(f'allowed_origins={origins!r}: give "same", "*" or a list of str')
    else:
        for origin in cast("list[str]", origins):
            _check_origin(origin)
    for name in ("lifespan", "message_parser", "message_serializer", "enc_hook"):
        if options[name] is not None and not callable(options[name]):
            raise ConfigurationError(f"{name}={options[name]!r}: give a function")
    if options["logger"] is not None and not isinstance(options["logger"], logging.Logger):
        raise ConfigurationError(
            f"logger={options['logger']!r}: give a logger, such as logging.getLogger('wsrooms')"
        )
    if options["limits"] is not None:
        _check_limits(options["limits"])


def _check_origin(origin: str) -> None:
    """Refuse what no browser ever sends, so that it would let nobody in."""
    scheme, sign, host = origin.partition("://")
    if origin not in ("*", "null") and (not sign or not host or "/" in host):
        meant = f"{scheme if sign else 'https'}://{(host if sign else origin).partition('/')[0]}"
        raise ConfigurationError(
            f"allowed_origins: {origin!r} is no origin as browsers send them: scheme and host "
            f"alone, such as {meant!r}"
        )


def _check_limits(limits: object) -> None:
    if not isinstance(limits, WsLimits):
        raise ConfigurationError(f"limits={limits!r}: give a WsLimits(...)")
    for name in (
        "outbox_bytes",
        "outbox_messages",
        "waiting_messages",
        "rooms_per_connection",
        "room_name_bytes",
    ):
        _check_count(f"limits.{name}", getattr(limits, name), 1)
    policies = ("close", "drop_oldest", "drop_newest")
    if limits.slow_client not in policies:
        raise ConfigurationError(
            f"limits.slow_client={limits.slow_client!r}: give one of {', '.join(policies)}"
        )


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name}={value!r}: give a whole number from {least} up")


def _is_seconds(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def codec_of(options: Mapping[str, Any]) -> Codec:
    """How the app speaks to its clients."""
    parser, serializer = options["message_parser"], options["message_serializer"]
    if parser is None and serializer is None:
        return JsonCodec(options["enc_hook"])
    return CustomCodec(parser, serializer, options["enc_hook"])


def owned_transport(given: str | WsBroadcastTransport, owner: object) -> WsBroadcastTransport:
    """The transport that ``given`` names or is; from now on ``owner``'s alone.

    Raises:
        ConfigurationError: It is none, or another app's.
    """
    if isinstance(given, str):
        return transport_from_url(given)
    objects: list[object] = [given]
    while isinstance(outer := objects[-1], TaggedTransport):
        objects.append(outer.wrapped)
    for one in objects:
        _check_transport(one)
    for one in objects:
        previous = getattr(one, _OWNER, None)
        if previous is not None and previous() is not None:
            raise ConfigurationError(
                "two apps cannot share a transport object: an instance would not hear the other; "
                "make one for each app, or use app.replica()"
            )
    for one in objects:
        with contextlib.suppress(AttributeError):  # a class with __slots__ cannot be marked
            setattr(one, _OWNER, weakref.ref(owner))
    return given


def _check_transport(given: object) -> None:
    if isinstance(given, str):
        raise ConfigurationError(
            "tagged() wraps a transport and no str: give an object, such as "
            "tagged(transport_from_url(url))"
        )
    if isinstance(given, type):
        raise ConfigurationError(
            f"broadcast_transport={given.__name__} is a class: give an object, "
            f"{given.__name__}(...)"
        )
    missing = [
        name
        for name in ("publish", "subscribe", "unsubscribe")
        if not callable(getattr(given, name, None))
    ]
    if missing:
        raise ConfigurationError(
            f"{type(given).__name__} is no transport: it lacks {', '.join(missing)}; "
            "a transport has publish, subscribe and unsubscribe"
        )


def replica_of(given: object, transport: object) -> object:
    """The transport option of a replica: on the bus that ``transport`` is on.

    Args:
        given: The option of the original.
        transport: What was made of it.

    Raises:
        ConfigurationError: It is an object that cannot make another one like itself.
    """
    if isinstance(transport, SupportsReplica):
        return transport.replica()
    if given is None or isinstance(given, str):
        return given
    raise ConfigurationError(
        f"{type(given).__name__} cannot be shared by two apps; give the replica "
        "its own with replica(broadcast_transport=...)"
    )

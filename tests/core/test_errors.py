"""Every exception has its place in the tree, its facts as attributes, its remedy in the text."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from http import HTTPStatus
from typing import Any

import pytest

import wsrooms
from wsrooms import errors
from wsrooms.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionGone,
    InvalidChannel,
    InvalidHandler,
    InvalidPattern,
    InvalidRoom,
    LimitTooLow,
    MissingTransport,
    NotRunning,
    OutboxFull,
    OutcomeUnknown,
    OutsideContext,
    PayloadTooLarge,
    PermissionDenied,
    ServerNotStarted,
    TooManyRooms,
    TransportClosed,
    TransportError,
    TransportUnavailable,
    UnknownOption,
    UnknownScheme,
    WsError,
    WsRoomsError,
    near_words,
)

ONE_OF_EACH: list[tuple[WsRoomsError, dict[str, object], str]] = [
    (WsError(404, "Not found"), {"code": 404, "message": "Not found"}, "Not found"),
    (WsError(418), {"code": 418, "message": "WsError 418"}, "WsError 418"),
    (WsError(400, ""), {"code": 400, "message": ""}, ""),
    (TooManyRooms(3), {"code": 429, "limit": 3}, "Too many rooms: a connection may join 3"),
    (ConfigurationError("words"), {}, "words"),
    (
        UnknownScheme("reddis", ["redis", "memory"]),
        {"scheme": "reddis", "known": ("memory", "redis")},
        "no transport speaks 'reddis' URLs; known schemes: memory, redis; did you mean 'redis'?",
    ),
    (
        UnknownOption("pot", {"port", "host"}),
        {"option": "pot", "known": ("host", "port")},
        "unknown option 'pot'; known options: host, port; did you mean 'port'?",
    ),
    (UnknownOption("x", []), {"known": ()}, "unknown option 'x'; known options: none"),
    (
        MissingTransport("rediss", "redis"),
        {"scheme": "rediss", "extra": "redis"},
        'rediss:// needs a package that is not installed: pip install "wsrooms-core[redis]"',
    ),
    (
        InvalidPattern("/:(", "it never ends"),
        {"pattern": "/:(", "reason": "it never ends"},
        "bad route pattern '/:(': it never ends",
    ),
    (
        InvalidHandler("f", "it takes two parameters"),
        {"handler": "f", "reason": "it takes two parameters"},
        "f cannot be called: it takes two parameters",
    ),
    (
        InvalidHandler("f", "it takes two parameters", "app.py:7"),
        {"handler": "f", "reason": "it takes two parameters", "place": "app.py:7"},
        "f (app.py:7) cannot be called: it takes two parameters",
    ),
    (ServerNotStarted("port in use"), {}, "port in use"),
    (
        OutsideContext("use_ws_rooms", "a message", "call it elsewhere"),
        {"composable": "use_ws_rooms", "needs": "a message"},
        "use_ws_rooms() needs a message, and none is current here; call it elsewhere",
    ),
    (NotRunning("not yet"), {}, "not yet"),
    (
        ConnectionGone("c1"),
        {"connection_id": "c1"},
        "connection c1 has closed and can join no room any more: what outlives its client has to "
        "expect that",
    ),
    (
        InvalidRoom("", "it is empty"),
        {"room": "", "reason": "it is empty"},
        "bad room name '': it is empty",
    ),
    (TransportError("broken"), {}, "broken"),
    (TransportUnavailable("down"), {}, "down"),
    (
        LimitTooLow("nats://a:4222", "max_payload", 20, 128),
        {"setting": "max_payload", "limit": 20, "least": 128},
        "the max_payload of nats://a:4222 is 20 bytes, and wsrooms needs at least 128 bytes: "
        "raise it in the settings of the server",
    ),
    (
        LimitTooLow("nats://a:4222", "max_control_line", None, 200),
        {"setting": "max_control_line", "limit": None, "least": 200},
        "the max_control_line of nats://a:4222 is too low, and wsrooms needs at least 200 bytes: "
        "raise it in the settings of the server",
    ),
    (AuthenticationFailed("who?"), {}, "who?"),
    (PermissionDenied("ws:server", "no"), {"channel": "ws:server"}, "no"),
    (
        OutboxFull(10, "messages"),
        {"limit": 10},
        "the outbox holds its limit of 10 messages; the bus is slow or down",
    ),
    (OutcomeUnknown("perhaps"), {}, "perhaps"),
    (
        PayloadTooLarge(11, 10),
        {"size": 11, "limit": 10},
        "a payload of 11 bytes is over the transport's limit of 10; "
        "send less, or raise the broker's limit",
    ),
    (
        InvalidChannel("a" * 100, "too long"),
        {"channel": "a" * 100},
        f"bad channel name '{'a' * 80}': too long",
    ),
    (TransportClosed("closed"), {}, "closed"),
]


@pytest.mark.parametrize(("error", "facts", "text"), ONE_OF_EACH)
def test_an_error_says_what_to_do_and_carries_its_facts(
    error: WsRoomsError, facts: dict[str, object], text: str
) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in facts} == facts


@pytest.mark.parametrize(("error", "facts", "text"), ONE_OF_EACH)
def test_an_error_survives_pickling_and_copying(
    error: WsRoomsError, facts: dict[str, object], text: str
) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.__dict__) == (text, error.__dict__)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    documented: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( *(?:[│ ] {2})*(?:[├└]─ )?)([A-Z]\w+)(?: |$|\()", line)
        if match is None or not (match[2] == "WsRoomsError" or "─" in match[1]):
            continue
        depth = len(match[1].strip("\n")) // 3 - 1 if "─" in match[1] else 0
        del above[depth:]
        documented[match[2]] = above[-1] if above else ""
        above.append(match[2])
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    real = {
        name: next((base.__name__ for base in cls.__bases__ if issubclass(base, WsRoomsError)), "")
        for name, cls in classes.items()
        if issubclass(cls, WsRoomsError)
    }
    assert documented == real
    assert set(real) == set(errors.__all__)


def test_each_is_also_what_python_calls_such_a_mistake() -> None:
    for cls in (ConfigurationError, InvalidRoom, PayloadTooLarge, InvalidChannel):
        assert issubclass(cls, ValueError)
    for other in (OutsideContext, NotRunning, TransportClosed):
        assert issubclass(other, RuntimeError)


def test_all_of_them_are_public() -> None:
    assert set(errors.__all__) <= set(wsrooms.__all__)
    assert all(getattr(wsrooms, name) is getattr(errors, name) for name in errors.__all__)


def test_the_message_of_a_ws_error_is_text_whatever_was_given() -> None:
    cause: object = KeyError("name")
    error = WsError(400, cause)  # type: ignore[arg-type]  # a mistake that is made
    assert error.message == "'name'"


def test_a_long_room_name_is_shown_cut() -> None:
    error = InvalidRoom("x" * 1000, "it is long")
    assert str(error) == f"bad room name '{'x' * 76}...: it is long"
    assert error.room == "x" * 1000


@pytest.mark.parametrize("code", ["nope", None, True, 4.0])
def test_a_ws_error_without_a_code_is_a_mistake_of_the_program(code: Any) -> None:
    with pytest.raises(TypeError, match="wants a code first"):
        WsError(code)


def test_a_ws_error_takes_the_codes_of_http() -> None:
    assert WsError(HTTPStatus.NOT_FOUND).message == "WsError 404"


# What was meant


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("debgu", ["debug"]),
        ("alowed_origins", ["allowed_origins"]),
        ("DEBUG", ["debug"]),
        ("transport", []),
        ("limit", ["limits"]),
    ],
)
def test_a_word_is_near_to_what_it_may_be_a_misspelling_of(word: str, near: list[str]) -> None:
    assert near_words(word, ["debug", "allowed_origins", "limits", "logger"]) == near


def test_the_nearest_word_comes_first_and_three_are_told() -> None:
    assert near_words("abcd", ["abc", "abcd", "abcdefgh", "abcde"]) == ["abcd", "abcde", "abc"]

"""Messages that no honest client sends, with an honest client beside that lacks no reply.

Here is what concerns several members of a message, numbers and depth at their extremes,
and what others hear of it. What is a message and what is dropped for it is in
test_wire_protocol.py and test_inbound.py, sizes in test_wire_protocol_end.py, frames and
UTF-8 in test_rfc6455.py, handshakes in test_input_handshakes.py, floods in
test_input_floods.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wsrooms import WsApp, WsMessage, use_route_params, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.core.conftest import Peer, RawClient
    from tests.core.hard.input.conftest import Attacked

    Attack = Callable[[WsApp], AbstractAsyncContextManager[Attacked]]
    Connect = Callable[..., Awaitable[Peer]]
    Raw = Callable[..., AbstractAsyncContextManager[RawClient]]

MARK = '{"event":"mark","path":"/","id":"mark"}'
MARKED = '{"id":"mark","data":null}'


def declare(app: WsApp) -> WsApp:
    """Declare handlers that look at messages in every way there is."""
    app.on_message("mark", "/", lambda: None)
    app.on_message("echo", "/", lambda: use_ws_message().data)
    app.on_message("raw", "/", lambda: use_ws_message().data_raw)
    app.on_message("has", "/", lambda: use_ws_message().has_data)
    app.on_message("id", "/", lambda: repr(use_ws_message().id)[:9])
    app.on_message("int", "/", lambda message: message.data)
    app.on_message("size", "/chat/:room", lambda: len(use_route_params()["room"]))
    app.on_message("param", "/chat/:room", lambda: use_route_params()["room"])
    app.on_message("*", "/any/*", lambda: [use_ws_message().event, use_ws_message().path])

    @app.on_message("int", "/typed")
    def typed_int(message: WsMessage[int]) -> int:
        return message.data

    @app.on_message("float", "/typed")
    def typed_float(message: WsMessage[float]) -> float:
        return message.data

    @app.on_message("join", "/chat/:room")
    async def join() -> list[str]:
        await use_ws_rooms().join()
        return use_ws_rooms().rooms()

    @app.on_message("say", "/chat/:room")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data, exclude_self=False)

    @app.on_message("pass", "/chat/:room")
    def pass_on() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data_raw, exclude_self=False)

    return app


def m(event: str, path: str = "/", **members: str) -> str:
    """A message whose members are JSON already."""
    more = "".join(f',"{name}":{value}' for name, value in members.items())
    return f'{{"event":"{event}","path":"{path}"{more}}}'


def error(id: str, code: int, message: str) -> str:
    return f'{{"id":{id},"error":{{"code":{code},"message":"{message}"}}}}'


def arrays(levels: int) -> str:
    return "[" * levels + "]" * levels


def objects(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def mixed(levels: int) -> str:
    return '[{"a":' * (levels // 2) + "1" + "}]" * (levels // 2)


UNDECODABLE = '{"id":1,"error":{"code":400,"message":"Undecodable data: '
"""How the reply begins; what is wrong is said in the decoder's own words."""

DIGITS = "9" * 10_000

ANSWERED: dict[str, tuple[str, str]] = {}
"""What is sent, and the one frame that comes back."""

for digits in (DIGITS, f"-{DIGITS}", "1e999", "-1e999", f"{DIGITS}.5", f"1e{DIGITS}"):
    name = digits if len(digits) < 10 else f"{digits[:3]}… of {len(digits)}"
    for event, path in (("echo", "/"), ("int", "/typed"), ("float", "/typed")):
        ANSWERED[f"data of {name} for {event} {path}"] = (
            m(event, path, data=digits, id="1"),
            UNDECODABLE,
        )
    ANSWERED[f"data of {name} passed on"] = (
        m("raw", data=f"[{digits}]", id="1"),
        f'{{"id":1,"data":[{digits}]}}',
    )
    ANSWERED[f"an id of {name} that a handler looks at"] = (
        m("id", id=digits),
        f'{{"id":{digits},"data":"{"-inf" if digits[0] == "-" else "inf"}"}}',
    )
for name, deep in {
    "arrays": arrays(10_000),
    "objects": objects(10_000),
    "both": mixed(10_000),
    "arrays to the limit of a message": arrays(500_000),
}.items():
    for surrogate in ("", '"\\ud800"'):
        data = deep if not surrogate else f"[{surrogate},{deep}]"
        beside = " beside a lone surrogate" if surrogate else ""
        for event in ("echo", "raw"):
            ANSWERED[f"{event} of {name} 10,000 deep{beside}"] = (
                m(event, data=data, id="1"),
                UNDECODABLE,
            )
        ANSWERED[f"nobody looks at {name} 10,000 deep{beside}"] = (
            m("has", data=data, id="1"),
            '{"id":1,"data":true}',
        )
ANSWERED.update(
    {
        "a number too small is 0": (m("echo", data="1e-999", id="1"), '{"id":1,"data":0.0}'),
        "the same for a float": (
            m("float", "/typed", data="1e-999", id="1"),
            '{"id":1,"data":0.0}',
        ),
        "of two events the last": (
            '{"event":"none","path":"/","id":1,"event":"mark"}',
            '{"id":1,"data":null}',
        ),
        "of two paths the last": (
            '{"path":7,"event":"mark","path":"/","id":1}',
            '{"id":1,"data":null}',
        ),
        "of two ids the last": (m("mark", id='1,"id":true,"id":"2"'), '{"id":"2","data":null}'),
        "of two data the last": (m("echo", data='[1],"data":[2]', id="1"), '{"id":1,"data":[2]}'),
        "of two members in data the last": (
            m("echo", data='{"a":1,"a":2}', id="1"),
            '{"id":1,"data":{"a":2}}',
        ),
        "of a thousand data the last": (
            m("echo", data='1,"data":' * 1000 + "2", id="1"),
            '{"id":1,"data":2}',
        ),
        "NUL as an escape in data": (
            m("echo", data='"\\u0000"', id="1"),
            '{"id":1,"data":"\\u0000"}',
        ),
        "NUL as an escape in event and path": (
            m("\\u0000", "/any/\\u0000", id="1"),
            '{"id":1,"data":["\\u0000","/any/\\u0000"]}',
        ),
        "an event of 1 MB": (m("e" * 1_000_000, id="1"), error("1", 404, "Not found")),
        "a path of 1 MB": (m("mark", "/" + "p" * 1_000_000, id="1"), error("1", 404, "Not found")),
        "a param of 1 MB": (
            m("size", "/chat/" + "p" * 1_000_000, id="1"),
            '{"id":1,"data":1000000}',
        ),
        "a path of half a million segments": (
            m("size", "/chat" * 200_000, id="1"),
            error("1", 404, "Not found"),
        ),
        "percent signs without end": (
            m("size", "/chat/" + "%" * 500_000 + "%41" * 100_000, id="1"),
            '{"id":1,"data":800000}',
        ),
    }
)
for event in ("\\ud800", "\\udfff", "\\udc00\\ud800", "a\\ud800b"):
    meant = event.replace("\\udc00\\ud800", "\ufffd\ufffd")
    for half in ("\\ud800", "\\udfff"):
        meant = meant.replace(half, "\ufffd")
    ANSWERED[f"the lone surrogate {event} in event and path"] = (
        m(event, f"/any/{event}", id='"\\ud800"'),
        f'{{"id":"\\ud800","data":["{meant}","/any/{meant}"]}}',
    )
    ANSWERED[f"the lone surrogate {event} in data, key and value"] = (
        m("echo", data=f'{{"{event}":["{event}"]}}', id="1"),
        f'{{"id":1,"data":{{"{meant}":["{meant}"]}}}}',
    )
for path, param in {
    "%41": "A",
    "%": "%",
    "%2": "%2",
    "%zz": "%zz",
    "%00": "\\u0000",
    "%ff": "%ff",
    "%ED%A0%80": "%ED%A0%80",
    "%C3%BC": "ü",
    "%2Fb": "/b",
    "%25%34%31": "%41",
    "a?%zz=%": "a",
    "a#b": "a#b",
}.items():
    ANSWERED[f"the path /chat/{path}"] = (
        m("param", f"/chat/{path}", id="1"),
        f'{{"id":1,"data":"{param}"}}',
    )


@pytest.mark.parametrize("name", ANSWERED)
async def test_what_is_strange_and_still_a_message_gets_its_one_reply(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    sent, back = ANSWERED[name]
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as client,
    ):
        await client.send(sent, MARK)
        (reply,) = await client.texts(until=MARKED)
        assert reply.startswith(back) if back is UNDECODABLE else reply == back
        await server.keeps_answering()
        assert server.dropped() == {}


IDS = (
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1.0",
    "1e2",
    "1E+2",
    "1e-999",
    "-1e-999",
    "1e999",
    "-1e999",
    "18446744073709551616",
    DIGITS,
    f"-{DIGITS}",
    f"0.{DIGITS}",
    f"{DIGITS}e-{DIGITS}",
    '""',
    '" "',
    '"null"',
    '"\\u0041"',
    '"\\/\\b\\f"',
    '"ü🎉\u2028"',
    '"\\u0000"',
    '"\x7f"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    f'"{"x" * 100_000}"',
    f'"{"ü" * 100_000}"',
)


@pytest.mark.parametrize("id", IDS, ids=lambda id: f"{id[:30]} of {len(id)}")
async def test_an_id_comes_back_byte_for_byte(id: str, attacked: Attack, raw_client: Raw) -> None:
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as client,
    ):
        await client.send(m("mark", id=id), m("none", id=id), MARK)
        assert await client.texts(until=MARKED) == [
            f'{{"id":{id},"data":null}}',
            f'{{"id":{id},"error":{{"code":404,"message":"Not found"}}}}',
        ]


ONE = m("mark", id="1")
MALFORMED: dict[str, tuple[str, list[str]]] = {
    "an event of another type": (
        "shape",
        [ONE.replace('"mark"', other) for other in ("0", "1.5", "true", "null", "[]", "{}")],
    ),
    "a path of another type": (
        "shape",
        [ONE.replace('"/"', other) for other in ("0", "1.5", "false", "[]", "{}", '["/"]')],
    ),
    "an id of another type": (
        "shape",
        [m("mark", id=other) for other in ("true", "false", "[]", "{}", '["1"]', '{"id":1}')],
    ),
    "another type at the top": ("shape", ["true", "false", "0", "-1.5", '""', "[]", f"[{ONE}]"]),
    "of two ids the last is none": ("shape", [m("mark", id='1,"id":[]')]),
    "of two events the last is none": ("shape", [ONE[:-1] + ',"event":1}']),
    "members whose names are not quite": (
        "shape",
        [ONE.replace("event", other) for other in ("Event", "event ", "evént", "event\\u0000", "")],
    ),
    "a control character in a name or string": (
        "json",
        [
            ONE.replace(place, f"{place}{chr(code)}")
            for code in range(32)
            for place in ("mar", "/", "eve")
        ],
    ),
    "what is white in other languages": (
        "json",
        [ONE.replace(":", f":{white}") for white in "\0\v\f\x1f\x7f\x85\xa0\u2028\u3000\ufeff"],
    ),
    "garbage behind": (
        "json",
        [ONE + rest for rest in ("\0", "}", ",", "]", "x", " 1", "//", "/**/", "#", "\ufeff")],
    ),
    "garbage before": ("json", [rest + ONE for rest in ("\0", "{", ",", "]", "x", "//\n", "'")]),
    "commas too many or too few": (
        "json",
        [ONE.replace(",", ""), ONE.replace(",", ",,"), "{," + ONE[1:], ONE[:-1] + ",}"],
    ),
    "nothing but white space": ("json", ["", " ", "\n", "\t\r\n ", " " * 100_000]),
    "empty frames": ("json", [""] * 10_000),
    "numbers as only Python has them": (
        "json",
        [
            m("mark", **{member: number})
            for member in ("data", "id", "other")
            for number in ("1_0", "0x1", "+1", ".5", "5.", "01", "-", "1e", "NaN", "Infinity", "1j")
        ],
    ),
    "escapes that are none": (
        "json",
        [m("echo", data=f'"{escape}"') for escape in ("\\x41", "\\u12", "\\u{41}", "\\U00000041")],
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_message_is_counted_for_what_it_lacks(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    reason, messages = MALFORMED[name]
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as client,
    ):
        await client.send(*messages, MARK)
        assert await client.texts(until=MARKED) == []
        await client.send(*(message.encode() for message in messages), MARK)
        assert await client.texts(until=MARKED) == []
        await server.keeps_answering()
        assert server.dropped() == {reason: 2 * len(messages)}


DEEP: dict[str, str] = {
    "in the id": m("mark", id=arrays(10_000)),
    "in the event": ONE.replace('"mark"', arrays(10_000)),
    "in the path": ONE.replace('"/"', objects(10_000)),
    "around it": "[" * 10_000 + ONE + "]" * 10_000,
    "around it as data": '{"data":' * 10_000 + ONE + "}" * 10_000,
    "alone": mixed(10_000),
    "unclosed": "[" * 10_000,
    "unclosed objects": '{"a":' * 10_000,
    "unclosed in data": m("mark", data="[" * 10_000),
    "closed only": "]" * 10_000,
    "to the limit of a message": "[" * 500_000 + "]" * 500_000,
}


@pytest.mark.parametrize("name", DEEP)
async def test_ten_thousand_levels_where_no_message_has_them_are_dropped(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as client,
    ):
        await client.send(DEEP[name], DEEP[name].encode(), MARK)
        assert await client.texts(until=MARKED) == []
        await server.keeps_answering()
        assert server.app.stats()["dropped"] == 2


# What others hear of it

PASSED_ON: dict[str, tuple[str, Any]] = {
    "a lone high surrogate": ('"\\ud800"', "\ufffd"),
    "a lone low surrogate": ('"\\udc00"', "\ufffd"),
    "surrogates in the wrong order": ('"\\udc00\\ud800"', "\ufffd\ufffd"),
    "surrogates as keys": ('{"\\ud800":1,"\\udc00":2}', {"\ufffd": 2}),
    "surrogates that are escaped": ('"\\\\ud800"', "\\ud800"),
    "surrogates in capitals, deep": ('[[{"a":"x\\uD800y"}]]', [[{"a": "x\ufffdy"}]]),
    "a pair": ('"\\ud83c\\udf89"', "🎉"),
    "NUL": ('"\\u0000"', "\0"),
    "line separators": ('"\u2028\u2029"', "\u2028\u2029"),
    "no characters": ('"\ufffe\uffff"', "\ufffe\uffff"),
}


@pytest.mark.parametrize("event", ["say", "pass"])
@pytest.mark.parametrize("name", PASSED_ON)
async def test_what_others_hear_of_strange_text_is_valid(
    name: str, event: str, attacked: Attack, raw_client: Raw
) -> None:
    data, meant = PASSED_ON[name]
    path = "/chat/\\ud800%ff%00"
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as bad,
        raw_client(server.address) as other,
    ):
        for client in (bad, other):
            await client.send(m("join", path, id="1"))
            assert await client.text() == '{"id":1,"data":["/chat/\ufffd%ff%00"]}'
        await bad.send(m(event, path, data=data))
        for client in (bad, other):
            opcode, payload = await client.receive()
            assert opcode == client.TEXT
            assert json.loads(payload.decode()) == msgspec.json.decode(payload)
            assert msgspec.json.decode(payload) == {
                "event": "said",
                "path": "/chat/\ufffd%ff%00",
                "params": {"room": "\ufffd%ff%00"},
                "data": meant,
            }


@pytest.mark.parametrize("number", ["1e999", "-1e999", DIGITS, f"{DIGITS}.{DIGITS}"])
async def test_numbers_that_are_passed_on_keep_their_digits_and_reach_no_one_decoded(
    number: str, attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(declare(WsApp(heartbeat_interval=None))) as server,
        raw_client(server.address) as bad,
        raw_client(server.address) as other,
    ):
        await other.send(m("join", "/chat/a", id="1"))
        await other.text()
        await bad.send(m("pass", "/chat/a", data=number), m("say", "/chat/a", data=number, id="1"))
        assert (await bad.text()).startswith(UNDECODABLE)
        said = '{"event":"said","path":"/chat/a","params":{"room":"a"},"data":'
        assert await other.text() == said + number + "}"
        await other.send(MARK)
        assert await other.texts(until=MARKED) == []

"""The first request of a socket: upgraded, answered as plain HTTP, or refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import promised
from wsrooms import WsHttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsrooms import WsRequest

ASK = "Upgrade: websocket", "Connection: Upgrade"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"


def get(path: str = "/", *headers: str, method: str = "GET", host: str = "x") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


# Upgrades


async def test_the_handshake_is_the_one_of_rfc_6455(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving, raw_client(serving.address) as client:
        headers = client.response.headers
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert headers["upgrade"] == "websocket"
        assert headers["connection"] == "Upgrade"
        assert "sec-websocket-extensions" not in headers


async def test_a_session_sees_the_request(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    headers = ["Cookie: a=1; b=2", "X-Who: me", "x-who: you"]
    async with (
        serve() as serving,
        raw_client(serving.address, "/chat/a%20b?q=1&q=2", headers=headers) as client,
    ):
        request = serving.session.connection.request
        assert request.method == "GET"
        assert request.path == "/chat/a%20b"
        assert request.query == {"q": ["1", "2"]}
        assert request.cookies == {"a": "1", "b": "2"}
        assert request.headers["X-WHO"] == "me, you"
        assert request.remote_address == client.writer.get_extra_info("sockname")


@pytest.mark.parametrize(
    ("asked", "status"),
    [("/ws", 101), ("/ws?a=b", 101), ("/", 404), ("/ws/", 404), ("/WS", 404)],
)
async def test_where_a_path_is_set_only_that_is_upgraded(
    asked: str, status: int, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(path="/ws") as serving, raw_client(serving.address, path=None) as client:
        response = await client.upgrade(asked)
        assert response.status == status
        assert (serving.counters.http_responses, len(serving.sessions)) == (
            (0, 1) if status == 101 else (1, 0)
        )


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["Sec-WebSocket-Protocol: v1, v2"], "v2"),
        (["Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: v2"], "v2"),
        (["Sec-WebSocket-Protocol: v1"], "v1"),
        (["Sec-WebSocket-Protocol: v9"], None),
        ([], None),
    ],
)
async def test_the_first_of_our_subprotocols_that_is_offered_is_chosen(
    offered: list[str],
    chosen: str | None,
    serve: Callable[..., Any],
    raw_client: Callable[..., Any],
) -> None:
    async with (
        serve(subprotocols=("v2", "v1")) as serving,
        raw_client(serving.address, headers=offered) as client,
    ):
        assert client.response.headers.get("sec-websocket-protocol") == chosen
        assert serving.session.connection.subprotocol == chosen


async def test_no_subprotocol_is_chosen_where_we_speak_none(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    offered = ["Sec-WebSocket-Protocol: v1"]
    async with serve() as serving, raw_client(serving.address, headers=offered) as client:
        assert "sec-websocket-protocol" not in client.response.headers


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ([*ASK, VERSION], "GET", 400),
        ([*ASK, KEY], "GET", 400),
        ([*ASK, KEY, "Sec-WebSocket-Version: 8"], "GET", 400),
        ([ASK[0], KEY, VERSION], "GET", 426),
        ([*ASK, KEY, VERSION], "HEAD", 405),
    ],
    ids=["no key", "no version", "an old version", "no connection header", "not GET"],
)
async def test_half_a_handshake_is_refused(
    headers: list[str],
    method: str,
    status: int,
    serve: Callable[..., Any],
    raw_client: Callable[..., Any],
) -> None:
    async with serve() as serving, raw_client(serving.address, path=None) as client:
        assert (await client.http(get("/", *headers, method=method))).status == status
        assert serving.sessions == []


# Origins


@pytest.mark.parametrize(
    ("host", "origin", "allowed", "debug", "passes"),
    [
        ("chat.example", None, "same", False, True),
        ("chat.example", "http://chat.example", "same", False, True),
        ("chat.example", "https://chat.example", "same", False, True),
        ("chat.example", "HTTPS://Chat.Example", "same", False, True),
        ("chat.example:443", "https://chat.example", "same", False, True),
        ("chat.example:8000", "http://chat.example:8000", "same", False, True),
        ("[::1]:8000", "http://[::1]:8000", "same", False, True),
        ("chat.example:8000", "http://chat.example", "same", False, False),
        ("chat.example", "http://chat.example:8000", "same", False, False),
        ("chat.example", "http://evil.example", "same", False, False),
        ("chat.example", "http://chat.example.evil.example", "same", False, False),
        ("chat.example", "http://evil.example/chat.example", "same", False, False),
        ("chat.example", "http://chat.example@evil.example", "same", False, False),
        ("chat.example", "null", "same", False, False),
        ("chat.example", "", "same", False, False),
        ("chat.example", "file://", "same", False, False),
        ("chat.example", "http://[", "same", False, False),
        ("chat.example", "http://evil.example", "*", False, True),
        ("chat.example", "http://page.example", ["http://page.example"], False, True),
        ("chat.example", "http://PAGE.example", ["http://page.example"], False, True),
        ("chat.example", "https://page.example", ["http://page.example"], False, False),
        ("chat.example", "http://chat.example", ["http://page.example"], False, False),
        ("chat.example", None, ["http://page.example"], False, True),
        ("chat.example", "http://localhost:5173", "same", False, False),
        ("chat.example", "http://localhost:5173", "same", True, True),
        ("chat.example", "http://127.0.0.1:5173", "same", True, True),
        ("chat.example", "http://[::1]:5173", "same", True, True),
        ("chat.example", "http://localhost.evil.example", "same", True, False),
        ("chat.example", "http://evil.example", "same", True, False),
    ],
)
async def test_pages_of_other_hosts_are_refused_and_the_log_names_the_option(
    host: str,
    origin: str | None,
    allowed: Any,
    debug: bool,
    passes: bool,
    serve: Callable[..., Any],
    raw_client: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = [f"Host: {host}"] + ([] if origin is None else [f"Origin: {origin}"])
    async with (
        serve(allowed_origins=allowed, debug=debug) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        response = await client.upgrade("/", headers)
        if passes:
            assert response.status == 101
            assert caplog.records == []
            return
        assert response.status == 403
        assert serving.sessions == []
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "allowed_origins=[" in record.message
        assert "\n" not in record.message


async def test_two_origins_are_none(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    headers = ["Host: a.example", "Origin: http://a.example", "Origin: http://b.example"]
    async with serve() as serving, raw_client(serving.address, path=None) as client:
        assert (await client.upgrade("/", headers)).status == 403


# Plain HTTP


async def test_plain_http_gets_426_where_there_is_no_handler(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving, raw_client(serving.address, path=None) as client:
        response = await client.http(get("/"))
        assert response.status == 426
        assert response.headers["upgrade"] == "websocket"
        assert response.headers["connection"] == "close"
        assert response.body == b"This is a WebSocket server: connect with ws:// or wss://.\n"
        assert await client.end() == b""
        assert serving.counters.http_responses == 1


async def test_a_handler_is_asked_and_answers(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    asked: list[WsRequest] = []

    def handler(request: WsRequest) -> WsHttpResponse | None:
        asked.append(request)
        if request.path == "/none":
            return None
        if request.path == "/json":
            return WsHttpResponse(201, b"{}", content_type="application/json")
        return WsHttpResponse(
            200, "gr\u00fc\u00df dich", headers={"X-A": "1", "cache-control": "no"}
        )

    async with serve(http_handler=handler) as serving:
        async with raw_client(serving.address, path=None) as client:
            response = await client.http(get("/page?a=1", "X-Who: me"))
            assert response.status == 200
            assert response.body == "grüß dich".encode()
            assert response.headers == {
                "connection": "close",
                "content-length": "11",
                "content-type": "text/plain; charset=utf-8",
                "x-a": "1",
                "cache-control": "no",
            }
            assert await client.end() == b""
        (request,) = asked
        assert (request.method, request.path, request.query) == ("GET", "/page", {"a": ["1"]})
        assert request.headers["x-who"] == "me"
        async with raw_client(serving.address, path=None) as client:
            response = await client.http(get("/json"))
            assert (response.status, response.body) == (201, b"{}")
            assert response.headers["content-type"] == "application/json"
        async with raw_client(serving.address, path=None) as client:
            assert (await client.http(get("/none"))).status == 426


async def test_a_handler_is_not_asked_about_websockets(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    def handler(request: WsRequest) -> WsHttpResponse:
        pytest.fail("asked")

    async with serve(http_handler=handler, path="/ws") as serving:
        async with raw_client(serving.address, "/ws"):
            pass
        async with raw_client(serving.address, path=None) as client:
            assert (await client.upgrade("/other")).status == 404


async def test_head_gets_the_headers_of_get_and_no_body(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    def handler(request: WsRequest) -> WsHttpResponse:
        return WsHttpResponse(200, "hello")

    async with (
        serve(http_handler=handler) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        response = await client.http(get("/", method="HEAD"))
        assert response.headers["content-length"] == "5"
        assert await client.end() == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_is_sent_without_one(
    status: int, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(http_handler=lambda _: WsHttpResponse(status, "dropped")) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        response = await client.http(get("/"))
        assert response.status == status
        assert response.headers == {"connection": "close"}
        assert await client.end() == b""


async def test_a_status_that_http_does_not_name_is_sent_all_the_same(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(http_handler=lambda _: WsHttpResponse(599)) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        assert (await client.http(get("/"))).status == 599


async def test_a_big_page_arrives_whole(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    page = b"a" * 8 * 1_048_576
    async with (
        serve(http_handler=lambda _: WsHttpResponse(200, page), close_timeout=0.001) as serving,
        raw_client(serving.address, path=None, receive_buffer=65_536) as client,
    ):
        assert (await client.http(get("/"))).body == page
        assert await client.end() == b""


async def test_a_client_that_does_not_take_a_page_is_cut(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    page = b"a" * 12 * 1_048_576
    async with (
        serve(http_handler=lambda _: WsHttpResponse(200, page), response_timeout=0.05) as serving,
        raw_client(serving.address, path=None, receive_buffer=4096) as client,
    ):
        await client.write(get("/"))
        await serving.server.sockets_gone(5)
        assert len(await client.end()) < len(page)


async def test_the_end_of_the_server_lets_a_response_out(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    page = b"a" * 8 * 1_048_576

    def handler(request: WsRequest) -> WsHttpResponse:
        serving.server.loop.call_soon(serving.server.close_all, 1001, "")
        return WsHttpResponse(200, page)

    async with (
        serve(http_handler=handler) as serving,
        raw_client(serving.address, path=None, receive_buffer=65_536) as client,
    ):
        assert (await client.http(get("/"))).body == page


def not_a_response(request: WsRequest) -> Any:
    return "hello"


def a_coroutine(request: WsRequest) -> Any:
    async def answer() -> None:
        pass

    return answer()


def raising(request: WsRequest) -> WsHttpResponse:
    raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (raising, "secret"),
        (not_a_response, "http_handler returned str, not WsHttpResponse or None"),
        (a_coroutine, "http_handler is async: give a plain function"),
        (lambda _: WsHttpResponse(101), "status 101 is no answer"),
        (lambda _: WsHttpResponse(999), "status 999 is no answer"),
        (lambda _: WsHttpResponse(200, headers={"X-A": "1\r\nX-B: 2"}), "'X-A' cannot be sent"),
        (lambda _: WsHttpResponse(200, headers={"X\nA": "1"}), "cannot be sent"),
        (lambda _: WsHttpResponse(200, content_type="a\r\nX-B: 2"), "cannot be sent"),
        (lambda _: WsHttpResponse(200, headers={"X-A": "\u20ac"}), "cannot be sent"),
    ],
    ids=[
        "it raises",
        "it returns a str",
        "it returns a coroutine",
        "a status that upgrades",
        "a status that is none",
        "a header that ends in another",
        "a header's name with a line break",
        "a content type with a line break",
        "a header that is not Latin-1",
    ],
)
async def test_a_handler_that_fails_is_a_500_and_a_log_line(
    handler: Callable[[WsRequest], Any],
    told: str,
    serve: Callable[..., Any],
    raw_client: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serve(http_handler=handler) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        response = await client.http(get("/page"))
        assert response.status == 500
        assert response.body == b"Internal Server Error\n"
        (record,) = caplog.records
        assert record.message == "http_handler failed for /page"
        assert told in caplog.text


# What is no request


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200, 431),
        (b"a" * 300_000, 414),
        (b"\n" * 300_000, 400),
    ],
    ids=[
        "a word",
        "a TLS client",
        "HTTP/2",
        "a path that is not ASCII",
        "a header without a colon",
        "bare line feeds",
        "a body",
        "chunks",
        "a request line without end",
        "a header without end",
        "headers without end",
        "no line at all",
        "only line feeds",
    ],
)
async def test_garbage_is_answered_once_and_ends(
    garbage: bytes, status: int, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(close_timeout=60) as serving:
        async with raw_client(serving.address, path=None) as client:
            assert (await client.http(garbage)).status == status
            assert await client.end() == b""
        await serving.server.sockets_gone(5)
        assert serving.counters.handshakes_failed == 1
        assert serving.counters.http_responses == 0
        async with raw_client(serving.address) as good:
            await good.send("fine")
            await serving.session.has_received(1)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half"])
async def test_a_handshake_that_does_not_come_is_cut(
    sent: bytes, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(handshake_timeout=0.05) as serving,
        raw_client(serving.address, path=None) as client,
    ):
        await client.write(sent)
        assert await client.end() == b""
        assert serving.counters.handshakes_failed == 1


async def test_a_handshake_that_was_in_time_is_not_cut_later(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(handshake_timeout=promised(1.0)) as serving,
        raw_client(serving.address) as client,
        raw_client(serving.address, path=None) as late,
    ):
        assert await late.end() == b""
        await client.send("still here")
        await serving.session.has_received(1)
        assert serving.counters.handshakes_failed == 1


async def test_a_client_that_leaves_during_its_handshake_is_forgotten(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving:
        async with raw_client(serving.address, path=None) as client:
            await client.write(b"GET / HTTP/1.1\r\n")
            client.writer.write_eof()
            assert await client.end() == b""
        await serving.server.sockets_gone(5)
        assert serving.sessions == []

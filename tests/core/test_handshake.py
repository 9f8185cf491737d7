"""The request as handlers see it, the answer to plain HTTP, and which pages may connect."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.handshake import Origins, WsHttpResponse, WsRequest, origin_allowed


def request(target: str = "/", *headers: tuple[str, str]) -> WsRequest:
    return WsRequest("GET", target, headers, ("127.0.0.1", 5))


# The request


def test_the_path_is_without_the_query_and_as_it_was_sent() -> None:
    asked = request("/a%20b/?x=1?y")
    assert (asked.method, asked.path) == ("GET", "/a%20b/")
    assert asked.remote_address == ("127.0.0.1", 5)
    assert repr(asked) == "<WsRequest GET /a%20b/>"


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/", {}),
        ("/?", {}),
        ("/?a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("/?a=&b", {"a": [""], "b": [""]}),
        ("/?a=x+y%20z%26", {"a": ["x y z&"]}),
        ("/?%C3%BC=%F0%9F%8E%89", {"ü": ["🎉"]}),
        ("/?a=%FF", {"a": ["\ufffd"]}),
        ("/?a=b=c?d", {"a": ["b=c?d"]}),
    ],
)
def test_the_query_is_decoded(target: str, query: dict[str, list[str]]) -> None:
    assert request(target).query == query


def test_header_names_are_without_regard_to_case() -> None:
    headers = request("/", ("X-Token", "abc"), ("HOST", "here")).headers
    assert headers["x-token"] == headers["X-TOKEN"] == "abc"
    assert "host" in headers
    assert "Host" in headers
    assert "other" not in headers
    assert not headers.__contains__(5)
    assert headers.get("other") is None
    assert list(headers) == ["X-Token", "HOST"]
    assert len(headers) == 2
    assert repr(headers) == "{'X-Token': 'abc', 'HOST': 'here'}"
    with pytest.raises(KeyError):
        headers["other"]


def test_a_repeated_header_is_joined_as_http_has_it() -> None:
    asked = request("/", ("Accept", "a"), ("accept", "b"), ("Cookie", "x=1"), ("cookie", "y=2"))
    assert asked.headers["Accept"] == "a, b"
    assert asked.headers["Cookie"] == "x=1; y=2"
    assert asked.cookies == {"x": "1", "y": "2"}


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3 ;  d = 4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("a=1; a=2", {"a": "2"}),
        ("a=", {"a": ""}),
        ("a=b=c==", {"a": "b=c=="}),
        ('a="x y"; b="a\\"b"; c="\\303\\274"', {"a": "x y", "b": 'a"b', "c": "Ã¼"}),
        ("nonsense; a=1; ;", {"a": "1"}),
        (
            'user={"id":1,"n":"x"}; a[b]=2; path=/; expires=3',
            {
                "user": '{"id":1,"n":"x"}',
                "a[b]": "2",
                "path": "/",
                "expires": "3",
            },
        ),
        ("a@b=1; session=abc", {"a@b": "1", "session": "abc"}),
        ("=1; a=2", {"": "1", "a": "2"}),
    ],
)
def test_cookies_are_read_as_browsers_send_them(header: str, cookies: dict[str, str]) -> None:
    assert request("/", ("Cookie", header)).cookies == cookies


def test_without_a_cookie_header_there_are_no_cookies() -> None:
    assert request().cookies == {}


@settings(derandomize=True, deadline=None)
@given(st.text(), st.text())
def test_no_target_and_no_cookie_header_raises(target: str, cookie: str) -> None:
    asked = request(target, ("Cookie", cookie))
    assert all(isinstance(value, list) for value in asked.query.values())
    assert all(isinstance(value, str) for value in asked.cookies.values())
    assert asked.path == target.split("?")[0]


# The answer to plain HTTP


def test_a_response_takes_text_or_bytes() -> None:
    text = WsHttpResponse(200, "ü", headers={"X-A": "b"})
    assert (text.status, text.body, text.headers) == (200, b"\xc3\xbc", {"X-A": "b"})
    assert text.content_type == "text/plain; charset=utf-8"
    data = WsHttpResponse(404, b"\x00", content_type="application/octet-stream")
    assert (data.body, data.headers) == (b"\x00", {})
    assert data.content_type == "application/octet-stream"
    assert WsHttpResponse(204).body == b""
    assert repr(text) == "<WsHttpResponse 200, 2 bytes>"


# Which pages may connect


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        # By default the request's own host, whatever the case and with the port implied.
        ("http://example.org", "example.org", True),
        ("http://EXAMPLE.org", "example.ORG", True),
        ("http://example.org:80", "example.org", True),
        ("http://example.org", "example.org:80", True),
        ("https://example.org", "example.org", True),  # behind a proxy that ends TLS
        ("https://example.org:443", "example.org", True),
        ("https://example.org", "example.org:443", True),
        ("http://example.org:8000", "example.org:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        # No browser sends none.
        (None, "example.org", True),
        (None, None, True),
        # Everything else is somebody else's page.
        ("http://evil.org", "example.org", False),
        ("http://example.org.evil.org", "example.org", False),
        ("http://evil-example.org", "example.org", False),
        ("http://sub.example.org", "example.org", False),
        ("http://example.org", "sub.example.org", False),
        ("http://example.org:8001", "example.org:8000", False),
        ("http://example.org", "example.org:8000", False),
        ("https://example.org", "example.org:80", False),
        ("http://localhost:3000", "localhost:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("null", "example.org", False),
        ("null", "", False),
        ("null", None, False),
        ("file://", "", False),
        ("", "example.org", False),
        ("", "", False),
        ("example.org", "example.org", False),
        ("http://example.org", None, False),
        ("http://example.org", "", False),
        ("http://example.org, http://evil.org", "example.org", False),
        ("http://example.org", "example.org, evil.org", False),
        ("http://[bad", "[bad", False),
        ("http://example.org:port", "example.org:port", False),
        ("http://example.org:99999", "example.org:99999", False),
    ],
)
def test_by_default_only_the_requests_own_host_passes(
    origin: str | None, host: str | None, allowed: bool
) -> None:
    assert origin_allowed(origin, host, "same", debug=False) is allowed


@pytest.mark.parametrize(
    ("origin", "options", "allowed"),
    [
        ("http://anything", "*", True),
        ("null", "*", True),
        ("https://a.org", ["https://a.org"], True),
        ("https://A.org", ["https://a.ORG"], True),
        ("https://a.org:443", ["https://a.org"], True),
        ("https://a.org", ["https://a.org/"], True),
        ("https://b.org", ("https://a.org", "https://b.org"), True),
        ("http://x.org:1", ["http://x.org:1"], True),
        ("null", ["null"], True),
        ("http://anything", ["https://a.org", "*"], True),
        (None, ["https://a.org"], True),
        ("https://a.org", [], False),
        ("http://a.org", ["https://a.org"], False),
        ("https://a.org:8443", ["https://a.org"], False),
        ("https://b.a.org", ["https://a.org"], False),
        ("https://a.org.evil", ["https://a.org"], False),
        ("null", ["https://a.org"], False),
        ("http://example.org", ["https://a.org"], False),  # the own host is not in the list
        ("https://a.org", "https://a.org", True),
        ("https://b.org", "https://a.org", False),
    ],
)
def test_named_origins_pass_and_no_others(
    origin: str | None, options: Origins, allowed: bool
) -> None:
    assert origin_allowed(origin, "example.org", options, debug=False) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("https://localhost", True),
        ("http://127.0.0.1:5173", True),
        ("http://[::1]:1", True),
        ("http://LOCALHOST:1", True),
        ("http://localhost.evil.org", False),
        ("http://evil.org", False),
        ("http://example.org", True),
        ("null", False),
        ("http://[bad", False),
    ],
)
def test_while_debugging_any_local_port_passes_too(origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, "example.org", "same", debug=True) is allowed

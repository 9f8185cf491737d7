"""The HTTP request that opened a connection, what answers plain ones, and the origin check.

Pure: ``server.py`` makes these objects from what it read off the socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Literal
from urllib.parse import parse_qs, urlsplit

__all__ = ["Origins", "WsHttpResponse", "WsRequest", "origin_allowed"]

Origins = Literal["same", "*"] | Sequence[str]

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class _Headers(Mapping[str, str]):
    """Header values by name, without regard to case; repeated ones are joined by ", "."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        joined: dict[str, tuple[str, str]] = {}
        for name, value in items:
            key = name.lower()
            if key in joined:
                # RFC 9110 §5.2; cookies are the one field that browsers join with "; ".
                comma = "; " if key == "cookie" else ", "
                value = joined[key][1] + comma + value
            joined[key] = (name, value)
        self._items = joined

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{dict(self)!r}"


class WsRequest:
    """The HTTP request: of a connection its handshake, for an ``http_handler`` the request.

    Attributes:
        method: "GET" for every handshake.
        path: Without the query, percent-encoded as sent.
        headers: Names without regard to case.
        remote_address: (host, port) of the peer; None on a unix socket.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    remote_address: tuple[str, int] | None

    def __init__(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        remote_address: tuple[str, int] | None = None,
    ) -> None:
        """Make a request; ``target`` is the path with its query."""
        self.method = method
        self.path, _, self._query = target.partition("?")
        self.headers = _Headers(headers)
        self.remote_address = remote_address

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        """The query's values by name, decoded; a name without value has an empty one."""
        return parse_qs(self._query, keep_blank_values=True)

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name, without the quotes around a value; the last of a name counts."""
        # Not SimpleCookie.load(): it knows no name such as "a[b]" or "path", no value
        # such as {"a":1}, and at the first of them drops the rest; browsers send them.
        decode = SimpleCookie().value_decode
        cookies: dict[str, str] = {}
        for part in self.headers.get("cookie", "").split(";"):
            name, sign, value = part.partition("=")
            if sign:
                cookies[name.strip()] = decode(value.strip())[0]
        return cookies

    def __repr__(self) -> str:
        return f"<WsRequest {self.method} {self.path}>"


class WsHttpResponse:
    """An answer to a plain HTTP request, given by an ``http_handler``."""

    def __init__(
        self,
        status: int,
        body: str | bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Answer with ``status`` and ``body``; a str is sent as UTF-8."""
        self.status = status
        self.body: bytes = body.encode() if isinstance(body, str) else bytes(body)
        self.headers: dict[str, str] = dict(headers or {})
        self.content_type = content_type

    def __repr__(self) -> str:
        return f"<WsHttpResponse {self.status}, {len(self.body)} bytes>"


def origin_allowed(origin: str | None, host: str | None, allowed: Origins, *, debug: bool) -> bool:
    """Whether a page of ``origin`` may connect.

    Args:
        origin: The Origin header; no browser sends none, and none passes.
        host: The Host header of the same request.
        allowed: "same" (the origin's host is the request's own), "*", or the
            origins that may, such as ["https://example.org"].
        debug: Let any port of this machine pass: the page of a development server.
    """
    if origin is None or allowed == "*":
        return True
    if debug and _hostname(origin) in _LOCAL_HOSTS:
        return True
    if allowed == "same":
        own = None if host is None else _authority(host, like=origin)
        return own is not None and _authority(origin) == own
    origins = [allowed] if isinstance(allowed, str) else allowed
    return any(one == "*" or _same_origin(origin, one) for one in origins)


def _hostname(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def _same_origin(origin: str, allowed: str) -> bool:
    if origin.lower() == allowed.lower():
        return True  # "null" too, where somebody allows it
    one, other = _authority(origin), _authority(allowed)
    return one is not None and one == other and _scheme(origin) == _scheme(allowed)


def _scheme(origin: str) -> str:
    return origin.partition("://")[0].lower()


def _authority(origin: str, like: str | None = None) -> tuple[str, int | None] | None:
    """(host, port) with the port that the scheme implies; None for what names no host."""
    try:
        parts = urlsplit(origin if like is None else f"//{origin}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    return host, port or _DEFAULT_PORTS.get(_scheme(like or origin))

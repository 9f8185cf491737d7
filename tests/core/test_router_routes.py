"""The router's routes: their events and handlers, and the patterns that are refused."""

from __future__ import annotations

import re

import pytest

from wsrooms.errors import ConfigurationError, InvalidPattern
from wsrooms.router import WsRouteMatch, WsRouter

Params = dict[str, str | list[str]]


def router_of(*patterns: str, event: str = "message") -> WsRouter[str]:
    """A router whose handlers are the patterns themselves."""
    router: WsRouter[str] = WsRouter()
    for pattern in patterns:
        router.add(event, pattern, pattern)
    return router


def found(router: WsRouter[str], path: str, event: str = "message") -> tuple[str, Params] | None:
    match = router.lookup(event, path)
    return None if match is None else (match.handlers[0], match.params)


# --- events ---


def test_another_event_is_another_route() -> None:
    router = router_of("/a", event="join")
    assert router.lookup("join", "/a") is not None
    assert router.lookup("message", "/a") is None


def test_the_event_star_is_any_event() -> None:
    router = router_of("/a", "/b/:x", event="*")
    assert found(router, "/a", event="whatever") == ("/a", {})
    assert found(router, "/b/1", event="") == ("/b/:x", {"x": "1"})
    assert found(router, "/a", event="*") == ("/a", {})


def test_an_exact_event_that_matches_wins_over_star() -> None:
    router: WsRouter[str] = WsRouter()
    router.add("*", "/chat/general", "any")
    router.add("message", "/*", "exact")
    match = router.lookup("message", "/chat/general")
    assert match == WsRouteMatch(("exact",), {"*": "chat/general"})
    match = router.lookup("join", "/chat/general")
    assert match == WsRouteMatch(("any",), {})


def test_star_is_asked_where_the_exact_event_has_no_route() -> None:
    router: WsRouter[str] = WsRouter()
    router.add("message", "/a", "exact")
    router.add("*", "/:x", "any")
    assert router.lookup("message", "/b") == WsRouteMatch(("any",), {"x": "b"})


def test_the_message_event_star_does_not_reach_other_events() -> None:
    assert router_of("/a", event="message").lookup("*", "/a") is None


# --- handlers ---


def test_handlers_of_one_route_come_in_the_order_of_adding() -> None:
    router: WsRouter[str] = WsRouter()
    for handler, pattern in (("1", "/a/:x"), ("2", "/a/:y"), ("3", "a/:z/")):
        router.add("message", pattern, handler)
    assert router.lookup("message", "/a/b") == WsRouteMatch(("1", "2", "3"), {"x": "b"})


def test_the_same_handler_twice_is_one() -> None:
    router: WsRouter[str] = WsRouter()
    for pattern in ("/a", "/a/", "/b"):
        router.add("message", pattern, "h")
    assert router.lookup("message", "/a") == WsRouteMatch(("h",), {})
    assert router.routes() == [("message", "/a", "h"), ("message", "/b", "h")]


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ("/:x", "/:x?", "/a"),
        (r"/*(\d+)", "/*([a-z]+)", "/1"),
        ("/*", "/*?", "/a"),
        (r"/:x(\d+)", r"/:x(\d)", "/1"),
    ],
)
def test_patterns_that_match_other_paths_do_not_share_handlers(
    one: str, other: str, path: str
) -> None:
    match = router_of(one, other).lookup("message", path)
    assert match is not None
    assert len(match.handlers) == 1


def test_routes_are_listed_as_given_in_the_order_of_adding() -> None:
    router: WsRouter[str] = WsRouter()
    router.add("message", "b/", "1")
    router.add("join", "/a/:x", "2")
    router.add("*", "*", "3")
    listed = router.routes()
    assert listed == [("message", "b/", "1"), ("join", "/a/:x", "2"), ("*", "*", "3")]
    listed.clear()
    assert len(router.routes()) == 3


def test_routes_can_be_added_between_lookups() -> None:
    router = router_of("/*")
    assert found(router, "/a") == ("/*", {"*": "a"})
    router.add("message", "/:x", "/:x")
    assert found(router, "/a") == ("/:x", {"x": "a"})
    router.add("message", "/a", "/a")
    assert found(router, "/a") == ("/a", {})


def test_params_are_the_callers_own() -> None:
    router = router_of("/a", "/b/:x", "/c/:x/:x")
    for path in ("/a", "/b/1", "/c/1/2"):
        first = router.lookup("message", path)
        assert first is not None
        untouched = {name: list(value) for name, value in first.params.items()}
        first.params["more"] = "x"
        for value in first.params.values():
            if isinstance(value, list):
                value.clear()
        again = router.lookup("message", path)
        assert again is not None
        assert {name: list(value) for name, value in again.params.items()} == untouched


def test_a_match_cannot_be_changed_and_shows_what_it_holds() -> None:
    match = WsRouteMatch(("h",), {"x": "1"})
    with pytest.raises(AttributeError):
        match.handlers = ()  # type: ignore[misc]  # that is the point
    assert repr(match) == "WsRouteMatch(handlers=('h',), params={'x': '1'})"


# --- bad patterns ---


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/:", "no name"),
        ("/:/a", "no name"),
        ("/:-:b", "no name"),
        ("/:?", "no name"),
        (r"/:(\d+)", "no name"),
        (r"/:id(\d+", "never closed"),
        ("/:id(a(b)", "never closed"),
        ("/:id([)", "([) is no regex: unterminated character set"),
        ("/:id(a\\", "never closed"),
        ("/*(a", "never closed"),
        (r"/:id\d+)", ") without its ("),
        ("/:id(a))", ") without its ("),
        ("/*)", ") without its ("),
        ("/:id(*)", "is no regex"),
        ("/:id(a{2,1})", "is no regex"),
        ("/:id([z-a])", "is no regex"),
        ("/:id((?<=a+)b)", "is no regex"),
        (r"/:a(\d)-:b(\1)", "is no regex"),
        ("/:id(?i)", "is no regex"),
        ("/:x?/y", "'/y' follows an optional parameter"),
        ("/:x?--", "'--' follows an optional parameter"),
        ("/:x(a)?b", "'b' follows an optional parameter"),
        ("/*?a", "'a' follows an optional parameter"),
        ("/:x?/:y", "y follows an optional parameter"),
        ("/:x?/*", "* follows an optional parameter"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    router: WsRouter[str] = WsRouter()
    with pytest.raises(InvalidPattern) as caught:
        router.add("message", pattern, "h")
    assert caught.value.pattern == pattern
    assert reason in caught.value.reason
    assert isinstance(caught.value, ConfigurationError)
    assert router.routes() == []
    assert router.lookup("message", "/a") is None


@pytest.mark.parametrize("bad", [None, 1, b"/a", ["/a"], re.compile("/a")])
def test_what_is_not_a_str_is_refused(bad: object) -> None:
    router: WsRouter[str] = WsRouter()
    with pytest.raises(InvalidPattern, match="it is not a str but of type") as caught:
        router.add("message", bad, "h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the point
    assert caught.value.pattern == bad
    with pytest.raises(InvalidPattern, match="its event is not a str but of type") as caught:
        router.add(bad, "/a", "h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the point
    assert caught.value.pattern == "/a"

"""The router: what matches, what wins, what is refused, and what hostile paths cost."""

from __future__ import annotations

import re
import time
import tracemalloc
from itertools import pairwise, permutations
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import ConfigurationError, InvalidPattern
from wsrooms.patterns import MAX_STEPS
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


# --- one pattern, one path ---

ONE: list[tuple[str, str, Params | None]] = [
    # static
    ("/chat", "/chat", {}),
    ("chat", "/chat", {}),
    ("/chat/", "/chat", {}),
    ("/chat/", "/chat/", None),
    ("/chat", "/chat/", None),
    ("/chat//", "/chat/", {}),
    ("/chat", "/Chat", None),
    ("/chat", "chat", None),
    ("/chat", "/chat/general", None),
    ("/chat", "//chat", None),
    ("//chat", "//chat", {}),
    ("/", "/", {}),
    ("", "/", {}),
    ("/", "", None),
    ("/", "//", None),
    ("/a.b", "/a.b", {}),
    ("/a.b", "/axb", None),
    ("/a(b)", "/a(b)", {}),
    ("/a+[b]", "/a+[b]", {}),
    # a colon
    (r"/a\:b", "/a:b", {}),
    (r"\:a", "/:a", {}),
    (r"/a\\:b", "/a\\\\x", {"b": "x"}),
    (r"/:h(\d+)\::m(\d+)", "/12:44", {"h": "12", "m": "44"}),
    (r"/a\*b", r"/a\*b", {}),
    # parameters
    ("/chat/:room", "/chat/general", {"room": "general"}),
    ("/chat/:room", "/chat/", None),
    ("/chat/:room", "/chat", None),
    ("/chat/:room", "/chat/a/b", None),
    ("/chat/:room/", "/chat/general", {"room": "general"}),
    ("/chat/:room", "/chat/general/", None),
    ("/:a/:b", "/x/y", {"a": "x", "b": "y"}),
    ("/:a/:b", "//y", None),
    ("/:a/x/:b", "/1/x/2", {"a": "1", "b": "2"}),
    ("/u:id", "/u12", {"id": "12"}),
    ("/u:id", "/u", None),
    ("/:file.json", "/a", {"file.json": "a"}),
    ("/:a.:b", "/x.y", {"a.:b": "x.y"}),
    (r"/:a\:b", "/x", {"a:b": "x"}),
    ("/:raum%ä", "/x", {"raum%ä": "x"}),
    ("/:it's", "/x", {"it's": "x"}),
    ("/:*", "/x", {"*": "x"}),
    ("/:x", "/a\nb", {"x": "a\nb"}),
    # several in one segment: the first is greedy
    ("/:a-:b", "/x-y", {"a": "x", "b": "y"}),
    ("/:a-:b", "/x-y-z", {"a": "x-y", "b": "z"}),
    ("/:a-:b", "/x", None),
    ("/:a-:b", "/x-", None),
    ("/:a-:b", "/-x", None),
    ("/:a-:b", "/x--", None),
    ("/:a-:b", "/x--y", {"a": "x-", "b": "y"}),
    ("/:a-:b-:c", "/1-2-3-4", {"a": "1-2", "b": "3", "c": "4"}),
    ("/:a-", "/x-", {"a": "x"}),
    ("/:a-z", "/x-z-z", {"a": "x-z"}),
    ("/-:a", "/-x", {"a": "x"}),
    ("/:a-x-:b", "/1-x-2-x-3", {"a": "1-x-2", "b": "3"}),
    ("/:a-:b/:c-:d", "/1-2-3/4-5", {"a": "1-2", "b": "3", "c": "4", "d": "5"}),
    ("/p:a-q:b/end", "/p1-q2-q3/end", {"a": "1-q2", "b": "3"}),
    # the same name twice
    ("/:x/:x", "/a/b", {"x": ["a", "b"]}),
    ("/:x-:x", "/a-b", {"x": ["a", "b"]}),
    ("/*/x/*", "/a/x/b", {"*": ["a", "b"]}),
    ("/:x/:y/:x", "/a/b/c", {"x": ["a", "c"], "y": "b"}),
    ("/:x/:x?", "/a", {"x": ["a"]}),
    ("/:x/:x?", "/a/b", {"x": ["a", "b"]}),
    # regexes
    (r"/:id(\d+)", "/12", {"id": "12"}),
    (r"/:id(\d+)", "/12a", None),
    (r"/:id(\d+)", "/12\n", None),
    (r"/:id(\d+)", "/\u0661\u0662", None),
    (r"/:id(^\d+$)", "/12", {"id": "12"}),
    (r"/:id(\d*)", "/", None),
    (r"/:x(a|b)", "/b", {"x": "b"}),
    (r"/:x(a|b)c", "/bc", {"x": "b"}),
    (r"/:x((a)(b)?)-:y(c)", "/a-c", {"x": "a", "y": "c"}),
    (r"/:x((?:a))/:y", "/a/b", {"x": "a", "y": "b"}),
    (r"/:x(?:a|b)/:y", "/a/c", {"x": "a", "y": "c"}),
    (r"/:x((?<n>a))/:y", "/a/c", {"x": "a", "y": "c"}),
    (r"/:x((?=ab)\w+)", "/abc", {"x": "abc"}),
    (r"/:x((?!ab)\w+)", "/abc", None),
    (r"/:x((?<=/)\w+)", "/abc", {"x": "abc"}),
    (r"/:x(\(a\))", "/(a)", {"x": "(a)"}),
    (r"/:x([()]+)", "/)(", {"x": ")("}),
    (r"/:x([[&~|]+)", "/[|&&", {"x": "[|&&"}),
    (r"/:x([^]+)", "/a\n/", {"x": "a\n/"}),
    (r"/:x([])", "/a", None),
    (r"/:x(a\$)", "/a$", {"x": "a$"}),
    (r"/:x(a$|b)", "/a", {"x": "a"}),
    (r"/:x(.+)", "/a/b", {"x": "a/b"}),
    (r"/:x(.+)", "/a\u2028b", None),
    (r"/:x(.+)-:y", "/a/b-c-d", {"x": "a/b-c", "y": "d"}),
    (r"/:x-:id(\d+)", "/a-b-7", {"x": "a-b", "id": "7"}),
    (r"/:x-:y-:id(\d+)", "/a-b-c-7", {"x": "a-b", "y": "c", "id": "7"}),
    (r"/time/:h(\d{2})h:m(\d{2})m", "/time/14h30m", {"h": "14", "m": "30"}),
    # optional ends
    ("/list/:page?", "/list", {}),
    ("/list/:page?", "/list/", {}),
    ("/list/:page?", "/list/2", {"page": "2"}),
    ("/list/:page?", "/list/2/", None),
    ("/list/:page?", "/list2", {"page": "2"}),
    ("/:x?", "/", {}),
    ("/:x?", "/a", {"x": "a"}),
    (r"/list/:page(\d+)?", "/list", {}),
    (r"/list/:page(\d+)?", "/list/2", {"page": "2"}),
    (r"/list/:page(\d+)?", "/list/x", None),
    (r"/list/:page?(\d+)", "/list/2", {"page": "2"}),
    ("/:a/:b?/:c?", "/1", {"a": "1"}),
    ("/:a/:b?/:c?", "/1/2", {"a": "1", "b": "2"}),
    ("/:a/:b?/:c?", "/1/2/3", {"a": "1", "b": "2", "c": "3"}),
    ("/:a/:b?/:c?", "/1/2/3/4", None),
    ("/:a/:b?/:c?", "/", None),
    ("/:a-:b?", "/1-", {"a": "1"}),
    ("/:a-:b?", "/1-2-3", {"a": "1-2", "b": "3"}),
    ("/:a-:b?", "/1", None),
    ("/:a?-:b?", "/1-2", {"a": "1-2"}),
    ("/:a-:b/:c?", "/1-2-3/4", {"a": "1-2", "b": "3", "c": "4"}),
    ("/:a-:b/:c?", "/1-2-3", {"a": "1-2", "b": "3"}),
    # wildcards
    ("/files/*", "/files/a/b.txt", {"*": "a/b.txt"}),
    ("/files/*", "/files/", None),
    ("/files/*", "/files", None),
    ("*", "/a/b", {"*": "a/b"}),
    ("/files/**", "/files/a", {"*": "a"}),
    ("/files/*?", "/files/", {}),
    ("/files/*?", "/files", {}),
    ("/files/*?", "/files/a/b", {"*": "a/b"}),
    ("/*.js", "/a/b.js", {"*": "a/b"}),
    ("/*.js", "/.js", None),
    ("/*.js", "/a.js/b", None),
    ("/*/end", "/a/end/end", {"*": "a/end"}),
    ("/*/:id/*", "/a/b/c/d", {"*": ["a/b", "d"], "id": "c"}),
    ("/:x/*", "/a/b/c", {"x": "a", "*": "b/c"}),
    ("/:x-*", "/a-b/c-d", {"x": "a", "*": "b/c-d"}),
    ("/*-:x", "/a/b-c", {"*": "a/b", "x": "c"}),
    ("/*-:x", "/a-b/c", None),
    (r"/*(\d+)", "/12", {"*": "12"}),
    (r"/*(\d+)", "/a", None),
    (r"/*(\d+)-*([a-z]+)", "/1-a", {"*": ["1", "a"]}),
    (r"/*:id(\d)", "/ab12", {"*": "ab1", "id": "2"}),
    ("/css/*/s/:f.css", "/css/1/2/s/a.css", {"*": "1/2", "f.css": "a.css"}),
    ("/*", "/a\nb", None),
    ("/*/:x", "/a/b\nc", {"*": "a", "x": "b\nc"}),
    # the query
    ("/chat", "/chat?a=/b", {}),
    ("/:x", "/a?b?c", {"x": "a"}),
    ("/:x", "/?a", None),
    ("/:x", "/a#b", {"x": "a#b"}),
    # percent escapes
    ("/a b", "/a%20b", {}),
    ("/ä", "/%C3%A4", {}),
    ("/ä", "/%c3%a4", {}),
    ("/:x", "/%C3%A4%20%41", {"x": "ä A"}),
    ("/:x", "/a%2Fb", {"x": "a/b"}),
    ("/:x/:y", "/a%2fb/c", {"x": "a/b", "y": "c"}),
    ("/:x", "/%3F%23", {"x": "?#"}),
    ("/:x", "/%25", {"x": "%"}),
    ("/:x", "/%2541", {"x": "%41"}),
    ("/:x-:y", "/a%2Db", {"x": "a", "y": "b"}),
    ("/*", "/a%2Fb%0", {"*": "a%2Fb%0"}),
    ("/:x/:y", "/%41/%zz", {"x": "A", "y": "%zz"}),
    ("/:x", "/%C3", {"x": "%C3"}),
    ("/:x", "/%ED%A0%80", {"x": "%ED%A0%80"}),
    ("/:x/:x", "/%2F/%41", {"x": ["/", "A"]}),
    ("/50%", "/50%25", {}),
    ("/50%", "/50%", None),
    ("/%41", "/A", None),
    ("/%41", "/%2541", {}),
    ("/%2F/:x", "/%252F/%2F", {"x": "/"}),
    ("/\U0001f34c/:id", "/%F0%9F%8D%8C/%23", {"id": "#"}),
]


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    ONE,
    ids=[f"{pattern or 'empty'} on {path or 'empty'}" for pattern, path, _ in ONE],
)
def test_a_pattern_matches_and_reads_as_the_table_says(
    pattern: str, path: str, params: Params | None
) -> None:
    expected = None if params is None else (pattern, params)
    assert found(router_of(pattern), path) == expected


# --- several patterns, best first, and a path that all of them match ---

PRECEDENCE: list[tuple[str, list[str]]] = [
    ("/a/b", ["/a/b", "/a/:x", "/:x/b", "/:x/:y", "/a/:x?", "/a/*", "/*/b", "/:x/*", "*"]),
    ("/a/b/c", ["/a/b/:x", "/a/:x/c", "/a/:x/:y", "/:x/b/:y", "/:x/:y/:z", "/a/b/*", "/a/*"]),
    ("/user/5", [r"/user/:id(\d+)", "/user/:id", "/:section/5", "/:section/:id"]),
    ("/item/42", [r"/item/:id(\d+)", "/item/:slug", r"/item/*(\d+)", "/item/*"]),
    ("/1/2", [r"/:a(\d)/:b(\d)", r"/:a(\d)/:b", r"/:a/:b(\d)", "/:a/:b"]),
    ("/ab-cd", ["/ab-:x", "/:x-cd", "/:x-:y", "/:x", "/:x?"]),
    ("/p/x", [r"/p/:x(.+)", "/p/:x", r"/:p(.+)/x", "/:p/x"]),
    ("/files/js/a.js", ["/files/js/*.js", "/files/js/*", "/files/*.js", "/files/*", "/*.js", "/*"]),
    ("/list", ["/list", "/:x", "/list/:page?", "/list/*?", "/*"]),
    ("/order/b123/a0123", ["/order/b1:k/a01:m", "/order/b1:k/a0:m", "/order/b:k/a01:m"]),
]


@pytest.mark.parametrize(("path", "patterns"), PRECEDENCE, ids=[path for path, _ in PRECEDENCE])
def test_the_more_specific_pattern_wins_whatever_the_order_of_adding(
    path: str, patterns: list[str]
) -> None:
    for better, worse in pairwise(patterns):
        for both in permutations((better, worse)):
            match = found(router_of(*both), path)
            assert match is not None
            assert match[0] == better, both
    for rotation in range(len(patterns)):
        router = router_of(*patterns[rotation:], *patterns[:rotation])
        match = found(router, path)
        assert match is not None
        assert match[0] == patterns[0]


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/a", "/:x(a|b)", "/:x(a|c)"),
        ("/a/b", "/:x/*", "/*/*"),
        ("/api/vars/a", "/api/vars/:x?", "/api/vars/:v1/:v2?"),
    ],
)
def test_of_equals_the_one_added_first_wins(path: str, first: str, second: str) -> None:
    for one, other in ((first, second), (second, first)):
        match = found(router_of(one, other), path)
        assert match is not None
        assert match[0] == one


def test_a_route_that_would_need_an_empty_parameter_gives_way_to_the_next() -> None:
    assert found(router_of("/:a-:b", "/:x"), "/-foo") == ("/:x", {"x": "-foo"})
    assert found(router_of("/files/*", "/*"), "/files/") == ("/*", {"*": "files/"})


def test_a_regex_that_does_not_match_gives_way_to_the_bare_parameter() -> None:
    assert found(router_of(r"/:id(\d+)", "/:name"), "/x1") == ("/:name", {"name": "x1"})


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
    with pytest.raises(InvalidPattern, match="it is not a str but of type"):
        router.add("message", bad, "h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the point
    with pytest.raises(InvalidPattern, match="its event is not a str but of type"):
        router.add(bad, "/a", "h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the point


# --- properties ---

# The same examples in every run, and no clock.
steady = settings(deadline=None, derandomize=True)

NAMES = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
VALUES = st.text(
    st.characters(exclude_characters="/-?%", exclude_categories=["Cs"]), min_size=1, max_size=8
)


class Part(NamedTuple):
    """One segment of a pattern, the path that it is met by, and the params in it."""

    pattern: str
    path: str
    params: list[tuple[str, str]]


@st.composite
def parts(draw: st.DrawFn) -> Part:
    kind = draw(st.sampled_from(["static", "parameter", "two", "regex", "text"]))
    text = draw(st.from_regex(r"[a-z.]{1,5}", fullmatch=True))
    if kind == "static":
        return Part(text, text, [])
    name = draw(NAMES)
    value = draw(VALUES)
    if kind == "parameter":
        return Part(f":{name}", value, [(name, value)])
    if kind == "text":
        return Part(f"{text}:{name}", text + value, [(name, value)])
    if kind == "regex":
        digits = draw(st.from_regex(r"[0-9]{1,5}", fullmatch=True))
        return Part(rf":{name}(\d+){text}", digits + text, [(name, digits)])
    other, last = draw(NAMES), draw(VALUES)
    return Part(f":{name}-:{other}", f"{value}-{last}", [(name, value), (other, last)])


@steady
@given(st.lists(parts(), min_size=1, max_size=5), st.booleans())
def test_the_params_that_a_path_was_built_from_come_back(
    segments: list[Part], quoted: bool
) -> None:
    pattern = "/" + "/".join(segment.pattern for segment in segments)
    path = "/" + "/".join(segment.path for segment in segments)
    expected: dict[str, list[str]] = {}
    for name, value in (pair for segment in segments for pair in segment.params):
        expected.setdefault(name, []).append(value)
    match = found(router_of(pattern), quote(path) if quoted else path)
    assert match is not None
    assert match[1] == {
        name: values if len(values) > 1 else values[0] for name, values in expected.items()
    }


EVERYTHING = [
    *dict.fromkeys(pattern for pattern, _, _ in ONE),
    *dict.fromkeys(pattern for _, patterns in PRECEDENCE for pattern in patterns),
]
EVERYTHING_ROUTER = router_of(*EVERYTHING)
ALONE = {pattern: router_of(pattern) for pattern in EVERYTHING}

PATHS = st.one_of(
    st.text(st.characters(), max_size=30),
    st.text("/-:ab1%?*\n2F.", max_size=30).map(lambda rest: f"/{rest}"),
    st.sampled_from([path for _, path, _ in ONE]),
)


@steady
@given(st.text(), PATHS)
def test_no_event_and_no_path_make_a_lookup_raise(event: str, path: str) -> None:
    EVERYTHING_ROUTER.lookup(event, path)
    EVERYTHING_ROUTER.lookup("message", path)


@steady
@given(PATHS)
def test_a_route_is_found_among_many_iff_one_of_them_matches_alone(path: str) -> None:
    match = found(EVERYTHING_ROUTER, path)
    alone = [pattern for pattern, router in ALONE.items() if found(router, path) is not None]
    assert (match is None) == (not alone)
    if match is not None:
        assert found(ALONE[match[0]], path) == match


CLASSES = ["/a-b/c", r"/a-b/:x(\w)", "/a-b/:x", "/a-:x/c", "/:x-:y/:z", "/a-b/:x?", "/a-b/*", "*"]


@steady
@given(st.permutations(CLASSES), st.sets(st.sampled_from(CLASSES), min_size=1))
def test_the_order_of_adding_does_not_matter_between_classes(
    order: list[str], kept: set[str]
) -> None:
    match = found(router_of(*[pattern for pattern in order if pattern in kept]), "/a-b/c")
    assert match is not None
    assert match[0] == min(kept, key=CLASSES.index)


TEXTS = ["/", "-", "a", "/a", "-a", "a-", "--", "/a/", "-a-"]
GAPS = {":x": "([^/]*)", "*": r"([^\n\r\u2028\u2029]*)"}


@st.composite
def backtracking(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern of gaps and texts, and the plain regex that defines what it matches."""
    pattern, regex = "/", "/"
    for text in draw(st.lists(st.sampled_from(TEXTS), max_size=4)):
        gap = draw(st.sampled_from(sorted(GAPS)))
        # A name ends at a slash or a hyphen.
        joint = text if gap == "*" or text[0] in "/-" else f"-{text}"
        pattern += gap + joint
        regex += GAPS[gap] + re.escape(joint)
    gap = draw(st.sampled_from(sorted(GAPS)))
    pattern += gap
    regex += GAPS[gap]
    if not draw(st.booleans()):
        return pattern, regex
    if pattern.endswith(f"/{gap}"):
        regex = f"{regex.removesuffix('/' + GAPS[gap])}/?{GAPS[gap]}"
    pattern += "?"
    for separator in draw(st.lists(st.sampled_from("/-"), max_size=2)):
        gap = draw(st.sampled_from(sorted(GAPS)))
        pattern += f"{separator}{gap}?"
        regex += f"{separator}?{GAPS[gap]}"
    return pattern, regex


@steady
@given(backtracking(), st.text("/-a\n", max_size=14).map(lambda rest: f"/{rest}"))
def test_gaps_take_what_a_backtracking_regex_would_give_them(
    case: tuple[str, str], path: str
) -> None:
    pattern, regex = case
    names = re.findall(r":x|\*", pattern)
    optional = [found[-1] == "?" for found in re.findall(r"(?:\:x|\*)\??", pattern)]
    expected: dict[str, list[str]] | None = None
    plain = re.fullmatch(regex, path)
    if plain is not None and all(
        value or may for value, may in zip(plain.groups(), optional, strict=True)
    ):
        expected = {}
        for name, value in zip(names, plain.groups(), strict=True):
            if value:
                expected.setdefault(name.removeprefix(":"), []).append(value)
    match = found(router_of(pattern), path)
    lists = match and {
        name: value if isinstance(value, list) else [value] for name, value in match[1].items()
    }
    assert (lists and {name: value for name, value in lists.items() if value}) == expected


# --- hostile paths ---

HOSTILE_PATTERNS = [
    "/:a-:b",
    "/:a-:b-:c-:d",
    "/:a--:b-x-:c",
    "/:a-:b/:c-:d",
    "/:a-:b/:c?/:d?",
    "/:a-:b?",
    "/:x?/:y?/:z?",
    "/:x?-:y?",
    "/*",
    "/*.js",
    "/*-:x",
    "/*-*-*-*",
    "/*/a/*/b/*/c",
    "/*/:x/*/:y",
    "/*a:x-b*",
    "/f/*/x-:y/*.js",
    "/:x/*?",
    r"/:id(\d+)",
    r"/:x-:id(\d+)",
    r"/:a-:b-:id(\d+)",
    r"/*(\w+)-*(\w+)-*(\w+)",
    r"/:a/*-:id(\d+)/:c?",
]
HOSTILE_PIECES = ["-", "/", "a", "a/", "-a", "a/-b", "%41", "%2F-", "%", "a-\n", "/a/b", "-x-", "1"]


def seconds(router: WsRouter[str], path: str) -> float:
    """CPU time of one lookup: a busy machine does not count."""
    started = time.thread_time()
    router.lookup("message", path)
    return time.thread_time() - started


@pytest.mark.parametrize("pattern", HOSTILE_PATTERNS)
def test_no_path_makes_a_lookup_slow(pattern: str) -> None:
    router = router_of(pattern)
    for piece in HOSTILE_PIECES:
        for end in ("", "/", "x"):
            # In linear time a few milliseconds; in quadratic time many seconds.
            path = "/" + piece * (100_000 // len(piece)) + end
            assert seconds(router, path) < 1, (piece, end)


@pytest.mark.parametrize("pattern", ["/:a-:b-:c-:d", "/*/a/*/b/*/c", "/:x/:y/:z?", "/*-*-:x/*"])
def test_a_path_of_a_megabyte_is_looked_up_in_a_fraction_of_a_second(pattern: str) -> None:
    router = router_of(pattern)
    for piece in ("-", "/", "a/", "-a", "%41"):
        assert seconds(router, "/" + piece * (1_048_576 // len(piece))) < 2


def test_a_regex_behind_too_many_choices_is_not_tried() -> None:
    router = router_of(r"/:a-:b-:id(\d+)")
    assert found(router, "/a-b-c-7") is not None
    few = "/" + "a-" * 40 + "b-7"
    assert found(router, few) is not None
    many = "/" + "a-" * MAX_STEPS + "b-7"
    assert found(router, many) is None


def test_lookups_leave_nothing_behind() -> None:
    router = router_of("/a", "/chat/:room", "/:a-:b", r"/:id(\d+)/x", "/*/x/*", "/l/:p?")
    paths = [
        path.format(i)
        for i in range(2_000)
        for path in ("/chat/{}", "/a{}-b", "/{}/x", "/f{0}/x/{0}", "/l/{}", "/none/{}/y")
    ]
    for path in paths:
        router.lookup("message", path)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for path in paths:
            router.lookup(path, path + "%41")
            router.lookup("message", path + "%41")
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


# --- many routes ---


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/r{}/:x", "/r{}/1"),
        ("/:tenant/r{}/:x", "/t/r{}/1"),
        ("/r{}/a/b", "/r{}/a/b"),
        (r"/r{}/:x(\d+)", "/r{}/1"),
        ("/r{}/*", "/r{}/a/b"),
        ("/r{}-:x?", "/r{}-1"),
    ],
)
def test_thousands_of_routes_are_not_tried_one_by_one(pattern: str, path: str) -> None:
    count = 3_000
    many = router_of(*[pattern.format(i) for i in range(count)])
    one = router_of(pattern.format(count - 1))
    last = path.format(count - 1)
    assert found(many, last) == found(one, last)

    def quickest(router: WsRouter[str]) -> float:
        return min(sum(seconds(router, last) for _ in range(100)) for _ in range(5))

    # One after the other it would be a thousand times as long. Many may cost one probe for
    # each length of a first text: r1, r10, r100, r1000.
    assert quickest(many) < 50 * quickest(one)

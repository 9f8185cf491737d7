"""The router: what matches, what wins, and what holds of any pattern and path."""

from __future__ import annotations

import re
from itertools import pairwise, permutations
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.router import WsRouter

Params = dict[str, str | list[str]]


def router_of(*patterns: str) -> WsRouter[str]:
    """A router whose handlers are the patterns themselves."""
    router: WsRouter[str] = WsRouter()
    for pattern in patterns:
        router.add("message", pattern, pattern)
    return router


def found(router: WsRouter[str], path: str) -> tuple[str, Params] | None:
    match = router.lookup("message", path)
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
    (r"/:id(^\d+$)/x", "/12/x", {"id": "12"}),
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
    ("/:x-:y-*", "/--a-a/-", {"x": "-", "y": "a", "*": "a/-"}),
    ("/*-:x-a*", "/-aa--aa-a/-a/", {"*": ["-aa-", "/-a/"], "x": "aa"}),
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

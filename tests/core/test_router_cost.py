"""What a lookup costs: on hostile paths, and among thousands of routes."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from wsrooms.patterns import MAX_STEPS
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

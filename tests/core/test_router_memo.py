"""A memo finds what its router finds, holds a bounded number of it, and gives nothing away."""

from __future__ import annotations

from collections.abc import Callable

from wsrooms import WsRouteMatch, WsRouter
from wsrooms.router import MEMO_PATH, MEMO_ROUTES, RouteMemo


class CountingRouter(WsRouter[Callable[..., object]]):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def lookup(self, event: str, path: str) -> WsRouteMatch[Callable[..., object]] | None:
        self.asked.append((event, path))
        return super().lookup(event, path)


def handler() -> None: ...


def memo() -> tuple[CountingRouter, RouteMemo[Callable[..., object]]]:
    router = CountingRouter()
    router.add("e", "/static", handler)
    router.add("e", "/room/:name", handler)
    router.add("*", "/tags/:tag/:tag", handler)
    return router, RouteMemo(router)


def test_what_was_found_once_is_not_looked_up_again() -> None:
    router, routes = memo()
    for _ in range(3):
        assert routes.find("e", "/static") == ((handler,), {})
        assert routes.find("e", "/room/a?q") == ((handler,), {"name": "a"})
    assert router.asked == [("e", "/static"), ("e", "/room/a?q")]


def test_event_and_path_both_count() -> None:
    router, routes = memo()
    assert routes.find("e", "/room/a") is not None
    assert routes.find("f", "/room/a") is None
    assert routes.find("e", "/room/b") == ((handler,), {"name": "b"})
    assert len(router.asked) == 3


def test_params_are_the_callers_own() -> None:
    router, routes = memo()
    for path, params in (("/room/a", {"name": "a"}), ("/tags/x/y", {"tag": ["x", "y"]})):
        for _ in range(3):
            found = routes.find("e", path)
            assert found is not None
            assert found[1] == params
            for value in found[1].values():
                if isinstance(value, list):
                    value.append("more")
            found[1]["name"] = "changed"
    assert len(router.asked) == 1 + 3  # what holds a list is looked up each time


def test_nonsense_is_not_remembered() -> None:
    router, routes = memo()
    for _ in range(2):
        assert routes.find("e", "/nowhere") is None
    assert len(router.asked) == 2


def test_long_paths_are_found_and_not_remembered() -> None:
    router, routes = memo()
    longest = "x" * (MEMO_PATH - len("e/room/"))
    for name in (longest, longest + "x"):
        for _ in range(2):
            assert routes.find("e", f"/room/{name}") == ((handler,), {"name": name})
    assert len(router.asked) == 1 + 2


def test_a_flood_of_paths_does_not_grow_it_and_does_not_displace_what_is_in_use() -> None:
    router, routes = memo()
    for number in range(MEMO_ROUTES * 5):
        assert routes.find("e", f"/room/{number}") is not None
        if number % (MEMO_ROUTES // 4) == 0:
            assert routes.find("e", "/static") is not None
        held = len(routes._recent) + (routes._older is not routes._recent) * len(routes._older)
        assert held <= MEMO_ROUTES
    assert router.asked.count(("e", "/static")) == 1


def test_what_is_not_asked_for_is_forgotten() -> None:
    router, routes = memo()
    routes.find("e", "/static")
    for number in range(MEMO_ROUTES + 1):
        routes.find("e", f"/room/{number}")
    routes.find("e", "/static")
    assert router.asked.count(("e", "/static")) == 2


def test_as_many_as_it_may_hold_are_remembered() -> None:
    router, routes = memo()
    for number in range(MEMO_ROUTES):
        routes.find("e", f"/room/{number}")
    for number in (0, MEMO_ROUTES - 1):
        routes.find("e", f"/room/{number}")
    assert len(router.asked) == MEMO_ROUTES


def test_what_is_in_use_is_not_remembered_anew_each_time() -> None:
    router, routes = memo()
    for number in range(MEMO_ROUTES // 2):
        routes.find("e", f"/room/{number}")
    for _ in range(MEMO_ROUTES):
        routes.find("e", "/static")  # where that took a place each time, others would lose theirs
    routes.find("e", "/room/0")
    assert router.asked.count(("e", "/room/0")) == 1
    assert router.asked.count(("e", "/static")) == 1

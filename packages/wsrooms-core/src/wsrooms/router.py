r"""Which handlers a message reaches: routes by *event* and *path*.

The router is pure: it knows no connection, does no I/O and keeps nothing of what it is
asked; its memo keeps a bounded number of short paths. So a client that sends millions of
different ones costs no memory. It behaves like ``@prostojs/router`` 0.3, the original's, of
which it holds no source.

Patterns: ``/chat/general`` (static), ``/chat/:room``, ``/:a-:b`` (the first takes what it
can), ``/:id(\d+)`` (a regex, anchored), ``/list/:page?`` (optional, at the end; so is its
slash), ``/files/*``, ``/*.js`` and ``/*(\d+)`` (any characters, slashes too), ``/*?`` (or none),
``/:tag/:tag`` (a list), ``/a\:b`` (a colon). A name ends at ``/``, ``-``, ``(`` or the end of the
pattern; a parameter without ``?`` is never empty. A leading slash may be left out and a
trailing one is dropped; paths are taken as they are, up to ``?``.

Which route wins: an exact event before ``*``; then static, parametric, with an optional end,
wildcard; then more static text, earlier text first; then a regex before a bare parameter;
then the one added first.

A path is percent-decoded for matching, but for the reserved characters, so that ``%2F`` never
splits a segment; params are decoded in full. Malformed, a path is matched as it is, and
only its well-formed params are decoded.

Where this differs from the original, on purpose:

* Event ``*`` is any event. A regex is ranked like other parameters, not after them all.
* A route that would need an empty parameter is passed over; the original gives up.
* A wildcard's regex and the ``?`` of an optional parameter make another route.
* An optional parameter that is absent is not in params, nor in the list of its name.
* Regexes are Python's, with JavaScript's meaning of ``\d``, ``\w``, ``.`` and ``$``; lookarounds
  and brackets that hold parentheses work, groups do not capture, slashes can be matched.
* Bad patterns raise; a parameter without a name and a stray ``)`` are bad.
* Work is bounded, see :meth:`WsRouter.lookup`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter, itemgetter
from typing import Generic, TypeVar

from wsrooms.patterns import BARE, Params, Reader, Token, parse, reader, require_str, segments_of

__all__ = ["RouteMemo", "WsRouteMatch", "WsRouter"]

H = TypeVar("H")
ANY_EVENT = "*"


@dataclass(frozen=True, slots=True)
class WsRouteMatch(Generic[H]):
    """What a lookup found. ``params`` is the caller's own, to change at will.

    Attributes:
        handlers: The handlers of the route, in the order in which they were added.
        params: What the pattern's parameters hold; a list where a name is repeated.
    """

    handlers: tuple[H, ...]
    params: dict[str, str | list[str]]


# One is made for every message, and these take half the time of a frozen dataclass's __init__.
_new = object.__new__
_set_handlers: Callable[[object, object], None] = vars(WsRouteMatch)["handlers"].__set__
_set_params: Callable[[object, object], None] = vars(WsRouteMatch)["params"].__set__


class WsRouter(Generic[H]):
    """Finds the handlers of a message.

    Static routes are found at once, parametric ones by their static segments and the others
    by the text that they begin with. Only routes that are alike in that are tried in turn.
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Table[H]] = {}
        self._added: list[tuple[str, str, H]] = []

    def add(self, event: str, pattern: str, handler: H) -> None:
        """Let ``handler`` answer ``event`` (``*``: any) on the paths of ``pattern``.

        Another handler of the same event and pattern comes after those before it; names of
        parameters are those of the first. The same handler again changes nothing.

        Raises:
            InvalidPattern: The pattern cannot be compiled; nothing was added.
        """
        require_str("it", pattern, pattern)
        require_str("its event", event, pattern)
        tokens = parse(pattern)
        table = self._tables.get(event) or _Table[H]()
        if table.add(tokens, handler):
            self._tables[event] = table
            self._added.append((event, pattern, handler))

    def lookup(self, event: str, path: str) -> WsRouteMatch[H] | None:
        """Find the best route for a message; None where there is none. It never raises.

        The time taken is in proportion to the length of the path, whatever a client sends.
        What a pattern's own regexes do is their author's care; but a pattern with one is
        not tried where the path offers it too many ways to match (``patterns.MAX_STEPS``).
        """
        if "?" in path:
            path = path[: path.index("?")]
        encoded = "%" in path
        if encoded:
            path = _decode(path, _OUTSIDE_PARAMS)
        for key in (event, ANY_EVENT):
            table = self._tables.get(key)
            if table is not None:
                route = table.static.get(path)
                found = table.find(path, encoded) if route is None else (route, {})
                if found is not None:
                    match: WsRouteMatch[H] = _new(WsRouteMatch)
                    _set_handlers(match, found[0].handlers)
                    _set_params(match, found[1])
                    return match
        return None

    def routes(self) -> list[tuple[str, str, H]]:
        """List (event, pattern as given, handler) in the order of their adding."""
        return self._added.copy()


MEMO_ROUTES = 2048
"""Messages of which a memo keeps the routes: a few MB at the most."""

MEMO_PATH = 128
"""Characters of event and path, beyond which a message is not remembered."""


class RouteMemo(Generic[H]):
    """What a router found for recent messages, for a sixth of the price of looking it up.

    It forgets by generations: once half of what it may hold has been asked for anew, all
    that has not been asked for meanwhile goes. What is not found is not remembered, so
    that nonsense displaces nothing.

    Attributes:
        router: Whose memory it is.
    """

    __slots__ = ("_older", "_recent", "router")

    def __init__(self, router: WsRouter[H]) -> None:
        """Remember for ``router``, which must not be added to any more."""
        self.router: WsRouter[H] = router
        self._recent: dict[tuple[str, str], tuple[tuple[H, ...], Params]] = {}
        self._older = self._recent

    def find(self, event: str, path: str) -> tuple[tuple[H, ...], Params] | None:
        """The handlers of a message and its params, which are the caller's own."""
        key = (event, path)
        found = self._recent.get(key)
        if found is None:
            found = self._look_up(key)
            if found is None:
                return None
        return found[0], found[1].copy()

    def _look_up(self, key: tuple[str, str]) -> tuple[tuple[H, ...], Params] | None:
        found = self._older.get(key)
        if found is None:
            event, path = key
            match = self.router.lookup(event, path)
            if match is None:
                return None
            found = (match.handlers, match.params)
            if len(event) + len(path) > MEMO_PATH or list in map(type, match.params.values()):
                return found  # copying a list would not make it the caller's own
        if len(self._recent) >= MEMO_ROUTES // 2:
            self._older = self._recent
            self._recent = {}
        self._recent[key] = found
        return found


# --- finding routes ---


class _Route(Generic[H]):
    """One pattern with its handlers, its rank among the others and its reader."""

    __slots__ = ("handlers", "rank", "read")

    def __init__(self, handler: H, rank: _Rank, read: Reader) -> None:
        self.handlers: tuple[H, ...] = (handler,)
        self.rank = rank
        self.read = read


_Pick = Callable[[list[str]], object]
_by_rank = attrgetter("rank")
_Rank = tuple[int, int, list[int], list[int], int]


def _rank(tokens: list[Token], order: int) -> _Rank:
    """What decides between two routes that both match: the lower rank wins."""
    gaps = [token for token in tokens if token.name]
    optional = any(gap.optional for gap in gaps)
    kind = 3 if any(gap.wild for gap in gaps) else 2 if optional else 1
    static = list(takewhile(lambda token: not token.optional, tokens))
    lengths = [-len(token.text) for token in static]
    length = sum(lengths)
    # As with the original, an optional end makes a pattern no longer than its first text,
    # less the slash after it; two that are equal in this are compared with the slash.
    if optional and len(static) < 2 and tokens[len(static)].text:
        lengths = [length - 1]
    elif optional and static[0].text.endswith("/"):
        length = max(length, 1 - len(static[0].text))
    return kind, length, _ranked(lengths), _ranked([-bool(gap.regex) for gap in gaps]), order


def _ranked(numbers: list[int]) -> list[int]:
    """End a list so that a longer one comes first, unless what it has more is all zeros."""
    while numbers and not numbers[-1]:
        numbers.pop()
    return [*numbers, 1]


_Routes = list[_Route[H]]  # in order of rank
_ByPrefix = dict[int, dict[str, _Routes[H]]]  # by the length of their first text, then by it


class _Table(Generic[H]):
    """The routes of one event."""

    __slots__ = ("_known", "_loose", "_max_split", "_regexes", "_shapes", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Route[H]] = {}
        self._known: dict[object, _Route[H]] = {}
        # Parametric routes without a regex: by the number of segments, then by the places of
        # static segments (one probe for each set of places), then by what these segments are.
        self._shapes: dict[int, dict[tuple[int, ...], tuple[_Pick, dict[object, _Routes[H]]]]] = {}
        self._max_split = 1  # what tells a path of more segments from all of these
        self._regexes: _ByPrefix[H] = {}
        self._loose: _ByPrefix[H] = {}  # optional ends and wildcards, which rank after the rest

    def add(self, tokens: list[Token], handler: H) -> bool:
        """Add a handler; False if the route has it already."""
        key = tuple(token._replace(name="" if token.text else ":") for token in tokens)
        route = self._known.get(key)
        if route is not None:
            if handler in route.handlers:
                return False
            route.handlers = (*route.handlers, handler)
            return True
        rank = _rank(tokens, len(self._known))
        route = _Route(handler, rank, reader(tokens))
        self._known[key] = route
        gaps = [token for token in tokens if token.name]
        if not gaps:
            self.static["".join(token.text for token in tokens) or "/"] = route
            return True
        if any(gap[2:] != BARE for gap in gaps):
            index = self._regexes if rank[0] == 1 else self._loose
            prefix = "" if tokens[0].optional else tokens[0].text
            routes = index.setdefault(len(prefix), {}).setdefault(prefix, [])
        else:
            segments = segments_of(tokens)
            places = [i for i, each in enumerate(segments) if not any(t.name for t in each)]
            self._max_split = max(self._max_split, len(segments))
            shapes = self._shapes.setdefault(len(segments), {})
            pick, by_texts = shapes.setdefault(tuple(places), (itemgetter(*places), {}))
            texts = pick(["".join(token.text for token in each) for each in segments])
            routes = by_texts.setdefault(texts, [])
        insort(routes, route, key=_by_rank)
        return True

    def find(self, path: str, encoded: bool) -> tuple[_Route[H], Params] | None:
        """Find the best route that is not static; ``encoded`` if params may hold escapes."""
        routes = _starting(self._regexes, path) if self._regexes else None
        segments = path.split("/", self._max_split)
        shapes = self._shapes.get(len(segments))
        if shapes is not None:
            for pick, by_texts in shapes.values():
                some = by_texts.get(pick(segments))
                if some is not None:
                    routes = some if routes is None else _merged(routes, some)
        found = None if routes is None else _first(routes, path, segments, encoded)
        if found is None and self._loose:
            routes = _starting(self._loose, path)
            found = None if routes is None else _first(routes, path, segments, encoded)
        return found


def _starting(index: _ByPrefix[H], path: str) -> _Routes[H] | None:
    routes: _Routes[H] | None = None
    for length, by_prefix in index.items():
        found = by_prefix.get(path[:length])
        if found is not None:
            routes = found if routes is None else _merged(routes, found)
    return routes


def _merged(some: _Routes[H], others: _Routes[H]) -> _Routes[H]:
    return sorted([*some, *others], key=_by_rank)


def _first(
    routes: _Routes[H], path: str, segments: list[str], encoded: bool
) -> tuple[_Route[H], Params] | None:
    for route in routes:
        params = route.read(path, segments)
        if params is not None:
            if encoded:
                _decode_params(params)
            return route, params
    return None


# --- percent escapes ---

_HEX_DIGITS = "0123456789abcdefABCDEF"
_INSIDE_PARAMS = {
    (high + low).encode(): bytes.fromhex(high + low) for high in _HEX_DIGITS for low in _HEX_DIGITS
}
# While a path is matched these stay escapes: an encoded slash is no separator, and an
# encoded percent sign must not be decoded twice.
_OUTSIDE_PARAMS = {
    digits: b"%" + digits if char in b"%;/?:@&=+$,#" else char
    for digits, char in _INSIDE_PARAMS.items()
}


def _decode(text: str, escapes: dict[bytes, bytes]) -> str:
    """Decode the escapes of ``text``, or leave it as it is if one of them is malformed."""
    if "%" not in text:
        return text
    first, *others = text.encode("utf-8", "surrogatepass").split(b"%")
    try:
        return b"".join([first, *[escapes[part[:2]] + part[2:] for part in others]]).decode()
    except (KeyError, UnicodeDecodeError):
        return text


def _decode_params(params: Params) -> None:
    for name, held in params.items():
        if isinstance(held, str):
            params[name] = _decode(held, _INSIDE_PARAMS)
        else:
            held[:] = [_decode(value, _INSIDE_PARAMS) for value in held]

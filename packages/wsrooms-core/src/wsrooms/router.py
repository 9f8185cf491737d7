r"""Which handlers a message reaches: routes by *event* and *path*.

The router is pure: it knows no connection, does no I/O and keeps nothing of what it is
asked, so a client that sends millions of different paths costs no memory. It behaves
like ``@prostojs/router`` 0.3, the original's, of which it holds no source.

Patterns: ``/chat/general`` (static), ``/chat/:room``, ``/:a-:b`` (the first takes what it
can), ``/:id(\d+)`` (a regex, anchored), ``/list/:page?`` (optional, at the end), ``/files/*``,
``/*.js`` and ``/*(\d+)`` (any characters, slashes too), ``/files/*?`` (or none), ``/:tag/:tag``
(a list), ``/a\:b`` (a colon). A name ends at ``/``, ``-``, ``(`` or the end of the pattern, a
parameter without ``?`` is never empty. A leading slash may be left out and a trailing
one is dropped; paths are taken as they are, up to ``?``.

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

import re
from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from wsrooms.errors import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WsRouteMatch", "WsRouter"]

H = TypeVar("H")
_Params = dict[str, str | list[str]]

ANY_EVENT = "*"
MAX_STEPS = 1_000_000
"""A pattern with a regex is not tried on a path that may take it more steps than this."""


@dataclass(frozen=True, slots=True, init=False)
class WsRouteMatch(Generic[H]):
    """What a lookup found. ``params`` is the caller's own, to change at will.

    Attributes:
        handlers: The handlers of the route, in the order in which they were added.
        params: What the pattern's parameters hold; a list where a name is repeated.
    """

    handlers: tuple[H, ...]
    params: dict[str, str | list[str]]

    def __init__(self, handlers: tuple[H, ...], params: dict[str, str | list[str]]) -> None:
        # One is made for every message, and this takes half the time of the generated one.
        _set_handlers(self, handlers)
        _set_params(self, params)


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
        for what, value in (("the pattern", pattern), ("its event", event)):
            _require_str(what, value, pattern)
        tokens = _parse(pattern)
        table = self._tables.get(event) or _Table[H]()
        if table.add(pattern, tokens, handler):
            self._tables[event] = table
            self._added.append((event, pattern, handler))

    def lookup(self, event: str, path: str) -> WsRouteMatch[H] | None:
        """Find the best route for a message; None where there is none. It never raises.

        The time taken is in proportion to the length of the path, whatever a client sends.
        What a pattern's own regexes do is their author's care; but a pattern with one is
        not tried where the path offers it too many ways to match (``MAX_STEPS``).
        """
        if "?" in path:
            path = path[: path.index("?")]
        encoded = "%" in path
        if encoded:
            path = _decode(path, _OUTSIDE_PARAMS)
        table = self._tables.get(event)
        if table is not None:
            route = table.static.get(path)
            if route is not None:
                return WsRouteMatch(route.handlers, {})
            match = table.find(path, encoded)
            if match is not None:
                return match
        table = self._tables.get(ANY_EVENT)
        return None if table is None else table.find(path, encoded)

    def routes(self) -> list[tuple[str, str, H]]:
        """List (event, pattern as given, handler) in the order of their adding."""
        return self._added.copy()


# --- reading patterns ---


class _Token(NamedTuple):
    """A piece of a pattern: static text, or a gap, which has a name."""

    text: str = ""
    name: str = ""
    wild: bool = False  # the gap may hold slashes
    regex: str | None = None
    optional: bool = False


def _require_str(what: str, value: object, pattern: object) -> None:
    if not isinstance(value, str):
        raise InvalidPattern(pattern, f"{what} is not a str but of type {type(value).__name__}")


_TEXT = re.compile(r"(?:\\(?:.|\Z)|[^:*\\])+", re.DOTALL)
_NAME = re.compile(r":((?:\\[^/\-]|[^/\-(])*)|\*+")


def _parse(pattern: str) -> list[_Token]:
    # A percent sign of the pattern meets %25 in the path, see _OUTSIDE_PARAMS.
    source = f"/{pattern.removeprefix('/')}".removesuffix("/").replace("%", "%25")
    tokens: list[_Token] = []
    at = 0
    while at < len(source):
        if text := _TEXT.match(source, at):
            tokens.append(_Token(text[0].replace("\\:", ":")))
            at = text.end()
        elif gap := _NAME.match(source, at):
            name = "*" if gap[1] is None else gap[1]
            regex, at = _read_regex(pattern, source, gap.end())
            optional = gap[1] is not None and name.endswith("?")
            if optional:
                name = name[:-1]
            elif source.startswith("?", at):
                optional = True
                at += 1
            if not name:
                raise InvalidPattern(pattern, "a parameter has no name; a plain colon is \\:")
            if ")" in name or source.startswith(")", at):
                raise InvalidPattern(pattern, "it has a ) without its (")
            name = re.sub(r"\\(.)", r"\1", name).replace("%25", "%")
            tokens.append(_Token("", name, gap[1] is None, regex, optional))
    return _with_optional_end(pattern, tokens)


_BRACKETS = r"\[(\^?)((?:\\.|[^\\\]])*)\]"
_REGEX_PART = re.compile(rf"\\.|{_BRACKETS}|\(\?P?<(?![=!])[^>]*>|\(\??|.", re.DOTALL)
_LINE_CHAR = r"[^\n\r\u2028\u2029]"
_AS_PYTHON = {".": _LINE_CHAR, "$": r"\Z", "[]": "(?!)", "[^]": r"[\s\S]", "(": "(?:"}


def _read_regex(pattern: str, source: str, at: int) -> tuple[str | None, int]:
    """Translate the JavaScript regex in parentheses at ``at``, if there is one."""
    if not source.startswith("(", at):
        return None, at
    parts: list[str] = []
    depth = 0
    for part in _REGEX_PART.finditer(source, at):
        text = part[0]
        depth += text.startswith("(") - (text == ")")
        if depth == 0:
            at = part.end()
            break
        if text.startswith("(?") and text.endswith(">"):
            text = "("
        elif text.startswith("[") and part[2]:
            text = f"[{part[1]}{_SET_OPERATION.sub(_escaped, part[2])}]"
        parts.append(_AS_PYTHON.get(text, text))
    else:
        raise InvalidPattern(pattern, "a ( of its regex is never closed")
    parts.append(")")
    if parts[0] == "(?:" and parts[1] == "^":
        del parts[1]
    if parts[0] == "(?:" and parts[-2] == r"\Z":
        del parts[-2]
    regex = "".join(parts)
    try:
        re.compile(regex, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidPattern(pattern, f"{regex} is no regex: {error}") from error
    return regex, at


# Python would read nested sets and set operations within brackets.
_SET_OPERATION = re.compile(r"(\\.)|([\[&~|])", re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    return match[1] or f"\\{match[2]}"


def _with_optional_end(pattern: str, tokens: list[_Token]) -> list[_Token]:
    """Check what follows the first optional parameter; a slash before it is optional too."""
    first = next((i for i, token in enumerate(tokens) if token.optional), len(tokens))
    head, end = tokens[:first], tokens[first:]
    if end and head and head[-1].text.endswith("/"):
        text = head.pop().text[:-1]
        head += [_Token(text)] if text else []
        end.insert(0, _Token("/"))
    for token in end:
        if token.name and not token.optional:
            reason = f"{token.name} follows an optional parameter; mark it with ? as well"
            raise InvalidPattern(pattern, reason)
        if not token.name and token.text not in ("/", "-"):
            reason = f"{token.text!r} follows an optional parameter; only / and - may"
            raise InvalidPattern(pattern, reason)
    return [*head, *(token._replace(optional=True) for token in end)]


# --- matching ---

# Reads the params out of a path, given also as its segments; None if it does not match.
_Reader = Callable[[str, list[str]], _Params | None]
_Pick = Callable[[list[str]], object]


def _reader(pattern: str, tokens: list[_Token]) -> _Reader:
    """Choose the fastest way to match that no path can make slow."""
    gaps = [token for token in tokens if token.name]
    names = [gap.name for gap in gaps]
    repeated = {name for name in names if names.count(name) > 1}
    segments = _segments(tokens)
    alone = [each[0].name for each in segments if len(each) == 1 and each[0].name]
    if alone == names and not repeated and all(gap[2:] == _PLAIN for gap in gaps):
        return _segment_reader(
            [(each[0].name, i) for i, each in enumerate(segments) if each and each[0].name]
        )
    match = _matcher(pattern, tokens)

    def read(path: str, _: list[str]) -> _Params | None:
        values = match(path)
        if values is None:
            return None
        params: _Params = {name: [] for name in repeated}
        for gap, value in zip(gaps, values, strict=True):
            if value:
                held = params.setdefault(gap.name, value)
                if isinstance(held, list):
                    held.append(value)
            elif not gap.optional:
                return None
        return params

    return read


_PLAIN = _Token()[2:]


def _segments(tokens: list[_Token]) -> list[list[_Token]]:
    segments: list[list[_Token]] = [[]]
    for token in tokens:
        first, *others = token.text.split("/")
        if token.name or first:
            segments[-1].append(token._replace(text=first))
        segments += [[_Token(text)] if text else [] for text in others]
    return segments


def _segment_reader(places: list[tuple[str, int]]) -> _Reader:
    if len(places) == 1:
        name, place = places[0]

        def read_one(_: str, segments: list[str]) -> _Params | None:
            value = segments[place]
            return {name: value} if value else None

        return read_one

    def read(_: str, segments: list[str]) -> _Params | None:
        params: _Params = {name: segments[place] for name, place in places}
        return None if "" in params.values() else params

    return read


def _matcher(pattern: str, tokens: list[_Token]) -> Callable[[str], Sequence[str] | None]:
    """Compile to what gives the values of all gaps, "" for an absent one.

    A gap that has but one end that may lead to a match is possessive, or followed by
    text that only fits at one place; of bare parameters that hyphens part, all but the
    first hold none, since the first is greedy. If all gaps are of these kinds, a regex
    takes linear time. Other gaps have a fence, the text that may end them at any of its
    occurrences; patterns with such gaps need the solver, or a bound.
    """
    custom = any(token.regex for token in tokens)
    out: list[str] = []
    fences: Counter[str] = Counter()
    in_run = False
    for i, token in enumerate(tokens):
        maybe = ("?" if custom else "?+") if token.optional else ""
        if token.text:
            out.append(re.escape(token.text) + maybe)
            continue
        after, then = [*tokens[i + 1 : i + 3], None, None][:2]
        held = token.regex or (f"{_LINE_CHAR}*" if token.wild else "[^/-]*" if in_run else "[^/]*")
        was_in_run, in_run = in_run, False
        if after is None:
            held += "" if token.regex else "+"
        elif token.regex is None and after.optional and not custom and not was_in_run:
            held += "+"
        elif token.regex or after.optional or not after.text:
            fences[after.text] += 1
        elif not token.wild and after.text.startswith("/"):
            held += "+"
        elif custom:
            fences[after.text] += 1
        elif not token.wild and after.text == "-" and then and then.name and not then.wild:
            in_run = True
        elif then and (token.wild or "/" not in after.text):
            fences[after.text] += 1
        out.append(f"({held}){maybe if custom else ''}")
    if fences and not custom:
        return _Solver(tokens)
    try:
        fullmatch = re.compile("".join(out), re.ASCII).fullmatch
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidPattern(pattern, f"its regexes do not go together: {error}") from error

    def match(path: str) -> Sequence[str] | None:
        if fences:
            steps = len(path)
            for fence, times in fences.items():
                steps *= comb(path.count(fence) + times, times)
            if steps > MAX_STEPS:
                return None
        found = fullmatch(path)
        return None if found is None else found.groups("")

    return match


class _Solver:
    """Matches any tokens without a regex as a backtracking regex would, in linear time.

    Of all ways to match it finds the one whose first gap is longest, then the second, and
    so on: each gap ends at the last position in its reach from which the other tokens match
    the rest of the path. These positions are sought from right to left, and each token
    remembers how far it has come.
    """

    __slots__ = ("_tokens", "_wild")

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._wild = any(token.wild for token in tokens)

    def __call__(self, path: str) -> list[str] | None:
        # A line terminator stops a wildcard as a slash stops a parameter.
        lines = _LINE_END.sub("\n", path) if self._wild else path
        known: list[tuple[int, int, int]] = [(0, -1, -1)] * len(self._tokens)
        values: list[str] = []
        at = 0
        for i, token in enumerate(self._tokens):
            if token.name:
                reach = lines.find("\n", at) if token.wild else path.find("/", at)
                end = self._last(path, lines, known, i + 1, len(path) if reach < 0 else reach)
                if end < at:
                    return None
                values.append(path[at:end])
                at = end
            elif path.startswith(token.text, at):
                after = at + len(token.text)
                if not token.optional or self._last(path, lines, known, i + 1, after) == after:
                    at = after
            elif not token.optional:
                return None
        return values if at == len(path) else None

    def _last(
        self, path: str, lines: str, known: list[tuple[int, int, int]], i: int, limit: int
    ) -> int:
        """Find the last position up to ``limit`` where tokens ``i`` on match the rest, or -1."""
        if i == len(self._tokens):
            return limit if limit == len(path) else -1
        token = self._tokens[i]
        first, last, found = known[i]
        if token.name:
            # From everywhere between two stops, a gap can end at the same places.
            if not first <= limit <= last:
                text, stop = (lines, "\n") if token.wild else (path, "/")
                last = text.find(stop, limit)
                last = len(path) if last < 0 else last
                found = self._last(path, lines, known, i + 1, last)
                known[i] = (text.rfind(stop, 0, limit) + 1, last, found)
            return min(limit, found)
        if not found <= limit <= last:
            length = len(token.text)
            last = after = limit + length
            found = -1
            while (start := path.rfind(token.text, 0, after)) >= 0:
                after = self._last(path, lines, known, i + 1, start + length)
                if after == start + length:
                    found = start
                    break
                if after < length:
                    break
            known[i] = (0, limit, found)
        if token.optional:
            return max(found, self._last(path, lines, known, i + 1, limit))
        return found


_LINE_END = re.compile(r"[\n\r\u2028\u2029]")


# --- finding routes ---


class _Route(Generic[H]):
    """One pattern with its handlers, its rank among the others and its reader."""

    __slots__ = ("handlers", "rank", "read")

    def __init__(self, handler: H, rank: _Rank, read: _Reader) -> None:
        self.handlers: tuple[H, ...] = (handler,)
        self.rank = rank
        self.read = read


_by_rank = attrgetter("rank")
_Rank = tuple[int, int, list[int], list[int], int]


def _rank(tokens: list[_Token], order: int) -> _Rank:
    """What decides between two routes that both match: the lower rank wins."""
    gaps = [token for token in tokens if token.name]
    optional = any(gap.optional for gap in gaps)
    kind = 3 if any(gap.wild for gap in gaps) else 2 if optional else 1
    lengths: list[int] = []
    for token in tokens:
        if token.optional:
            break
        lengths.append(-len(token.text))
    length = sum(lengths)
    if optional and tokens[0].text.endswith("/"):
        # As the original has it, this makes a pattern no longer than its first text.
        length = max(length, 1 - len(tokens[0].text))
    return kind, length, _ranked(lengths), _ranked([-bool(gap.regex) for gap in gaps]), order


def _ranked(numbers: list[int]) -> list[int]:
    """End a list so that a longer one comes first, unless what it has more is all zeros."""
    while numbers and not numbers[-1]:
        numbers.pop()
    return [*numbers, 1]


_Routes = list[_Route[H]]  # in order of rank
_ByPrefix = dict[
    int, dict[str, _Routes[H]]
]  # by the length of the text they begin with, then by it


class _Table(Generic[H]):
    """The routes of one event."""

    __slots__ = ("_known", "_loose", "_regexes", "_shapes", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Route[H]] = {}
        self._known: dict[object, _Route[H]] = {}
        # Parametric routes without a regex: by the number of slashes, then by the places of the
        # static segments (one probe for each set of places), then by what these segments are.
        self._shapes: dict[int, dict[tuple[int, ...], tuple[_Pick, dict[object, _Routes[H]]]]] = {}
        self._regexes: _ByPrefix[H] = {}
        self._loose: _ByPrefix[H] = {}  # optional ends and wildcards, which rank after the rest

    def add(self, pattern: str, tokens: list[_Token], handler: H) -> bool:
        """Add a handler; False if the route has it already."""
        key = tuple(token._replace(name="" if token.text else ":") for token in tokens)
        route = self._known.get(key)
        if route is not None:
            if handler in route.handlers:
                return False
            route.handlers = (*route.handlers, handler)
            return True
        rank = _rank(tokens, len(self._known))
        route = _Route(handler, rank, _reader(pattern, tokens))
        self._known[key] = route
        gaps = [token for token in tokens if token.name]
        if not gaps:
            self.static["".join(token.text for token in tokens) or "/"] = route
            return True
        if any(gap[2:] != _PLAIN for gap in gaps):
            index = self._regexes if rank[0] == 1 else self._loose
            prefix = "" if tokens[0].optional else tokens[0].text
            routes = index.setdefault(len(prefix), {}).setdefault(prefix, [])
        else:
            segments = _segments(tokens)
            places = [i for i, each in enumerate(segments) if not any(t.name for t in each)]
            shapes = self._shapes.setdefault(len(segments) - 1, {})
            pick, by_texts = shapes.setdefault(tuple(places), (itemgetter(*places), {}))
            texts = pick(["".join(token.text for token in each) for each in segments])
            routes = by_texts.setdefault(texts, [])
        insort(routes, route, key=_by_rank)
        return True

    def find(self, path: str, encoded: bool) -> WsRouteMatch[H] | None:
        """Find the best route; ``encoded`` if its params may hold escapes."""
        route = self.static.get(path)
        if route is not None:
            return WsRouteMatch(route.handlers, {})
        routes = _starting(self._regexes, path) if self._regexes else None
        segments: list[str] = []
        shapes = self._shapes.get(path.count("/"))
        if shapes is not None:
            segments = path.split("/")
            for pick, by_texts in shapes.values():
                found = by_texts.get(pick(segments))
                if found is not None:
                    routes = _merged(routes, found)
        match = None if routes is None else _first(routes, path, segments, encoded)
        if match is None and self._loose:
            routes = _starting(self._loose, path)
            match = None if routes is None else _first(routes, path, segments, encoded)
        return match


def _starting(index: _ByPrefix[H], path: str) -> _Routes[H] | None:
    routes: _Routes[H] | None = None
    for length, by_prefix in index.items():
        found = by_prefix.get(path[:length])
        if found is not None:
            routes = _merged(routes, found)
    return routes


def _merged(some: _Routes[H] | None, others: _Routes[H]) -> _Routes[H]:
    return others if some is None else sorted([*some, *others], key=_by_rank)


def _first(
    routes: _Routes[H], path: str, segments: list[str], encoded: bool
) -> WsRouteMatch[H] | None:
    for route in routes:
        params = route.read(path, segments)
        if params is not None:
            if encoded:
                _decode_params(params)
            return WsRouteMatch(route.handlers, params)
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


def _decode_params(params: _Params) -> None:
    for name, held in params.items():
        if isinstance(held, str):
            params[name] = _decode(held, _INSIDE_PARAMS)
        else:
            held[:] = [_decode(value, _INSIDE_PARAMS) for value in held]

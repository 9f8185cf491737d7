"""Route patterns: how they are read, and how a path is matched against one.

Pure, and used by ``router.py`` alone, whose docstring tells what a pattern may hold.
Whatever the path, matching takes time in proportion to its length, or is not tried.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from math import comb
from typing import TYPE_CHECKING, NamedTuple

from wsrooms.errors import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BARE",
    "MAX_STEPS",
    "Params",
    "Reader",
    "Token",
    "parse",
    "reader",
    "require_str",
    "segments_of",
]

Params = dict[str, str | list[str]]

MAX_STEPS = 1_000_000
"""A pattern with a regex is not tried on a path that may take it more steps than this."""


# --- reading patterns ---


class Token(NamedTuple):
    """A piece of a pattern: static text, or a gap, which has a name."""

    text: str = ""
    name: str = ""
    wild: bool = False  # the gap may hold slashes
    regex: str | None = None
    optional: bool = False


def require_str(what: str, value: object, pattern: object) -> None:
    """Refuse what is no str, as ``InvalidPattern``."""
    if not isinstance(value, str):
        raise InvalidPattern(pattern, f"{what} is not a str but of type {type(value).__name__}")


_TEXT = re.compile(r"(?:\\(?:.|\Z)|[^:*\\])+", re.DOTALL)
_NAME = re.compile(r":((?:\\[^/\-]|[^/\-(])*)|\*+")


def parse(pattern: str) -> list[Token]:
    """Take a pattern apart.

    Raises:
        InvalidPattern: It cannot be compiled.
    """
    # A percent sign of the pattern meets %25 in the path, see router.py.
    source = f"/{pattern.removeprefix('/')}".removesuffix("/").replace("%", "%25")
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        if text := _TEXT.match(source, at):
            tokens.append(Token(text[0].replace("\\:", ":")))
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
            tokens.append(Token("", name, gap[1] is None, regex, optional))
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
    depth = end = 0
    for part in _REGEX_PART.finditer(source, at):
        text = part[0]
        depth += text.startswith("(") - (text == ")")
        if depth == 0:
            end = part.end()
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
        re.compile(f"({regex})", re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidPattern(pattern, f"{source[at:end]} is no regex: {error}") from error
    return regex, end


# Python would read nested sets and set operations within brackets.
_SET_OPERATION = re.compile(r"(\\.)|([\[&~|])", re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    return match[1] or f"\\{match[2]}"


def _with_optional_end(pattern: str, tokens: list[Token]) -> list[Token]:
    """Check what follows the first optional parameter; a slash before it is optional too."""
    first = next((i for i, token in enumerate(tokens) if token.optional), len(tokens))
    head, end = tokens[:first], tokens[first:]
    if end and head and head[-1].text.endswith("/"):
        text = head.pop().text[:-1]
        head += [Token(text)] if text else []
        end.insert(0, Token("/"))
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
Reader = Callable[[str, list[str]], Params | None]


def reader(tokens: list[Token]) -> Reader:
    """Choose the fastest way to match that no path can make slow."""
    gaps = [token for token in tokens if token.name]
    names = [gap.name for gap in gaps]
    repeated = {name for name in names if names.count(name) > 1}
    places = [i for i, each in enumerate(segments_of(tokens)) if len(each) == 1 and each[0].name]
    if len(places) == len(names) > 0 and not repeated and all(gap[2:] == BARE for gap in gaps):
        return _segment_reader(names, places)
    match = _matcher(tokens)

    def read(path: str, _: list[str]) -> Params | None:
        values = match(path)
        if values is None or "" in values:
            return None
        return {names[0]: values[0]} if len(values) == 1 else dict(zip(names, values, strict=True))

    def read_any(path: str, _: list[str]) -> Params | None:
        values = match(path)
        if values is None:
            return None
        params: Params = {name: [] for name in repeated}
        for gap, value in zip(gaps, values, strict=True):
            if value:
                held = params.setdefault(gap.name, value)
                if isinstance(held, list):
                    held.append(value)
            elif not gap.optional:
                return None
        return params

    return read_any if repeated or any(gap.optional for gap in gaps) else read


BARE = Token()[2:]


def segments_of(tokens: list[Token]) -> list[list[Token]]:
    """Sort tokens into the segments between slashes; an empty segment has none."""
    segments: list[list[Token]] = [[]]
    for token in tokens:
        first, *others = token.text.split("/")
        if token.name or first:
            segments[-1].append(token._replace(text=first))
        segments += [[Token(text)] if text else [] for text in others]
    return segments


def _segment_reader(names: list[str], places: list[int]) -> Reader:
    name, place = names[0], places[0]
    others = list(zip(names[1:], places[1:], strict=True))

    def read(_: str, segments: list[str]) -> Params | None:
        value = segments[place]
        if not value:
            return None
        params: Params = {name: value}
        for other, at in others:
            value = params[other] = segments[at]
            if not value:
                return None
        return params

    return read


def _matcher(tokens: list[Token]) -> Callable[[str], Sequence[str] | None]:
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
    fullmatch = re.compile("".join(out), re.ASCII).fullmatch

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

    def __init__(self, tokens: list[Token]) -> None:
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

r"""The router against a naive reading of its docstring, on random patterns and paths.

The reference gets patterns as structures and never parses one; it tries every way to
match, the first gap longest, one character at a time. Of routes with an optional end it
only says which match, not which of them wins: there the router keeps the original's order.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from wsrooms.router import RouteMemo, WsRouter

if TYPE_CHECKING:
    from random import Random

Params = dict[str, str | list[str]]


class Text(NamedTuple):
    """Static text."""

    text: str
    optional: bool = False


class Gap(NamedTuple):
    """A parameter or a wildcard."""

    name: str
    wild: bool = False
    regex: str | None = None
    optional: bool = False


Pattern = tuple[Text | Gap, ...]


class Route(NamedTuple):
    """A pattern that was added, with all its handlers."""

    event: str
    pattern: Pattern
    order: int
    handlers: list[int]


# --- the reference ---

RESERVED = "%;/?:@&=+$,#"
LINE_END = re.compile("[\n\r\u2028\u2029]")


def decoded(text: str, kept: str) -> str:
    """Percent-decode all but ``kept``; what is malformed stays as it is."""
    if re.search("%(?![0-9a-fA-F]{2})", text):
        return text
    out = bytearray()
    at = 0
    while at < len(text):
        byte = chr(int(text[at + 1 : at + 3], 16)) if text[at] == "%" else ""
        if byte and byte not in kept:
            out.append(ord(byte))
            at += 3
        else:
            out += text[at].encode("utf-8", "surrogatepass")
            at += 1
    try:
        return out.decode()
    except UnicodeDecodeError:
        return text


def values(pattern: Pattern, path: str, at: int = 0) -> list[str] | None:
    """What the gaps hold in the first way to match, the first gap being longest."""
    if not pattern:
        return [] if at == len(path) else None
    first, rest = pattern[0], pattern[1:]
    if isinstance(first, Text):
        found = None
        if path.startswith(first.text, at):
            found = values(rest, path, at + len(first.text))
        if found is None and first.optional:
            found = values(rest, path, at)
        return found
    for end in range(len(path), at - 1, -1):
        if _holds(first, path[at:end]):
            found = values(rest, path, end)
            if found is not None:
                return [path[at:end], *found]
    return None


def _holds(gap: Gap, text: str) -> bool:
    if gap.regex is not None:
        if gap.regex == ".+":  # as JavaScript has it
            return bool(text or gap.optional) and not LINE_END.search(text)
        return (gap.optional and not text) or re.fullmatch(gap.regex, text, re.ASCII) is not None
    return not LINE_END.search(text) if gap.wild else "/" not in text


def params_of(pattern: Pattern, path: str) -> Params | None:
    """The params of a path, decoded for matching, if the pattern matches it."""
    held = values(with_optional_slash(pattern), path)
    if held is None:
        return None
    gaps = [each for each in pattern if isinstance(each, Gap)]
    names = [gap.name for gap in gaps]
    params: Params = {}
    for gap, value in zip(gaps, held, strict=True):
        if not value and not gap.optional:
            return None
        if value:
            whole = decoded(value, "")
            if names.count(gap.name) == 1:
                params[gap.name] = whole
            else:
                params[gap.name] = [*params.get(gap.name, []), whole]
    return params


def with_optional_slash(pattern: Pattern) -> Pattern:
    """From the first optional parameter on all is optional, the slash before it too."""
    first = next(
        (i for i, each in enumerate(pattern) if isinstance(each, Gap) and each.optional), None
    )
    if first is None:
        return pattern
    head = list(pattern[:first])
    end = [each._replace(optional=True) for each in pattern[first:]]
    if head and isinstance(head[-1], Text) and head[-1].text.endswith("/"):
        head[-1] = Text(head[-1].text[:-1])
        end.insert(0, Text("/", optional=True))
    return (*head, *end)


def best(routes: list[Route], event: str, path: str) -> list[Route]:
    """The routes that may win; the path is decoded for matching."""
    for key in (event, "*"):
        matching = [
            (kind_of(route.pattern), route)
            for route in routes
            if route.event == key and params_of(route.pattern, path) is not None
        ]
        if matching:
            kind = min(each for each, _ in matching)
            some = [route for each, route in matching if each == kind]
            if not any(is_optional(route.pattern) for route in some):
                some = [min(some, key=rank)]
            return some
    return []


def is_optional(pattern: Pattern) -> bool:
    """Whether there is an optional end."""
    return any(isinstance(each, Gap) and each.optional for each in pattern)


def kind_of(pattern: Pattern) -> int:
    """Static, parametric, with an optional end, wildcard."""
    gaps = [each for each in pattern if isinstance(each, Gap)]
    if any(gap.wild for gap in gaps):
        return 3
    return 2 if is_optional(pattern) else bool(gaps)


LONGEST = 20


def rank(route: Route) -> tuple[int, list[int], list[int], int]:
    """More static text, earlier text, a regex before a bare parameter, the first added."""
    texts = [-len(each.text) if isinstance(each, Text) else 0 for each in route.pattern]
    gaps = [-(each.regex is not None) for each in route.pattern if isinstance(each, Gap)]
    padding = [0] * LONGEST
    return sum(texts), (texts + padding)[:LONGEST], (gaps + padding)[:LONGEST], route.order


# --- patterns and paths ---

REGEXES = [r"\d+", "[ab]+", r"\w*", ".+", "[^/]+", "a|b", r"\d{2}"]
"""Those that take the longest text first, as the reference does."""

NAMES = ["x", "y", "z"]
CHARACTERS = "/-ab1.:é"
VALUES = ["a", "b", "1", "12", "ab", "a-b", "a/b", "", "é", "-", "a:", "a\nb", "\u2028"]


def make_pattern(random: Random) -> Pattern:
    """A pattern that is none of the bad ones, without the slash that is dropped."""
    parts: list[Text | Gap] = [Text("/" + _text(random, 0, 3))]
    for _ in range(random.choice([0, 1, 1, 2, 2, 3])):
        wild = random.random() < 0.25
        regex = random.choice(REGEXES) if random.random() < 0.3 else None
        parts.append(Gap("*" if wild else random.choice(NAMES), wild, regex))
        # A name ends at a slash or a hyphen, a wildcard before anything but another.
        text = _text(random, 0, 2)
        if regex is None and not wild:
            text = random.choice("/-") + text
        elif not text:
            text = random.choice("/-a")
        parts.append(Text(text))
    if random.random() < 0.3:
        for _ in range(random.choice([1, 1, 2])):
            if isinstance(parts[-1], Gap):
                parts.append(Text(random.choice("/-")))
            wild = random.random() < 0.3
            regex = random.choice(REGEXES) if random.random() < 0.2 else None
            name = "*" if wild else random.choice(NAMES)
            parts.append(Gap(name, wild, regex, optional=True))
    elif random.random() < 0.7 and len(parts) > 1:
        parts.pop()
    if parts[-1] == Text("/") and len(parts) == 1:
        return tuple(parts)
    if isinstance(parts[-1], Text) and parts[-1].text.endswith("/"):
        parts[-1] = Text(parts[-1].text + "b")
    return tuple(parts)


def make_alike(random: Random, path: str) -> Pattern:
    """A pattern that matches ``path``: a few of these compete for it."""
    parts: list[Text | Gap] = []
    pieces = re.findall("[/-]|[^/-]+", path)
    while pieces:
        piece = pieces.pop(0)
        if piece not in ("/", "-") and random.random() < 0.4:
            fitting = [each for each in REGEXES if re.fullmatch(each, piece)]
            regex = random.choice(fitting) if fitting and random.random() < 0.4 else None
            parts.append(Gap(random.choice(NAMES), regex=regex))
        elif piece == "/" and pieces and random.random() < 0.12:
            parts += [Text("/"), Gap("*", wild=True)]
            del pieces[: random.randint(1, len(pieces))]
        else:
            parts.append(Text(piece))
    joined: list[Text | Gap] = []
    for part in parts:
        if joined and isinstance(part, Text) and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    return tuple(joined)


def _text(random: Random, least: int, most: int) -> str:
    return "".join(random.choices(CHARACTERS, k=random.randint(least, most)))


def shown(random: Random, pattern: Pattern) -> str:
    """The pattern as somebody may write it."""
    if pattern == (Text("/"),):
        return random.choice(["", "/"])
    out: list[str] = []
    for part in pattern:
        if isinstance(part, Text):
            out.append(part.text.replace(":", "\\:"))
        else:
            regex = "" if part.regex is None else f"({part.regex})"
            name = random.choice(["*", "**"]) if part.wild else f":{part.name}"
            out.append(f"{name}{regex}{'?' if part.optional else ''}")
    text = "".join(out)
    if not text.startswith("//") and random.random() < 0.2:
        text = text[1:]
    return text + random.choice(["", "", "/"])


def make_path(random: Random, patterns: list[Pattern]) -> str:
    """A path that a pattern may match, or only nearly, or not at all."""
    if random.random() < 0.2:
        return "/" + "".join(random.choices("/-ab1.%?\n2F\ud800é", k=random.randint(0, 10)))
    if random.random() < 0.1:
        return "/" + "".join(random.choices("//--ab", k=random.randint(3, 12)))
    path = ""
    for part in random.choice(patterns):
        if isinstance(part, Text):
            path += part.text
        elif not (part.optional and random.random() < 0.3):
            path += random.choice(VALUES)
    out = ""
    for char in path:
        roll = random.random()
        if roll < 0.04:
            out += "".join(f"%{byte:02x}" for byte in char.encode())
        elif roll < 0.06:
            out += random.choice("/-ab1%\n")
        elif roll > 0.02 or len(path) > 14:
            out += char
    return out[:14] + random.choice(["", "", "", "/", "?x=/a", "%"])


# --- one case ---


def make_patterns(random: Random) -> list[Pattern]:
    """Patterns that have nothing to do with each other, or fight for the same path."""
    count = random.randint(1, 6)
    if random.random() < 0.15:
        return [make_costly(random) for _ in range(min(count, 2))]
    if random.random() < 0.4:
        return [make_pattern(random) for _ in range(count)]
    path = "".join(
        random.choice("/-" if i else "/") + random.choice(["a", "b", "1", "ab", "12"])
        for i in range(random.randint(1, 4))
    )
    return [make_alike(random, path) for _ in range(count)]


def check(random: Random) -> str | None:
    """Build a router of random patterns and ask it for a few paths; None if all is right."""
    router: WsRouter[int] = WsRouter()
    routes: dict[object, Route] = {}
    written: list[tuple[str, str, int]] = []
    patterns = make_patterns(random)
    for number, pattern in enumerate(patterns):
        event = random.choice(["message", "message", "*", "other"])
        text = shown(random, pattern)
        router.add(event, text, number)
        written.append((event, text, number))
        nameless = tuple(
            each if isinstance(each, Text) else each._replace(name="") for each in pattern
        )
        route = routes.setdefault((event, nameless), Route(event, pattern, number, []))
        route.handlers.append(number)
    if router.routes() != written:
        return f"routes() lists {router.routes()}, and added were {written}"
    memo: RouteMemo[int] = RouteMemo(router)
    for _ in range(4):
        path = make_path(random, patterns)
        event = random.choice(["message", "message", "other", "none", "*"])
        told = _differs(router, memo, list(routes.values()), event, path)
        if told is not None:
            return f"{written} on {event} {path!r}: {told}"
    return None


def _differs(
    router: WsRouter[int], memo: RouteMemo[int], routes: list[Route], event: str, path: str
) -> str | None:
    match = router.lookup(event, path)
    path_to_match = decoded(path.split("?")[0], RESERVED)
    some = best(routes, event, path_to_match)
    for _ in range(2):
        kept = memo.find(event, path)
        if kept != (None if match is None else (match.handlers, match.params)):
            return f"the memo found {kept}, and the router {match}"
        if kept is not None:
            kept[1]["spoilt"] = "yes"
    if match is None or not some:
        return None if match is None and not some else f"{match}, and it should be {some}"
    for route in some:
        if match.handlers == tuple(route.handlers):
            got = {name: value for name, value in match.params.items() if value != []}
            params = params_of(route.pattern, path_to_match)
            return None if got == params else f"params {got}, and they should be {params}"
    return f"{match}, and it should be one of {some}"


# --- cost ---


class Path(str):
    """A path that counts the characters that searches in it look at."""

    looked_at = 0

    def find(self, text: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # narrower is enough here
        """Search from the left."""
        found = super().find(text, start, end)
        self.looked_at += (len(self) if found < 0 else found) - start
        return found

    def rfind(self, text: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # narrower is enough here
        """Search from the right."""
        found = super().rfind(text, start, end)
        self.looked_at += (len(self) if end is None else end) - max(found, start)
        return found


def steps(router: WsRouter[int], text: str) -> int:
    """Calls and characters that one lookup takes: they do not depend on the machine."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    path = Path(text)
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        router.lookup("message", path)
    finally:
        sys.setprofile(before)
    return count + path.looked_at


def make_costly(random: Random) -> Pattern:
    """Many gaps, each of which could end at many places."""
    parts: list[Text | Gap] = [Text("/")]
    for _ in range(random.randint(2, 5)):
        wild = random.random() < 0.6
        parts.append(Gap("*" if wild else "x", wild))
        parts.append(Text(random.choice(["/", "-"]) + random.choice(["", "", "a", "a/", "a-"])))
    return (*parts, Gap("*", wild=True)) if random.random() < 0.5 else (*parts, Text("b"))


def check_cost(random: Random) -> str | None:
    """A path of twice the length takes about twice the steps, whatever the pattern."""
    pattern = make_costly(random) if random.random() < 0.8 else make_pattern(random)
    text = shown(random, pattern)
    router: WsRouter[int] = WsRouter()
    router.add("message", text, 0)
    static = [each.text for each in pattern if isinstance(each, Text)]
    # What may end a gap, again and again, between a beginning and an end that may not fit.
    texts = [*static, "".join(static), "/", "-", "a", "\n", ""]
    start, piece, other, end = random.choices(texts, k=4)
    short, long = (steps(router, f"/{start}{(piece + other) * n}{end}") for n in (50, 100))
    if long > 2.5 * short + 100:
        return f"{text!r} on {start!r}, {piece + other!r}, {end!r}: {short} steps, then {long}"
    return None

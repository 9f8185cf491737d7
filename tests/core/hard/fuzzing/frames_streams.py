"""Streams of frames, most of them nearly right: that is where receive paths go wrong."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple

from tests.core.hard.fuzzing.frames_reference import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Limits,
)

if TYPE_CHECKING:
    from random import Random

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

APPS = {
    "small": Limits(300, slow_connect=False),
    "large": Limits(100_000, slow_connect=False),
    "slow": Limits(300, slow_connect=True),
}


class Cut(NamedTuple):
    """Where one segment ends; after it the server may come to rest before the next."""

    at: int
    rest: bool


class Stream(NamedTuple):
    """What one client sends, and how it arrives.

    Attributes:
        app: Which of APPS it talks to.
        frames: Its bytes in pieces, one for each frame or bit of garbage.
        cuts: Where its segments end, the handshake included.
        eager: Whether the transport delivers although reading is paused.
        blocked: The segments before which writing stops and resumes.
    """

    app: str
    frames: tuple[bytes, ...]
    cuts: tuple[Cut, ...] = ()
    eager: bool = False
    blocked: tuple[int, int] | None = None

    @property
    def bytes(self) -> bytes:
        """All that is sent behind the handshake."""
        return b"".join(self.frames)

    @property
    def end(self) -> int:
        """Where the last segment ends."""
        return len(HANDSHAKE) + sum(map(len, self.frames))


def frame(
    payload: bytes,
    opcode: int,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\0\0\0\0",
    size: int | None = None,
    width: int = 0,
) -> bytes:
    """The bytes of a frame, as wrong as asked; ``size`` is what it claims, ``width`` how."""
    size = len(payload) if size is None else size
    bit = 0 if mask is None else 0x80
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if width < 2 and size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif width < 8 and size < 65_536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if mask is None:
        return head + payload
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + mixed.to_bytes(len(payload), "big")


# --- documents ---

EVENTS = ["echo", "wait", "fail", "push", "kind"]
SCALARS = [
    *("null", "true", "false", "0", "-0", "1.5", "1e999", "-1e999", "12345678901234567890"),
    *(
        '""',
        '"a"',
        '"\\u00e9é"',
        '"\\ud83d\\ude00"',
        '"\\ud83d"',
        '"\\ude00\\ud83dx"',
        '"\\\\ud83d"',
    ),
    *("[]", "{}", "[1,[2]]", '{"a":{"b":null}}', '[" "," "]', '{"id":7,"event":"x"}', "[[],{}]"),
]
IDS = [
    *("1", "0", "-7", "1.50", "1e3", "1e999", '"a"', '""', '"\\u0061"', '"\\ud83d"', '"é"', "null"),
    *("true", "[]", "{}", '"\\ud83d\\ude00"', "99999999999999999999"),
]
TOKENS = [
    *("{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "\\ud83d", "\\ude00", " ", "\n", "\t", "\0"),
    *("null", "true", "tru", "1", "01", "-", ".", "e", "1e9", "NaN", "Infinity", '"event"'),
    *('"path"', '"data"', '"id"', '"/e"', '"echo"', "é", "\u2028", "\ufeff", "😀", "/*", "'"),
]
BAD_UTF8 = [
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\x80",
]


def document(random: Random, limits: Limits) -> bytes:
    """A message, perhaps of an interesting length, perhaps not quite one."""
    event = random.choice(EVENTS)
    members = [("event", json.dumps(event)), ("path", '"/e"')]
    if random.random() < 0.05:
        where = random.choice(["/none", "/e?x=1", "/%65", "e", "", "/e/", "\ud800", "/é"])
        members[1] = ("path", json.dumps(where))
    if random.random() < 0.8:
        members.append(("id", random.choice(IDS) if random.random() < 0.3 else number(random)))
    if random.random() < 0.75:
        members.append(("data", value(random)))
    if random.random() < 0.1:
        members.append((random.choice(["x", "id", "event", "data", "path", ""]), value(random)))
    if random.random() < 0.1:
        random.shuffle(members)
    colon, comma = (random.choice([": ", " : ", ":\t"]), ", ") if random.random() < 0.2 else ":,"
    text = comma.join(f'"{name}"{colon}{value}' for name, value in members)
    made = f"{{{text}}}".encode("utf-8", "surrogatepass")
    roll = random.random()
    if roll < 0.15:
        return padded(made, edge(random, limits))
    if roll < 0.3:
        return mutated(random, made)
    return made


def number(random: Random) -> str:
    """An id that is not likely to come twice."""
    return str(random.randrange(1_000_000))


def value(random: Random) -> str:
    """Any JSON value, the nasty ones among them."""
    roll = random.random()
    if roll < 0.7:
        return random.choice(SCALARS)
    if roll < 0.99:
        return json.dumps("x" * random.randrange(60))
    depth = random.choice([30, 150, 40_000])
    return "[" * depth + "]" * depth


def edge(random: Random, limits: Limits) -> int:
    """A length at which something changes: in the frame's head, or in what is allowed."""
    edges = [125, 126, 127, 128, limits.message, limits.message + 1]
    if limits.message > 10_000 and random.random() < 0.3:
        edges = [4095, 4096, 4097, 8192, 65_535, 65_536, 65_537]
    return random.choice(edges)


def padded(made: bytes, size: int) -> bytes:
    """A document of ``size`` bytes, where it is not longer already: spaces are harmless."""
    return made + b" " * (size - len(made))


def mutated(random: Random, made: bytes) -> bytes:
    """A document with a few bytes or tokens put in, taken out, exchanged or cut off."""
    out = bytearray(made)
    for _ in range(random.randint(1, 3)):
        at = random.randint(0, len(out))
        kind = random.randrange(6)
        token = random.choice(TOKENS).encode()
        if kind == 0:
            out[at:at] = token
        elif kind == 1:
            del out[at : at + random.randint(1, 8)]
        elif kind == 2:
            out[at : at + 1] = token
        elif kind == 3:
            out[at : at + 1] = bytes([random.randrange(128)])
        elif kind == 4:
            out[at:at] = bytes(out[random.randint(0, len(out)) :][: random.randint(1, 20)])
        else:
            del out[at:]
    return bytes(out)


def soup(random: Random) -> bytes:
    """Tokens in any order."""
    return "".join(random.choices(TOKENS, k=random.randint(0, 12))).encode()


# --- frames ---


def mask(random: Random) -> bytes:
    """A key: mostly any, sometimes one that hides a mistake or shows it."""
    return b"\0\0\0\0" if random.random() < 0.05 else random.randbytes(4)


def control(random: Random) -> bytes:
    """A ping or a pong."""
    payload = random.randbytes(random.choice([0, 0, 1, 4, 5, 124, 125]))
    return frame(payload, random.choice([PING, PING, PONG]), mask=mask(random))


def fragments(random: Random, payload: bytes, opcode: int) -> list[bytes]:
    """A message in pieces, with control frames between them."""
    pieces = random.randint(2, 5)
    ends = sorted(random.randint(0, len(payload)) for _ in range(pieces - 1))
    out: list[bytes] = []
    start = 0
    for place, end in enumerate([*ends, len(payload)]):
        last = place == pieces - 1
        out.append(
            frame(payload[start:end], opcode if not place else CONT, fin=last, mask=mask(random))
        )
        start = end
        if not last and random.random() < 0.4:
            out.append(control(random))
    return out


def harmless(random: Random, limits: Limits) -> list[bytes]:
    """Frames that no connection ends from."""
    roll = random.random()
    if roll < 0.15:
        return [control(random)]
    if roll < 0.25:
        payload = soup(random) + random.choice([b"", *BAD_UTF8]) + soup(random)
        return [frame(payload, BINARY, mask=mask(random))]
    payload = document(random, limits)
    opcode = BINARY if roll < 0.35 else TEXT
    if roll > 0.85:
        return fragments(random, payload, opcode)
    width = random.choice([2, 8]) if random.random() < 0.02 else 0
    return [frame(payload, opcode, mask=mask(random), width=width)]


def hostile(random: Random, limits: Limits) -> list[bytes]:
    """Frames that end most connections."""
    payload = document(random, limits)
    key = mask(random)
    kind = random.randrange(13)
    if kind == 0:
        return [frame(payload, random.choice([TEXT, PING]), rsv=random.randint(1, 7), mask=key)]
    if kind == 1:
        opcode = random.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
        return [frame(payload, opcode, mask=key)]
    if kind == 2:
        return [frame(payload, random.choice([TEXT, BINARY, PING]), mask=None)]
    if kind == 3:
        return [frame(payload[:125], PING, fin=False, mask=key)]
    if kind == 4:
        long = random.randbytes(random.choice([126, 127, 200]))
        return [frame(long, random.choice([PING, PONG, CLOSE]), mask=key)]
    if kind == 5:
        return [frame(payload, CONT, fin=random.random() < 0.5, mask=key)]
    if kind == 6:  # a message that is never ended, or runs into the next
        return [frame(payload, random.choice([TEXT, BINARY]), fin=False, mask=key)]
    if kind == 7:
        lie = max(0, len(payload) + random.choice([-5, -1, 1, 2, 60]))
        return [frame(payload, TEXT, mask=key, size=lie)]
    if kind == 8:
        size = random.choice([limits.hard, limits.hard + 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
        return [frame(payload, random.choice([TEXT, BINARY, PING]), mask=key, size=size)]
    if kind == 9:
        at = random.randint(0, len(payload))
        payload = payload[:at] + random.choice(BAD_UTF8) + payload[at:]
        if random.random() < 0.5:
            return fragments(random, payload, TEXT)
        return [frame(payload, TEXT, mask=key)]
    if kind == 10:
        return [random.randbytes(random.randint(1, 40))]
    return swollen(random, limits)


def swollen(random: Random, limits: Limits) -> list[bytes]:
    """A message of about the hard limit, whole or in fragments that add up to it."""
    if limits.message > 1000:
        return [control(random)]
    if random.random() < 0.5:
        whole = b" " * (limits.hard + random.choice([-1, 0, 1, 100]))
        return [frame(whole, random.choice([TEXT, BINARY]), mask=mask(random))]
    each = b" " * (limits.hard // 4)
    last = b" " * random.choice([0, 1, 2])
    return [
        frame(each, TEXT, fin=False, mask=mask(random)),
        *[frame(each, CONT, fin=False, mask=mask(random)) for _ in range(3)],
        frame(last, CONT, mask=mask(random)),
    ]


def closing(random: Random) -> list[bytes]:
    """A CLOSE, right or wrong, or a message whose handler closes."""
    roll = random.random()
    if roll < 0.3:
        made = b'{"event":"close","path":"/e","id":1}'
        return [frame(made, TEXT, mask=mask(random))]
    code = random.choice([1000, 1001, 1003, 1007, 1014, 3000, 4000, 4999])
    if roll < 0.5:
        code = random.choice([0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])
    payload = code.to_bytes(2, "big") + random.choice([b"", b"bye", "ü".encode(), b"x" * 123])
    if roll > 0.9:
        payload = random.choice([b"", b"\x03", payload[:2] + random.choice(BAD_UTF8)])
    return [frame(payload, CLOSE, mask=mask(random))]


# --- streams ---


def make_stream(random: Random) -> Stream:
    """Any stream; the frames are the simpler, and the more alike, the smaller the draws."""
    app = random.choices(list(APPS), [6, 1, 1])[0]
    limits = APPS[app]
    frames: list[bytes] = []
    rough = random.random() < 0.4
    for _ in range(random.randint(1, 24)):
        frames += harmless(random, limits)
        roll = random.random()
        if rough and roll < 0.12:
            frames += hostile(random, limits)
        elif rough and roll < 0.18:
            frames += closing(random)
    if rough and random.random() < 0.2:
        frames[-1] = frames[-1][: random.randint(0, len(frames[-1]))]
    cuts = make_cuts(random, frames)
    blocked = None
    if random.random() < 0.1:
        first = random.randint(0, len(cuts))
        blocked = (first, random.randint(first, len(cuts) + 1))
    return Stream(app, tuple(frames), cuts, random.random() < 0.1, blocked)


def make_cuts(random: Random, frames: list[bytes]) -> tuple[Cut, ...]:
    """Where the segments end: nowhere, anywhere, near the ends of frames, or everywhere."""
    begin = len(HANDSHAKE)
    end = begin + sum(map(len, frames))
    style = random.randrange(6)
    places: set[int] = set()
    if style < 4:
        places = {random.randint(1, end) for _ in range(random.randint(0, 6))}
    if style in (2, 3):
        places.add(begin)
        ends = begin
        for each in frames:
            ends += len(each)
            if random.random() < 0.4:
                places.add(ends + random.choice([-1, 0, 0, 0, 1, 2, 3, 5, 6, 7, 8, 9]))
    elif style == 4 and end - begin < 1500:
        places = set(range(begin, end))
    rest = random.choice([0.0, 0.0, 0.3, 1.0])
    return tuple(Cut(place, random.random() < rest) for place in sorted(places) if 0 < place < end)

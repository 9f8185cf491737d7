"""RFC 6455 as a table, in the manner of the Autobahn test suite: bytes in, frames out.

Sections have Autobahn's numbers. What the answer must be is taken from the RFC, and
where that leaves it open from the wire protocol's own rules, never from what the server
happens to do. ``test_rfc6455.py`` plays the cases; section 9, the sizes, is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

MASK = b"\x37\xfa\x21\x3d"
"""The RFC's own example; the same in every run."""


class Case(NamedTuple):
    """One row.

    Attributes:
        sent: What is written, one write each.
        back: The frames that must come back, pongs and others each in order, and no other.
        code: Of the CLOSE that follows them; None where the connection stays open.
        piece: Cut every write to so many bytes; 0 leaves them whole.
        dropped: The messages that must be counted as dropped, by reason.
    """

    sent: tuple[bytes, ...]
    back: tuple[tuple[int, bytes], ...] = ()
    code: int | None = None
    piece: int = 0
    dropped: Mapping[str, int] = {}


Rows = Iterator[tuple[str, Case]]


def xor(data: bytes, mask: bytes) -> bytes:
    """Mask or unmask."""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return mixed.to_bytes(len(data), "big")


def head(opcode: int, size: int, *, fin: bool = True, form: int = 0) -> bytes:
    """The first bytes of a masked frame; ``form`` 126 or 127 forces a longer length."""
    first = (0x80 if fin else 0) | opcode
    if form == 0:
        form = size if size < 126 else 126 if size < 65_536 else 127
    extended = {126: struct.pack("!H", size & 0xFFFF), 127: struct.pack("!Q", size)}
    return bytes([first, 0x80 | form]) + extended.get(form, b"")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    mask: bytes = MASK,
    form: int = 0,
) -> bytes:
    """A frame of a client, with whatever is wrong about it."""
    start = bytearray(head(opcode, len(payload), fin=fin, form=form))
    start[0] |= rsv << 4
    if masked:
        return bytes(start) + mask + xor(payload, mask)
    start[1] &= 0x7F
    return bytes(start) + payload


def fragments(opcode: int, parts: Iterable[bytes], *between: bytes) -> bytes:
    """A message in fragments, with the same frames between each two."""
    parts = list(parts)
    frames = [
        frame(CONT if number else opcode, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return b"".join(between).join(frames)


def split(payload: bytes, size: int) -> list[bytes]:
    """Cut to pieces."""
    return [payload[start : start + size] for start in range(0, len(payload), size)]


ASKED = b'{"event":"echo","path":"/","id":1,"data":"%b"}'
SHORTEST = len(ASKED) - 2


def ask(data: bytes) -> bytes:
    """A message whose reply is ``answer(data)``; ``data`` is what stands between the quotes."""
    return ASKED % data


def answer(data: bytes) -> tuple[int, bytes]:
    return TEXT, b'{"id":1,"data":"%b"}' % data


def sized(size: int, fill: bytes = b"*") -> bytes:
    """A message of exactly so many bytes."""
    return ask(fill * (size - SHORTEST))


def sized_answer(size: int) -> tuple[int, bytes]:
    return answer(b"*" * (size - SHORTEST))


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


GOOD = frame(TEXT, ask(b"before")), answer(b"before")
MORE = frame(TEXT, ask(b"after"))
AFTER = MORE + frame(PING, b"after")
"""What must not be answered any more."""


def refused(*broken: bytes, code: int = 1002, piece: int = 0) -> Case:
    """What ends the connection, between a message that is answered and two that are not."""
    sent, back = GOOD
    # A ping behind text that is not UTF-8 may be answered: pongs overtake what is handled.
    after = MORE if code == 1007 else AFTER
    return Case((sent + b"".join(broken) + after,), (back,), code, piece)


KINDS = {"text": TEXT, "binary": BINARY}


def framing() -> Rows:
    for kind, opcode in KINDS.items():
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536):
            for piece in (0, 1, 2) if size < 1000 else (0, 997):
                how = f" in pieces of {piece}" if piece else ""
                payload = sized(size) if size > 1 else b"*" * size
                back = (sized_answer(size),) if size > 1 else ()
                dropped = {} if size > 1 else {"json": 1}
                row = Case((frame(opcode, payload),), back, None, piece, dropped)
                yield f"1.1 {kind} of {size} bytes{how}", row
    for size, form in ((SHORTEST, 126), (SHORTEST, 127), (125, 126), (128, 127), (65_535, 127)):
        # The RFC asks a sender for the shortest form; the library reads the others too.
        sent = frame(TEXT, sized(size), form=form)
        yield f"1.2 {size} bytes with a length of form {form}", Case((sent,), (sized_answer(size),))
    for form in (126, 127):
        sent = frame(PING, b"ping", form=form)
        yield f"1.2 a ping with a length of form {form}", Case((sent,), ((PONG, b"ping"),))
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0"):
        sent = frame(TEXT, sized(130), mask=mask)
        yield f"1.3 a mask of {mask.hex()}", Case((sent,), (sized_answer(130),))
    for size in range(SHORTEST, SHORTEST + 9):
        sent = frame(BINARY, sized(size)) + frame(PING, b"p")
        yield f"1.3 {size} bytes unmasked whole", Case((sent,), (sized_answer(size), (PONG, b"p")))
    for name, opcode in {**KINDS, "ping": PING, "pong": PONG, "CLOSE": CLOSE}.items():
        payload = b"\x03\xe8" if opcode == CLOSE else ask(b"")
        yield f"1.4 {name} without a mask", refused(frame(opcode, payload, masked=False))
        yield f"1.4 empty {name} without a mask", refused(frame(opcode, masked=False))
    lone = frame(TEXT, ask(b"")[:5], fin=False) + frame(CONT, ask(b"")[5:], masked=False)
    yield "1.4 a fragment without a mask", refused(lone)
    wrong = frame(TEXT, xor(ask(b""), b"\x80\x80\x80\x80"))
    yield "1.5 text masked with another mask, no UTF-8 any more", refused(wrong, code=1007)
    wrong = frame(TEXT, xor(ask(b""), b"\1\1\1\1"))
    row = Case((wrong + GOOD[0],), (GOOD[1],), dropped={"json": 1})
    yield "1.5 text masked with another mask, no JSON any more", row


def pings() -> Rows:
    every = [bytes(range(size)) for size in range(126)]
    answers = tuple((PONG, payload) for payload in every)
    for piece in (0, 1):
        sent = b"".join(frame(PING, payload) for payload in every[-20 if piece else 0 :])
        row = Case((sent,), answers[-20 if piece else 0 :], piece=piece)
        yield f"2.1 pings of every size{' by the byte' * piece}", row
    yield "2.2 each ping in a write", Case(tuple(frame(PING, p) for p in every[:10]), answers[:10])
    yield (
        "2.3 a ping of bytes that are no UTF-8",
        Case((frame(PING, b"\xfe" * 125),), ((PONG, b"\xfe" * 125),)),
    )
    for name, opcode in {"ping": PING, "pong": PONG}.items():
        for size in (126, 127, 65_536):
            yield f"2.4 a {name} of {size} bytes", refused(frame(opcode, b"p" * size))
    for size in (0, 1, 125):
        yield f"2.5 a pong of {size} bytes that nobody asked for", Case((frame(PONG, b"p" * size),))
    sent = frame(PONG, b"p") + frame(PING, b"q") + frame(PONG, b"q")
    yield "2.6 a ping between pongs", Case((sent,), ((PONG, b"q"),))
    sent = b"".join(
        frame(PING, b"%d" % n) + frame(TEXT, ask(b"%d" % n)) + frame(PONG) for n in range(50)
    )
    both = [((PONG, b"%d" % n), answer(b"%d" % n)) for n in range(50)]
    yield "2.7 pings and pongs between messages", Case((sent,), tuple(sum(both, ())))
    sent = b"".join(frame(PING, b"%d" % n) for n in range(1000))
    yield "2.8 a thousand pings", Case((sent,), tuple((PONG, b"%d" % n) for n in range(1000)))


def reserved_bits() -> Rows:
    names = {"text": TEXT, "binary": BINARY, "CLOSE": CLOSE, "ping": PING, "pong": PONG}
    for rsv, bits in {4: "RSV1", 2: "RSV2", 1: "RSV3", 7: "RSV1-3"}.items():
        for name, opcode in names.items():
            payload = b"\x03\xe8" if opcode == CLOSE else ask(b"")
            yield f"3.1 {bits} in {name}", refused(frame(opcode, payload, rsv=rsv))
        lone = frame(TEXT, ask(b"")[:5], fin=False) + frame(CONT, ask(b"")[5:], rsv=rsv)
        yield f"3.2 {bits} in a continuation", refused(lone)
        yield f"3.3 {bits} in an empty text, by the byte", refused(frame(TEXT, rsv=rsv), piece=1)


def opcodes() -> Rows:
    for opcode in (*range(3, 8), *range(11, 16)):
        yield f"4.1 opcode {opcode:X}", refused(frame(opcode, ask(b"")))
        yield f"4.2 opcode {opcode:X}, empty, by the byte", refused(frame(opcode), piece=1)
        sent = frame(TEXT, ask(b"")[:5], fin=False) + frame(opcode)
        yield f"4.3 opcode {opcode:X} between fragments", refused(sent)


def fragmentation() -> Rows:
    whole, back = ask("µ@ßöäüàá".encode() * 9), answer("µ@ßöäüàá".encode() * 9)
    names = {"ping": PING, "pong": PONG, "CLOSE": CLOSE}
    for name, opcode in names.items():
        sent = frame(opcode, b"\x03\xe8", fin=False) + frame(CONT, b"")
        yield f"5.1 a {name} in fragments", refused(sent)
    for kind, opcode in KINDS.items():
        for count in (2, 3, 5, 20, len(whole)):
            parts = split(whole, -(-len(whole) // count))
            sent = fragments(opcode, parts)
            yield f"5.3 {kind} in {count} fragments", Case((sent,), (back,))
            apart = tuple(frame(CONT if n else opcode, p, fin=False) for n, p in enumerate(parts))
            row = Case((*apart, frame(CONT)), (back,))
            yield f"5.4 {kind} in {count} fragments, a write each, the last is empty", row
        sent = fragments(opcode, split(whole, 1))
        yield f"5.5 {kind} in fragments, by the byte", Case((sent,), (back,), piece=1)
        pinged = fragments(opcode, split(whole, 30), frame(PING, b"p"), frame(PONG, b"q"))
        count = len(split(whole, 30)) - 1
        for piece in (0, 1):
            row = Case((pinged,), ((PONG, b"p"),) * count + (back,), piece=piece)
            yield f"5.6 {kind} with pings and pongs between{' by the byte' * piece}", row
        for which, parts in {
            "first": [b"", whole],
            "last": [whole, b""],
            "middle": [whole[:9], b"", b"", whole[9:]],
        }.items():
            row = Case((fragments(opcode, parts),), (back,))
            yield f"5.7 {kind}, the {which} one is empty", row
        empty = fragments(opcode, [b"", b"", b""])
        yield f"5.7 {kind}, all are empty", Case((empty,), dropped={"json": 1})
    for fin in (True, False):
        for size in (0, 5):
            nothing = frame(CONT, ask(b"")[:size], fin=fin)
            yield f"5.9 a continuation of nothing, {size} bytes, fin {fin:d}", refused(nothing)
            yield (
                f"5.15 a continuation of what has ended, {size} bytes, fin {fin:d}",
                Case((fragments(TEXT, [whole[:9], whole[9:]]) + nothing + AFTER,), (back,), 1002),
            )
        for kind, opcode in KINDS.items():
            within = frame(TEXT, whole[:9], fin=False) + frame(opcode, ask(b""), fin=fin)
            yield f"5.18 {kind} within a message, fin {fin:d}", refused(within)
    many = sized(5000)
    row = Case((fragments(TEXT, split(many, 1)),), (sized_answer(5000),))
    yield "5.19 five thousand fragments of a byte", row
    row = Case((fragments(TEXT, [many[:9], *[b""] * 5000, many[9:]]),), (sized_answer(5000),))
    yield "5.19 five thousand empty fragments", row
    pinged = fragments(TEXT, split(many, 5), frame(PING, b"p"))
    row = Case((pinged,), ((PONG, b"p"),) * 999 + (sized_answer(5000),))
    yield "5.20 a thousand fragments, a ping between each two", row
    both = fragments(BINARY, [whole[:9], whole[9:]]) + GOOD[0] + fragments(TEXT, [whole, b""])
    yield "5.21 message after message, in fragments and whole", Case((both,), (back, GOOD[1], back))


VALID = {
    "U+007F": b"\x7f",
    "U+0080": b"\xc2\x80",
    "U+07FF": b"\xdf\xbf",
    "U+0800": b"\xe0\xa0\x80",
    "U+D7FF": b"\xed\x9f\xbf",
    "U+E000": b"\xee\x80\x80",
    "U+FEFF": b"\xef\xbb\xbf",
    "U+FFFD": b"\xef\xbf\xbd",
    "U+FFFE": b"\xef\xbf\xbe",
    "U+FFFF": b"\xef\xbf\xbf",
    "U+10000": b"\xf0\x90\x80\x80",
    "U+1FFFF": b"\xf0\x9f\xbf\xbf",
    "U+10FFFF": b"\xf4\x8f\xbf\xbf",
    "words": "Hello-µ@ßöäüàá-UTF-8!! κόσμε 🎉".encode(),
}

INVALID = {
    "overlong": ("c0af", "c1bf", "e080af", "e09fbf", "f08080af", "f08fbfbf", "f880808080af"),
    "overlong NUL": ("c080", "e08080", "f0808080", "fc8080808080"),
    "a surrogate": ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"),
    "a pair of surrogates": ("eda080edb080", "edafbfedbfbf"),
    "beyond U+10FFFF": ("f4908080", "f5808080", "f7bfbfbf", "f888808080", "fc8480808080"),
    "a continuation byte": ("80", "bf", "80bf80", "c3bf80"),
    "a start byte": ("c3", "df", "e1", "ef", "f0", "f4", "e1bd", "f09f8e", "c3c3", "e1bde1bd"),
    "no byte of UTF-8": ("fe", "ff", "fefeffff"),
}


def utf8() -> Rows:
    for kind, opcode in KINDS.items():
        row = Case((frame(opcode, b"") + fragments(opcode, [b"", b""]),), dropped={"json": 2})
        yield f"6.1 empty {kind}", row
        for name, valid in VALID.items():
            whole, back = ask(valid), answer(valid)
            start = whole.index(valid)
            cuts = range(start, len(whole) - 1)
            apart = tuple(fragments(opcode, [whole[:cut], whole[cut:]]) for cut in cuts)
            row = Case((frame(opcode, whole), *apart), (back,) * (len(cuts) + 1))
            yield f"6.2 {kind} with {name}, whole and cut anywhere", row
            sent = fragments(opcode, split(whole, 1), frame(PING))
            row = Case((sent,), (*((PONG, b""),) * (len(whole) - 1), back))
            yield f"6.4 {kind} with {name}, fragments of a byte and pings between", row
        row = Case((frame(opcode, ask(b"\0")),), dropped={"json": 1})
        yield f"6.5 NUL is UTF-8 and no JSON, {kind}", row
    for name, values in INVALID.items():
        for value in values:
            bad = bytes.fromhex(value)
            whole = ask(bad)
            start = whole.index(bad)
            yield f"6.6 {name}, {value}", refused(frame(TEXT, whole), code=1007)
            cut = start + len(bad) // 2
            sent = fragments(TEXT, [whole[:cut], whole[cut:]])
            yield f"6.7 {name}, {value}, cut in the middle", refused(sent, code=1007)
            sent = fragments(TEXT, split(whole, 1))
            yield f"6.8 {name}, {value}, by the byte", refused(sent, code=1007, piece=1)
            if name == "a start byte":
                yield f"6.9 {name}, {value}, at the end", refused(frame(TEXT, bad), code=1007)
        wholes = [ask(bytes.fromhex(value)) for value in values]
        sent = b"".join(frame(BINARY, w) + fragments(BINARY, split(w, 9)) for w in wholes)
        row = Case((sent + GOOD[0],), (GOOD[1],), dropped={"utf8": 2 * len(values)})
        yield f"6.10 {name}, binary", row


def closing() -> Rows:
    message, back = GOOD
    yield "7.1 CLOSE without a code", Case((message + frame(CLOSE) + AFTER,), (back,), 1005)
    yield "7.1 CLOSE twice", Case((close(1000) * 2,), (), 1000)
    yield "7.1 two different CLOSEs", Case((close(3000) + close(4000),), (), 3000)
    yield "7.1 a broken frame after CLOSE", Case((close(1000) + b"\xff" * 20,), (), 1000)
    yield "7.1 half a frame after CLOSE", Case((close(1000) + message[:9],), (), 1000)
    # Autobahn's 7.1.5: a control frame may come between fragments, and CLOSE is one.
    open_message = frame(TEXT, b"a", fin=False)
    row = Case((message + open_message + close(1000) + frame(CONT) + AFTER,), (back,), 1000)
    yield "7.1 CLOSE between fragments", row
    row = Case((open_message, frame(CLOSE)), (), 1005)
    yield "7.1 CLOSE without a code between fragments", row
    yield "7.1 a bad CLOSE between fragments", refused(open_message, close(1005))
    yield "7.2 CLOSE by the byte", Case((message + close(1000, b"bye"),), (back,), 1000, 1)
    big = frame(TEXT, sized(256_000)) + close(1000) + frame(PING, b"p")
    yield "7.2 CLOSE behind a big message", Case((big,), (sized_answer(256_000),), 1000)
    yield "7.3 CLOSE of one byte", refused(frame(CLOSE, b"\x03"))
    for size in (1, 122, 123):
        row = Case((message + close(1000, b"*" * size) + AFTER,), (back,), 1000)
        yield f"7.4 a reason of {size} bytes", row
    yield "7.4 a reason of 123 bytes in UTF-8", Case((close(1000, "µ".encode() * 61),), (), 1000)
    yield "7.4 a reason of 124 bytes", refused(close(1000, b"*" * 124))
    for name, values in INVALID.items():
        bad = bytes.fromhex(values[0])
        yield f"7.5 a reason with {name}", refused(close(1000, b"bye " + bad), code=1007)
    for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
        row = Case((message + close(code, b"bye") + AFTER,), (back,), code)
        yield f"7.7 the code {code}", row
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield f"7.9 the code {code}", refused(close(code, b"bye" if code > 2000 else b""))


CASES: dict[str, Case] = {}
for section in (framing, pings, reserved_bits, opcodes, fragmentation, utf8, closing):
    for name, row in section():
        assert name not in CASES, name
        CASES[name] = row

"""Runs a stream through the real server and tells how that differs from the reference."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tests.core.hard.fuzzing.frames_reference import (
    BINARY,
    CLOSE,
    PONG,
    TEXT,
    Verdict,
    judge,
)
from tests.core.hard.fuzzing.frames_streams import APPS, HANDSHAKE, Stream
from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message
from wsrooms.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.core.hard.fuzzing.frames_reference import Limits

AnyProtocol = asyncio.Protocol | asyncio.BufferedProtocol

QUIET_TURNS = 4
"""Turns of the loop without any news, after which the server is at rest."""

PATIENCE = 20_000
"""Turns after which something hangs: a stream takes some hundreds."""


class Wire(asyncio.Transport):
    """A socket that is not there; it is as strict as the strictest loop's."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: AnyProtocol | None = None
        self.written = bytearray()
        self.paused = False
        self.closing = False
        self.half_closed = False
        self.gone = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing, "written after close()"
        assert not self.half_closed, "written after write_eof()"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.close()

    def _lost(self) -> None:
        assert self.protocol is not None
        self.protocol.connection_lost(None)
        self.gone.set()


class Notes:
    """What the handlers of one app did."""

    def __init__(self) -> None:
        self.running = 0
        self.ended: list[int | None] = []


def make_app(limits: Limits, notes: Notes) -> WsApp:
    """The app that the reference knows."""
    app = WsApp(max_message_size=limits.message, heartbeat_interval=None)

    @app.on_message("echo", "/e")
    def echo() -> object:
        return use_ws_message().data_raw

    @app.on_message("wait", "/e")
    async def wait() -> object:
        notes.running += 1
        await asyncio.sleep(0)
        notes.running -= 1
        return use_ws_message().data_raw

    @app.on_message("fail", "/e")
    def fail() -> None:
        raise WsError(418)

    @app.on_message("push", "/e")
    def push() -> None:
        use_ws_connection().send("pushed", "/p", use_ws_message().data_raw)

    @app.on_message("kind", "/e")
    def kind() -> str:
        return type(use_ws_message().data).__name__

    @app.on_message("close", "/e")
    def close() -> None:
        use_ws_connection().close(4001, "bye")

    @app.on_disconnect
    def ended() -> None:
        notes.ended.append(use_ws_connection().close_code)

    if limits.slow_connect:

        @app.on_connect
        async def connect() -> None:
            notes.running += 1
            for _ in range(3):
                await asyncio.sleep(0)
            notes.running -= 1

    return app


class Seen(NamedTuple):
    """What came of a stream."""

    output: bytes
    rested: list[int]  # how much had arrived each time that the server came to rest
    counted: dict[str, int]
    ended: list[int | None]
    logged: list[str]


class Log(logging.Handler):
    """Keeps what should not have been said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Bench:
    """The apps, running, with a socket that is not there for each stream."""

    def __init__(self) -> None:
        self.notes = {name: Notes() for name in APPS}
        self.apps = {name: make_app(APPS[name], self.notes[name]) for name in APPS}
        self._log = Log()
        self._factories: dict[str, Callable[[], AnyProtocol]] = {}
        self.frames = 0
        self.unsure = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        """Start the apps; end them afterwards."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._log.lines.append(repr(context)))
        logger = logging.getLogger("wsrooms")
        loggers = [logger, logging.getLogger("asyncio")]
        settings = ServerSettings(allowed_origins="same", logger=logger)
        async with contextlib.AsyncExitStack() as stack:
            for each in loggers:
                each.addHandler(self._log)
                stack.callback(each.removeHandler, self._log)
            for name, app in self.apps.items():
                await stack.enter_async_context(app.serving())
                listener = app._life.listener
                assert listener is not None
                factory = listener.factory(settings)
                self._factories[name] = cast("Callable[[], AnyProtocol]", factory)
            yield self

    async def check(self, stream: Stream) -> str | None:
        """How the server and the reference differ about ``stream``; None if they agree."""
        verdict = judge(stream.bytes, APPS[stream.app])
        if verdict.unsure_at is not None:
            self.unsure += 1
            stream = cut_off(stream, verdict.unsure_at)
            verdict = judge(stream.bytes, APPS[stream.app])
        self.frames += verdict.frames
        seen = await self.run(stream)
        return difference(verdict, seen)

    async def run(self, stream: Stream) -> Seen:
        """Let a client send ``stream``, and hang up when the server has come to rest."""
        notes, app = self.notes[stream.app], self.apps[stream.app]
        before = app.stats()
        self._log.lines.clear()
        notes.ended.clear()
        wire = Wire()
        protocol = wire.protocol = self._factories[stream.app]()
        protocol.connection_made(wire)
        rested: list[int] = []
        try:
            await self._feed(stream, wire, protocol, notes, rested)
            if not wire.closing and not protocol.eof_received():
                wire.close()
            await wire.gone.wait()
            await self._rest(wire, notes, lambda: app.stats()["connections"] == 0)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            wire.abort()
            self._log.lines.append(repr(error))
        after = app.stats()
        counted = {name: after[name] - before[name] for name in after}
        return Seen(bytes(wire.written), rested, counted, list(notes.ended), list(self._log.lines))

    async def _feed(
        self,
        stream: Stream,
        wire: Wire,
        protocol: AnyProtocol,
        notes: Notes,
        rested: list[int],
    ) -> None:
        whole = HANDSHAKE + stream.bytes
        start = 0
        stop, resume = stream.blocked or (-1, -1)
        blocked = False
        for number, (end, rest) in enumerate([*stream.cuts, (len(whole), True)]):
            if number == stop:
                protocol.pause_writing()
                blocked = True
            if number == resume and blocked:
                protocol.resume_writing()
                blocked = False
            turns = 0
            while wire.paused and not wire.closing and not stream.eager and turns < PATIENCE:
                turns += 1
                await asyncio.sleep(0)
            if wire.closing:
                return
            deliver(protocol, whole[start:end])
            start = end
            if rest and end < len(whole):
                await self._rest(wire, notes, lambda: True)
                rested.append(end - len(HANDSHAKE))
        if blocked:
            protocol.resume_writing()
        await self._rest(wire, notes, lambda: not wire.paused or wire.closing)

    async def _rest(self, wire: Wire, notes: Notes, so: Callable[[], bool]) -> None:
        """Turn the loop until nothing moves, no handler runs and ``so`` is so."""
        quiet = turns = 0
        last: object = None
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            turns += 1
            assert turns < PATIENCE, "it never comes to rest"
            now = len(wire.written), wire.paused, wire.closing
            still = now == last and not notes.running
            quiet = quiet + 1 if still and (quiet < QUIET_TURNS - 1 or so()) else 0
            last = now


def deliver(protocol: AnyProtocol, data: bytes) -> None:
    """Hand over a segment as a loop does."""
    if not isinstance(protocol, asyncio.BufferedProtocol):
        protocol.data_received(data)
        return
    while data:
        view = memoryview(protocol.get_buffer(len(data)))
        count = min(len(view), len(data))
        view[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


def cut_off(stream: Stream, at: int) -> Stream:
    """The beginning of a stream, up to what cannot be judged."""
    return stream._replace(
        frames=(stream.bytes[:at],),
        cuts=tuple(cut for cut in stream.cuts if cut.at < len(HANDSHAKE) + at),
    )


# --- comparing ---


class Out(NamedTuple):
    """A frame of the server."""

    opcode: int
    payload: bytes


def parse(output: bytes) -> list[Out]:
    """The frames that the server wrote: whole, final, unmasked, as short as they can be."""
    frames: list[Out] = []
    at = 0
    while at < len(output):
        first, size = output[at], output[at + 1]
        at += 2
        assert first & 0xF0 == 0x80, f"a first byte of {first:#x}"
        if size == 126:
            size, at = int.from_bytes(output[at : at + 2], "big"), at + 2
            assert size > 125, "a length that is too wide"
        elif size == 127:
            size, at = int.from_bytes(output[at : at + 8], "big"), at + 8
            assert size > 65_535, "a length that is too wide"
        assert size <= len(output) - at, "a frame that is cut off"
        frames.append(Out(first & 15, output[at : at + size]))
        at += size
    return frames


def difference(verdict: Verdict, seen: Seen) -> str | None:
    """The first thing that is not as it must be."""
    if seen.logged:
        return f"logged: {seen.logged}"
    head, found, rest = seen.output.partition(b"\r\n\r\n")
    if not found or not head.startswith(b"HTTP/1.1 101 "):
        return f"the handshake: {seen.output[:200]!r}"
    try:
        frames = parse(rest)
    except (AssertionError, IndexError) as error:
        return f"the server's own frames: {error}"
    checks = (_answers, _pongs, _order, _close, _counters)
    return next((told for check in checks if (told := check(verdict, seen, frames))), None)


def _closed(frames: list[Out]) -> bool:
    return bool(frames) and frames[-1].opcode == CLOSE


def _answers(verdict: Verdict, seen: Seen, frames: list[Out]) -> str | None:
    got = [frame for frame in frames if frame.opcode in (TEXT, BINARY)]
    owed = verdict.answers
    for number, (frame, answer) in enumerate(zip(got, owed, strict=False)):
        if frame.opcode != TEXT or not answer.fits(frame.payload):
            return f"answer {number} is {frame}, not one of {answer.options}"
    if len(got) > len(owed):
        return f"an answer too many: {got[len(owed)]}"
    certain = len(owed)
    if verdict.end is not None and _closed(frames):
        # What had not been answered when the end came is not owed any more.
        late = (number for number, answer in enumerate(owed) if answer.late)
        rested = max((at for at in seen.rested if at <= verdict.end.starts_at), default=-1)
        certain = max(next(late, certain), sum(answer.ends_at <= rested for answer in owed))
    if len(got) < certain:
        return f"{len(got)} answers, and next should have come {owed[len(got)].options}"
    return None


def _pongs(verdict: Verdict, seen: Seen, frames: list[Out]) -> str | None:
    got = [frame.payload for frame in frames if frame.opcode == PONG]
    owed = [pong.payload for pong in verdict.pongs]
    if got != owed[: len(got)]:
        return f"pongs {got}, and owed were {owed}"
    certain = sum(_certain(pong.ends_at, verdict) for pong in verdict.pongs)
    if len(got) < certain:
        return f"{len(got)} pongs, and {certain} pings before the end"
    return None


def _certain(ends_at: int, verdict: Verdict) -> bool:
    """Whether a frame that ends there was read, however the connection ended."""
    return verdict.end is None or ends_at <= verdict.end.starts_at


def _order(verdict: Verdict, seen: Seen, frames: list[Out]) -> str | None:
    """Each frame is handled before the next: only what waits for a task may be overtaken."""
    answers, pongs = [*verdict.answers], [*verdict.pongs]
    for frame in frames:
        if frame.opcode == PONG:
            pong = pongs.pop(0)
            if answers and not answers[0].late and answers[0].ends_at < pong.ends_at:
                return f"{frame} came before an answer, {answers[0].options}"
        elif frame.opcode in (TEXT, BINARY):
            answer = answers.pop(0)
            if pongs and pongs[0].ends_at < answer.ends_at:
                return f"{frame} came before the pong to an earlier ping, {pongs[0].payload!r}"
    return None


def _close(verdict: Verdict, seen: Seen, frames: list[Out]) -> str | None:
    closes = [frame for frame in frames if frame.opcode == CLOSE]
    end = verdict.end
    if len(closes) > 1 or (closes and frames[-1] != closes[0]):
        return f"CLOSE is not the last frame: {frames}"
    if not closes:
        code = 1006
        if end is not None and end.certain:
            return f"no CLOSE, and there should be {end}"
    else:
        payload = closes[0].payload
        code = int.from_bytes(payload[:2], "big") or 1005
        ends = [each for each in (end, verdict.ahead) if each is not None]
        if not any(each.fits(payload) for each in ends):
            return f"CLOSE {payload!r}, and not {ends}"
        if len(payload) > 125:
            return "a CLOSE that is too long"
        payload[2:].decode()
    if len(seen.ended) > 1 or (not seen.ended and not seen.counted["connections_rejected"]):
        return f"on_disconnect ran {len(seen.ended)} times"
    if seen.ended not in ([], [code]):
        return f"on_disconnect was told {seen.ended}, and the client {code}"
    return None


def _counters(verdict: Verdict, seen: Seen, frames: list[Out]) -> str | None:
    counted = seen.counted
    drops = [drop for drop in verdict.drops if _certain(drop.ends_at, verdict)]
    reasons = Counter(next(iter(drop.reasons)) for drop in drops if len(drop.reasons) == 1)
    for reason, count in reasons.items():
        if counted[f"dropped_{reason}"] < count:
            return f"dropped as {reason}: {counted[f'dropped_{reason}']}, not {count}"
    messages = sum(_certain(ends_at, verdict) for ends_at in verdict.messages)
    for name, least, most in (
        ("dropped", len(drops), len(verdict.drops)),
        ("messages_in", messages, len(verdict.messages)),
    ):
        if not least <= counted[name] <= most:
            return f"{name}: {counted[name]}, not {least} to {most}"
    return None

"""Replays conversations that were recorded from the original server.

``transcripts.json`` says, step by step, what clients of ``@wooksjs/event-ws``
sent and what each of them received then; its header explains every field. The
fixture ``replay`` has the same steps done to an app of ours, over real sockets,
and fails with the first step that ends otherwise.

"Received nothing" is proven by order, not by waiting: after each step every
client calls a marker, and since one connection's frames keep their order,
whatever the step caused lies before the marker's reply. The client that acted
is marked first, so that its messages have been handled when the others are.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct, convert
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from tests.deadlines import DEADLINE
from wsrooms import use_ws_connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from wsrooms import WsApp

TRANSCRIPTS = Path(__file__).with_name("transcripts.json")
MARKER = '{"event":"mark","path":"/mark","id":"mark"}'

# What a frame or its data holds is any JSON.
Json = Any


class Sent(Struct, forbid_unknown_fields=True):
    """One message of a client; a list is one message in fragments."""

    text: str | list[str] | None = None
    binary: str | list[str] | None = None
    text_hex: list[str] | None = None
    binary_hex: list[str] | None = None
    fill: dict[str, tuple[str, int]] = {}

    def fragments(self, ids: dict[str, str]) -> list[bytes]:
        """Return the bytes to send, with the ids of connections put in."""
        if (octets := self.text_hex or self.binary_hex) is not None:
            return [bytes.fromhex(part) for part in octets]
        parts = self.text if self.text is not None else self.binary
        assert parts is not None
        filled = []
        for part in [parts] if isinstance(parts, str) else parts:
            for name, id in ids.items():
                part = part.replace(f"${{id:{name}}}", id)
            for key, (unit, times) in self.fill.items():
                part = part.replace(key, unit * times)
            filled.append(part.encode())
        return filled

    @property
    def is_text(self) -> bool:
        return self.text is not None or self.text_hex is not None


class Closed(Struct, forbid_unknown_fields=True):
    """How a client saw its connection end; no reason means any reason."""

    code: int
    reason: str | None = None
    without: str | None = None

    def allows(self, got: Closed) -> bool:
        assert got.reason is not None
        return (
            self.code == got.code
            and self.reason in (None, got.reason)
            and (self.without is None or self.without not in got.reason)
        )


class Outcome(Struct, forbid_unknown_fields=True):
    """What every client received, in order, and whose connection was closed."""

    received: dict[str, list[Json]] = {}
    closed: dict[str, Closed] = {}
    because: str = ""

    def allows(self, got: Outcome) -> bool:
        return (
            self.received.keys() == got.received.keys()
            and all(same_frames(self.received[name], got.received[name]) for name in got.received)
            and self.closed.keys() == got.closed.keys()
            and all(self.closed[name].allows(got.closed[name]) for name in got.closed)
        )


class Step(Struct, forbid_unknown_fields=True):
    do: str
    received: dict[str, list[Json]]
    closed: dict[str, Closed]
    client: str = ""
    frames: list[Sent] = []
    first: list[Sent] = []
    code: int = 1000
    reason: str = ""
    pending: bool = False
    mute: bool = False
    settles: list[str] = []
    unsettles: list[str] = []
    eventually: bool = False
    note: str = ""
    uncaught: str = ""
    deviation: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """What an app of ours has to answer."""
        return self.deviation or Outcome(self.received, self.closed)


class Scenario(Struct, forbid_unknown_fields=True):
    name: str
    handlers: list[str]
    steps: list[Step]
    marker: str = MARKER


class Transcripts(Struct, forbid_unknown_fields=True):
    header: dict[str, Json]
    scenarios: list[Scenario]


def same_frames(expected: list[Json], got: list[Json]) -> bool:
    return len(expected) == len(got) and all(map(same_frame, expected, got))


def same_frame(expected: Json, got: Json) -> bool:
    """Compare two messages; an expected error without a message allows any."""
    if isinstance(expected, dict) and "error" in expected and isinstance(got, dict):
        wanted, error = expected["error"], got.get("error")
        if "message" not in wanted and isinstance(error, dict) and error.get("message"):
            expected = {**expected, "error": {**wanted, "message": error["message"]}}
    return same(expected, got)


def same(expected: Json, got: Json) -> bool:
    """Compare as JSON: 1 is 1.0 and not true, and no member may be missing or more."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(same(expected[k], got[k]) for k in got)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(same, expected, got))
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return bool(expected == got)


class Client:
    """One named client of a scenario; settled while the server answers it in turn."""

    def __init__(self, name: str, socket: ClientConnection, marker: str) -> None:
        self.name = name
        self.id: str | None = None
        self.settled = True
        self.closed: Closed | None = None
        self._socket = socket
        self._marker = marker

    async def send(self, messages: Iterable[Sent], ids: dict[str, str]) -> None:
        for message in messages:
            parts = message.fragments(ids)
            await self._socket.send(parts if len(parts) > 1 else parts[0], text=message.is_text)

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)

    def abort(self) -> None:
        self._socket.transport.abort()

    async def leave(self) -> None:
        await self._socket.close()

    async def receive(self, count: int, *, closes: bool) -> list[str]:
        """Return all that the server has for this client; at least ``count`` frames are due.

        Where the server ``closes``, that is all up to the end of the
        connection; otherwise, all before the reply to a marker.
        """
        frames: list[str] = []
        try:
            async with asyncio.timeout(DEADLINE):
                while closes or len(frames) < count:
                    frames.append(await self._text())
        except TimeoutError:
            pass
        except ConnectionClosed:
            self._note_close()
            return frames
        if closes or not self.settled:
            return frames
        try:
            async with asyncio.timeout(DEADLINE):
                await self._socket.send(self._marker)
                while (reply := self._marked(frame := await self._text())) is None:
                    frames.append(frame)
                self.id = reply
        except TimeoutError:
            pytest.fail(f"{self.name} is not answered any more; it received {frames}")
        except ConnectionClosed:
            self._note_close()
        return frames

    async def _text(self) -> str:
        frame = await self._socket.recv()
        assert isinstance(frame, str), f"{self.name} received a binary frame: {frame!r}"
        return frame

    def _note_close(self) -> None:
        code, reason = self._socket.close_code, self._socket.close_reason
        assert code is not None
        self.closed = Closed(code, reason or "")

    @staticmethod
    def _marked(frame: str) -> str | None:
        message = json.loads(frame)
        return str(message["data"]) if message.get("id") == "mark" else None


async def connect_mute(url: str) -> Closed:
    """Connect, answer nothing, not even a ping, and return how that ended."""
    uri = parse_uri(url)
    protocol = ClientProtocol(uri)
    reader, writer = await asyncio.open_connection(uri.host, uri.port)
    try:
        protocol.send_request(protocol.connect())
        writer.writelines(protocol.data_to_send())
        async with asyncio.timeout(DEADLINE):
            while data := await reader.read(65536):
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                        close = Close.parse(event.data)
                        return Closed(int(close.code), close.reason)
        return Closed(1006, "")
    finally:
        writer.close()


class Replay:
    """The clients of one scenario against the server at ``url``."""

    def __init__(self, url: str, scenario: Scenario, stop: Callable[[], Awaitable[None]]) -> None:
        self._url = url
        self._scenario = scenario
        self._stop = stop
        self._clients: dict[str, Client] = {}
        self._ids: dict[str, str] = {}

    async def run(self, expected: Callable[[Step], Outcome] = lambda step: step.outcome) -> None:
        try:
            for number, step in enumerate(self._scenario.steps):
                await self._play(number, step, expected(step))
        finally:
            for client in self._clients.values():
                await client.leave()

    async def _play(self, number: int, step: Step, expected: Outcome) -> None:
        got = await self._outcome(step, expected)
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while step.eventually and not expected.allows(got):
            if asyncio.get_running_loop().time() > deadline:
                break
            got = await self._outcome(step, expected)
        if not expected.allows(got):
            reason = f"\n  deviation: {expected.because}" if expected.because else ""
            note = f" ({step.note})" if step.note else ""
            pytest.fail(
                f"{self._scenario.name}, step {number}{note}: {step.do} {step.client}"
                f" {step.frames or step.first or ''}{reason}\n"
                f"  expected: {expected.received} {expected.closed}\n"
                f"  got:      {got.received} {got.closed}",
                pytrace=False,
            )

    async def _outcome(self, step: Step, expected: Outcome) -> Outcome:
        got = Outcome({}, {})
        if step.mute:
            got.closed[step.client] = await connect_mute(self._url)
        else:
            await self._act(step)
        for name in step.settles:
            self._clients[name].settled = True
        for name in step.unsettles:
            self._clients[name].settled = False
        for name in sorted(self._clients, key=lambda name: name != step.client):
            client = self._clients[name]
            wanted = len(expected.received.get(name, ()))
            frames = await client.receive(wanted, closes=name in expected.closed)
            if client.id is not None:
                self._ids[name] = client.id
            if frames:
                got.received[name] = [json.loads(self._named(frame)) for frame in frames]
            if client.closed is not None:
                got.closed[name] = client.closed
                del self._clients[name]
        return got

    async def _act(self, step: Step) -> None:
        match step.do:
            case "connect":
                socket = await connect(
                    self._url, compression=None, proxy=None, ping_interval=None, max_queue=None
                )
                client = Client(step.client, socket, self._scenario.marker)
                client.settled = not step.pending
                self._clients[step.client] = client
            case "send":
                await self._clients[step.client].send(step.frames, self._ids)
            case "close":
                client = self._clients[step.client]
                await client.send(step.first, self._ids)
                await client.close(step.code, step.reason)
            case "abort":
                self._clients.pop(step.client).abort()
            case "stop":
                await self._stop()
            case _:
                pytest.fail(f"unknown step {step.do}")

    def _named(self, frame: str) -> str:
        """Put ``${id:x}`` where the frame has the id of client x."""
        for name, id in self._ids.items():
            frame = frame.replace(id, f"${{id:{name}}}")
        return frame


def load() -> Transcripts:
    # Not msgspec's decoder: some frames hold lone surrogates, which it rejects.
    return convert(json.loads(TRANSCRIPTS.read_text(encoding="utf-8")), Transcripts)


@pytest.fixture(scope="session")
def transcripts() -> Transcripts:
    return load()


@pytest.fixture
def replay(transcripts: Transcripts) -> Callable[[str, WsApp], Awaitable[None]]:
    """Serve an app, with a marker added, and replay the scenario of that name."""
    scenarios = {scenario.name: scenario for scenario in transcripts.scenarios}

    async def serve_and_replay(name: str, app: WsApp) -> None:
        app.on_message("mark", "/mark", lambda: use_ws_connection().id)
        async with AsyncExitStack() as serving:
            address = await serving.enter_async_context(app.serving())
            await Replay(address.url, scenarios[name], serving.aclose).run()

    return serve_and_replay

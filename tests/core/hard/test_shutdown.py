"""A signal while much is going on: ``run()`` ends in time, with status 0 and without a word.

WSROOMS_SHUTDOWN_CLIENTS sets how many clients there are (5000 for the full size). Half of
them do not read, and their sockets are full; handlers run, ignore their cancellation, wait
for joins, and hooks of clients that have left are under way.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wsrooms
from tests.brokers.ports import ReservedPort
from tests.deadlines import promised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENTS = int(os.environ.get("WSROOMS_SHUTDOWN_CLIENTS", "200"))

DEADLINE = 60.0 + CLIENTS / 20

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a script of this test lists descriptors"),
    pytest.mark.timeout(4 * DEADLINE),
]

SHUTDOWN_TIMEOUT = 0.5

CLOSING = SHUTDOWN_TIMEOUT + 2.0 + 2.0 + 2.0
"""Seconds that docs/serving.md allows: for handlers, for those to end that are cancelled, for
on_disconnect that is cancelled, and for sockets to take the last bytes."""

BUSY_MACHINE = promised(4.0) + CLIENTS / 500
"""Seconds more for a process to begin, to end and to get its share of the machine."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

SCRIPT = """
import asyncio, json, logging, os, socket, stat, sys, time
if LOOP == "asyncio":
    sys.modules["uvloop"] = None
from wsrooms import *

logging.basicConfig(level=logging.WARNING)

class Bus:
    "Never confirms a room that is called so."
    async def publish(self, channel, payload): pass
    async def unsubscribe(self, channel): pass
    async def subscribe(self, channel, handler):
        if "unconfirmed" in channel:
            await asyncio.get_running_loop().create_future()

ws = WsApp(
    broadcast_transport=Bus(), shutdown_timeout=SHUTDOWN_TIMEOUT, join_timeout=600,
    heartbeat_interval=None,
    limits=WsLimits(slow_client="drop_newest", outbox_messages=4),
)
gone = {}

@ws.on_message("small buffers", "/")
def small_buffers():
    "Sockets that are accepted from now on hold little, so that many are full at once."
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        except OSError:
            pass

@ws.on_message("deaf", "/")
def deaf():
    use_ws_connection().join("/deaf")

@ws.on_message("fill", "/")
async def fill():
    for _ in range(40):
        ws.room("/deaf").broadcast("noise", "a" * 16384)
        await asyncio.sleep(0)
    return {"deaf": len(ws.room("/deaf")), "dropped": ws.stats()["dropped_slow"]}

started = dict.fromkeys(["forever", "stubborn", "awaits a join", "joins", "hooks"], 0)

@ws.on_message("started", "/")
def how_many():
    return {**started, "connections": ws.stats()["connections"]}

@ws.on_message("forever", "/")
async def forever():
    started["forever"] += 1
    await asyncio.get_running_loop().create_future()

@ws.on_message("stubborn", "/")
async def stubborn():
    started["stubborn"] += 1
    until = None
    while until is None or time.monotonic() < until:
        try:
            await asyncio.sleep(0.05 if until else 600)
        except asyncio.CancelledError:
            until = until or time.monotonic() + 0.5

@ws.on_message("awaits a join", "/unconfirmed")
async def awaits_a_join():
    started["awaits a join"] += 1
    await use_ws_rooms().join()

@ws.on_message("joins", "/unconfirmed/too")
def joins():
    started["joins"] += 1
    use_ws_rooms().join()

@ws.on_message("long hook", "/")
def long_hook():
    use_ws_connection().context["long hook"] = True

@ws.on_disconnect
async def on_disconnect():
    connection = use_ws_connection()
    gone.setdefault(connection.id, []).append(connection.close_code)
    started["hooks"] += 1
    if "long hook" in connection.context:
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(0.1)

ws.run(port=PORT)
codes = [code for each in gone.values() for code in each]
print(json.dumps({
    "accepted": ws.stats()["connections_total"],
    "told": len(gone),
    "twice": len(codes) - len(gone),
    "codes": {code: codes.count(code) for code in set(codes)},
    "connections": ws.stats()["connections"],
    "memberships": ws.stats()["memberships"],
}))
"""

WORK = ["forever", "stubborn", "awaits a join", "joins", "long hook", "nothing"]


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame; the mask is zero, so the payload is as it was."""
    return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, len(payload), 0) + payload


class Client:
    """A socket that has upgraded; ``frames`` parts what has come."""

    def __init__(self, port: int, *, small: bool = False) -> None:
        self.sock = socket.socket()
        try:
            if small:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.sock.settimeout(DEADLINE)
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.sendall(UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        self.unparsed = b""

    def send(self, event: str, path: str = "/", **more: object) -> None:
        message = {"event": event, "path": path, **more}
        self.sock.sendall(frame(json.dumps(message).encode()))

    def ask(self, event: str) -> Any:
        """Ask, and wait for the reply, which is the next that comes."""
        self.send(event, id=1)
        while True:
            for _, payload in self.frames(self.sock.recv(65_536)):
                return json.loads(payload)["data"]

    def frames(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        assert data, "the server has hung up"
        self.unparsed += data
        while len(self.unparsed) >= 2 and len(self.unparsed) >= 2 + self.unparsed[1]:
            end = 2 + self.unparsed[1]
            assert self.unparsed[1] < 126
            each, self.unparsed = self.unparsed[:end], self.unparsed[end:]
            yield each[0] & 15, each[2:]


class Server:
    """``run()`` in a process of its own, with logging at WARNING."""

    def __init__(self, loop: str, **names: object) -> None:
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        names = {"LOOP": loop, "PORT": self.port, "SHUTDOWN_TIMEOUT": SHUTDOWN_TIMEOUT} | names
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", given + SCRIPT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(wsrooms.__file__).parent.parent)},
        )
        self.clients: list[Client] = []

    def connect(self, *, small: bool = False) -> Client:
        self.clients.append(Client(self.port, small=small))
        return self.clients[-1]

    def first_client(self) -> Client:
        """Wait until it listens."""
        until = time.monotonic() + DEADLINE
        while True:
            try:
                return self.connect()
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)

    def release(self) -> None:
        """Let others have its port; it has ended."""
        self._reserved.release()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    """So many are not everywhere allowed at first; the server inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CLIENTS + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Give what starts a server, which is killed at the end if it still runs."""
    servers: list[Server] = []

    def one(loop: str, **names: object) -> Server:
        servers.append(Server(loop, **names))
        return servers[-1]

    yield one
    for server in servers:
        for client in server.clients:
            client.sock.close()
        if server.process.poll() is None:
            server.process.kill()
        with contextlib.suppress(ValueError):  # it was read to its end
            server.process.communicate()
        server.release()


def close_codes(readers: list[Client]) -> Counter[int]:
    """Read each up to its CLOSE and answer that; returns the codes."""
    codes: Counter[int] = Counter()
    with selectors.DefaultSelector() as selector:
        for client in readers:
            selector.register(client.sock, selectors.EVENT_READ, client)
        until = time.monotonic() + DEADLINE
        while selector.get_map():
            assert time.monotonic() < until
            for key, _ in selector.select(1):
                reader: Client = key.data
                for opcode, payload in reader.frames(reader.sock.recv(65_536)):
                    if opcode == 8:
                        codes[int.from_bytes(payload[:2])] += 1
                        reader.sock.sendall(frame(payload[:2], 8))
                        selector.unregister(reader.sock)
                        reader.sock.close()
    return codes


@pytest.mark.parametrize(
    ("loop", "number"), [("asyncio", signal.SIGTERM), ("uvloop", signal.SIGINT)]
)
def test_a_signal_ends_it_in_time_and_in_silence_whatever_its_clients_do(
    loop: str, number: signal.Signals, start: Callable[..., Server]
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    server = start(loop)
    control = server.first_client()
    control.ask("small buffers")
    deaf = [server.connect(small=True) for _ in range(CLIENTS // 2)]
    for client in deaf:
        client.send("deaf")
    readers = [server.connect() for _ in range(CLIENTS - len(deaf))]
    leavers = [server.connect() for _ in range(5)]
    for client in leavers:
        client.send("long hook")
    expected: Counter[str] = Counter()
    # Of those that do not read some are being served too.
    for index, client in enumerate([*readers, *deaf]):
        event = WORK[index % len(WORK)]
        paths = {"awaits a join": "/unconfirmed", "joins": "/unconfirmed/too"}
        client.send(event, paths.get(event, "/"), id=2)
        if event == "forever":  # and more of it waits
            client.sock.sendall(frame(b'{"event":"forever","path":"/","id":3}') * 30)
        expected[event] += 1
    while (filled := control.ask("fill"))["deaf"] < len(deaf):
        pass
    assert filled["dropped"] >= len(deaf), "their sockets are full"
    for client in leavers:
        client.sock.close()
    expected["hooks"] = len(leavers)
    expected["connections"] = 1 + CLIENTS + len(leavers)
    del expected["long hook"], expected["nothing"]
    while control.ask("started") != expected:
        assert server.process.poll() is None

    began = time.monotonic()
    server.process.send_signal(number)
    codes = close_codes([control, *readers])
    told_in = time.monotonic() - began
    status, out, err = server.end()
    took = time.monotonic() - began
    print(f"{loop}, {CLIENTS} clients: all told in {told_in:.2f} s, ended in {took:.2f} s")

    assert (status, err) == (0, "")
    assert codes == {1001: 1 + len(readers)}
    found = json.loads(out)
    assert found == {
        "accepted": 1 + CLIENTS + len(leavers),
        "told": 1 + CLIENTS + len(leavers),
        "twice": 0,
        "codes": {"1001": 1 + CLIENTS, "1006": len(leavers)},
        "connections": 0,
        "memberships": 0,
    }
    assert took < CLOSING + BUSY_MACHINE


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_second_signal_ends_it_at_once_whatever_still_runs(
    loop: str, start: Callable[..., Server]
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    server = start(loop, SHUTDOWN_TIMEOUT=600)
    control = server.first_client()
    control.ask("small buffers")
    deaf = [server.connect(small=True) for _ in range(10)]
    readers = [server.connect() for _ in range(10)]
    for client in deaf:
        client.send("deaf")
    for client in readers:
        client.send("stubborn")
    while control.ask("fill")["deaf"] < len(deaf) or control.ask("started")["stubborn"] < 10:
        pass
    server.process.send_signal(signal.SIGTERM)
    # That they are told shows that the first signal has been taken.
    assert close_codes([control, *readers]) == {1001: 11}
    assert server.process.poll() is None, "it waits for its handlers"
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    status, out, err = server.end()
    assert time.monotonic() - began < BUSY_MACHINE
    assert status == 128 + signal.SIGINT
    assert out == "", "nothing runs after run()"
    assert err == "WARNING:wsrooms:SIGINT again: ending at once\n"

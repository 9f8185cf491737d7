"""Clients come and go ten thousand times, in every bad way; then nothing of them may be left.

    python tools/soak.py [--cycles N] [--loop asyncio|uvloop|both] [--warm-up N]

Server and clients share one process, and talk over 127.0.0.1 only. After a warm-up, and
again after every thousand cycles, all clients are gone and the figures are taken: memory as
tracemalloc and as the kernel see it, objects that the collector knows, tasks, descriptors,
and the gauges of ``app.stats()``. If one is not back at the start, the last lines say what is
left, and the status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import importlib
import logging
import os
import random
import resource
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsrooms import (
    WsApp,
    WsError,
    WsLimits,
    router,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

TOGETHER = 32
"""Clients at a time, so that they come and go in the midst of each other."""

PATIENCE = 30.0
"""Seconds within which one client, or the end of all of them, must come about."""

BIG = "x" * 65_536

GAUGES = ("connections", "rooms", "memberships", "joins_pending", "outbox", "outbox_bytes")

# What a run may grow by: a buffer more in use, and how the allocator cuts its arenas. One
# object forgotten per client would be far over after a few hundred.
TRACED_GROWTH = 192 * 1024
OBJECT_GROWTH = 100
RSS_GROWTH = 8 * 1024 * 1024


class Bus:
    """A transport that confirms in a later turn, and rooms called "/never…" never."""

    # Of one that may echo, the ids of the last thousand that went are kept: a growth that ends.
    skips_own = True

    async def publish(self, channel: str, payload: str) -> None:
        await asyncio.sleep(0)

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        if ":/never" in channel:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def unsubscribe(self, channel: str) -> None:
        await asyncio.sleep(0)


@dataclass
class Tally:
    """What the server saw, to be held against what the clients did."""

    opened: int = 0
    ended: int = 0
    codes: collections.Counter[int] = field(default_factory=collections.Counter)
    waiting: dict[str, asyncio.Event] = field(default_factory=dict)


def make_app(tally: Tally) -> WsApp:
    logger = logging.Logger("wsrooms", level=logging.CRITICAL)
    app = WsApp(
        broadcast_transport=Bus(),
        join_timeout=0.2,
        limits=WsLimits(outbox_bytes=256 * 1024),
        logger=logger,
    )

    @app.on_connect
    async def opened() -> None:
        connection = use_ws_connection()
        if connection.request.path == "/forbidden":
            raise WsError(403, "not you")
        if connection.request.path == "/slow":
            await asyncio.sleep(0.002)
        await connection.join("lobby")
        tally.opened += 1

    @app.on_disconnect
    def ended() -> None:
        connection = use_ws_connection()
        tally.ended += 1
        tally.codes[connection.close_code or 0] += 1
        if event := tally.waiting.pop(connection.request.path, None):
            event.set()

    @app.on_message("join", "*")
    async def join() -> bool:
        await use_ws_rooms().join()
        return True

    @app.on_message("drop", "*")
    def drop() -> None:
        use_ws_rooms().join()

    @app.on_message("say", "*")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data)

    @app.on_message("wait", "*")
    async def wait() -> None:
        await asyncio.create_task(asyncio.sleep(0.01))
        use_ws_connection().send("too late", "/")

    @app.on_message("flood", "*")
    async def flood() -> None:
        connection = use_ws_connection()
        while not connection.closed:
            connection.send("flood", "/", BIG)
            await asyncio.sleep(0)

    app.on_message("leave", "*", lambda: use_ws_rooms().leave())
    app.on_message("kick", "*", lambda: use_ws_connection().close(3000, "out"))
    app.on_message("all", "*", lambda: use_ws_server().broadcast("all", "/"))
    return app


class Client:
    """One socket that speaks just enough WebSocket; its frames are masked with zeros."""

    def __init__(self, port: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.port = port
        self.socket = socket.socket()
        self.socket.setblocking(False)

    async def connect(self) -> None:
        await self.loop.sock_connect(self.socket, ("127.0.0.1", self.port))

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.socket, data)

    async def upgrade(self, path: str, *headers: str, then: bytes = b"") -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers, "", ""]
        await self.send("\r\n".join(lines).encode() + then)
        return await self.until(b"\r\n\r\n")

    async def until(self, mark: bytes) -> bytes:
        """Read until ``mark`` has come, or the end."""
        read = b""
        with contextlib.suppress(ConnectionError):
            while mark not in read:
                if not (data := await self.loop.sock_recv(self.socket, 65_536)):
                    break
                read += data
        return read

    async def end(self) -> None:
        """Read until the server has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.loop.sock_recv(self.socket, 65_536):
                pass

    def cut(self) -> None:
        """Vanish with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def message(event: str, path: str, id: int | None = None) -> bytes:
    more = "" if id is None else f',"id":{id}'
    return frame(f'{{"event":"{event}","path":"{path}","data":"d"{more}}}'.encode())


CLOSE = frame(b"\x03\xe8", 8)
Way = Callable[[Client, int, Tally], Coroutine[Any, Any, None]]


async def clean(client: Client, n: int, tally: Tally) -> None:
    await client.upgrade("/")
    await client.send(message("join", f"/room/{n % 7}", 1))
    await client.until(b'"id":1')
    await client.send(message("say", f"/room/{n % 7}") + message("all", "/p"))
    await client.send(message("leave", f"/room/{n % 7}", 2))
    await client.until(b'"id":2')
    await client.send(CLOSE)
    await client.end()


async def in_its_rooms(client: Client, n: int, tally: Tally) -> None:
    """Gone without a word, as a laptop that is shut."""
    await client.upgrade("/")
    rooms = (message("drop", f"/mine/{n}/{room}", room) for room in range(5))
    await client.send(b"".join(rooms))
    await client.until(b'"id":4')
    client.cut()


async def half_closed(client: Client, n: int, tally: Tally) -> None:
    await client.upgrade("/")
    await client.send(message("drop", f"/mine/{n}"))
    client.socket.shutdown(socket.SHUT_WR)
    await client.end()


async def joining(client: Client, n: int, tally: Tally) -> None:
    """Its joins are never confirmed, one of them awaited; they end with it."""
    await client.upgrade("/")
    await client.send(message("drop", f"/never/{n}") + message("join", f"/never/of/{n}", 1))
    await asyncio.sleep(0.002)
    client.cut()


async def refused_a_room(client: Client, n: int, tally: Tally) -> None:
    """Its join is never confirmed, and it hears of that."""
    await client.upgrade("/")
    await client.send(message("join", "/never", 1))
    assert b"503" in await client.until(b'"id":1')
    await client.send(CLOSE)
    await client.end()


async def handled(client: Client, n: int, tally: Tally) -> None:
    """Its handler runs on after it, and another message waits."""
    await client.upgrade("/")
    await client.send(message("wait", "/p", 1) + message("wait", "/p", 2))
    client.cut()


async def opening(client: Client, n: int, tally: Tally) -> None:
    """Gone while on_connect runs."""
    await client.upgrade("/slow", then=message("join", "/r", 1))
    client.cut()


async def kicked(client: Client, n: int, tally: Tally) -> None:
    await client.upgrade("/")
    await client.send(message("kick", "/p") + message("wait", "/p"))
    await client.until(b"\x88")
    await client.send(CLOSE)
    await client.end()


async def slow(client: Client, n: int, tally: Tally) -> None:
    """It reads nothing until it is closed with 4008."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ended = tally.waiting[f"/client/{n}"] = asyncio.Event()
    await client.upgrade(f"/client/{n}", then=message("flood", "/p"))
    await ended.wait()
    client.cut()  # through its small window the kernel would take minutes to say all


async def malformed(client: Client, n: int, tally: Tally) -> None:
    """Nonsense is dropped, a reserved opcode ends it; some do not follow, and are cut."""
    await client.upgrade("/")
    await client.send(frame(b"{") + frame(b"\xff", 2) + frame(b"[]") + frame(b"", 3))
    if n % 50:
        await client.until(b"\x88")
    else:
        await client.end()


async def forbidden(client: Client, n: int, tally: Tally) -> None:
    """Refused by on_connect, or for the page it comes from."""
    if n % 2:
        assert b" 403 " in await client.upgrade("/", "Origin: http://elsewhere.example")
        return
    await client.upgrade("/forbidden")
    await client.until(b"\x88")
    await client.send(CLOSE)
    await client.end()


async def no_handshake(client: Client, n: int, tally: Tally) -> None:
    await client.send(b"\x16\x03\x01 hello\r\n\r\n" if n % 2 else b"GET / HTTP/1.1\r\nHost: ")
    if n % 2:
        await client.end()
    else:
        client.cut()


WAYS: tuple[tuple[Way, int], ...] = (
    (clean, 30),
    (in_its_rooms, 20),
    (half_closed, 10),
    (joining, 8),
    (refused_a_room, 2),
    (handled, 8),
    (opening, 5),
    (kicked, 5),
    (slow, 2),
    (malformed, 4),
    (forbidden, 4),
    (no_handshake, 2),
)
SHUFFLED: list[Way] = [way for way, share in WAYS for _ in range(share)]
random.Random(4).shuffle(SHUFFLED)


async def cycle(port: int, n: int, tally: Tally) -> None:
    client = Client(port)
    try:
        async with asyncio.timeout(PATIENCE):
            await client.connect()
            await SHUFFLED[n % len(SHUFFLED)](client, n, tally)
    finally:
        client.socket.close()


@dataclass
class Figures:
    """What may be left, when nobody is there."""

    rss: int
    traced: int
    objects: int
    tasks: int
    fds: int
    gauges: dict[str, int]
    kinds: collections.Counter[str]
    memory: tracemalloc.Snapshot | None

    @classmethod
    def taken(cls, app: WsApp, *, closely: bool) -> Figures:
        for _ in range(3):
            gc.collect()
        kinds = collections.Counter(type(each).__qualname__ for each in gc.get_objects())
        stats = app.stats()
        return cls(
            rss=resident(),
            traced=tracemalloc.get_traced_memory()[0],
            objects=kinds.total(),
            tasks=len(asyncio.all_tasks()),
            fds=open_files(),
            gauges={name: stats[name] for name in GAUGES},
            kinds=kinds,
            memory=tracemalloc.take_snapshot() if closely else None,
        )

    def __str__(self) -> str:
        return (
            f"RSS {self.rss / 2**20:6.1f} MiB, traced {self.traced / 2**10:7.0f} KiB, "
            f"{self.objects} objects, {self.tasks} tasks, {self.fds} fds"
        )


def open_files() -> int:
    """Descriptors of this process, the one that looks included; 0 where nobody can say."""
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


def resident() -> int:
    """Bytes of this process in memory."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def leaks(before: Figures, after: Figures) -> list[str]:
    """What is more than at the start, in words."""
    found = [f"{name}: {count}" for name, count in after.gauges.items() if count]
    return found + [
        f"{name}: {was} before, {now} after"
        for name, was, now, allowed in (
            ("tasks", before.tasks, after.tasks, 0),
            ("descriptors", before.fds, after.fds, 0),
            ("objects", before.objects, after.objects, OBJECT_GROWTH),
            ("traced bytes", before.traced, after.traced, TRACED_GROWTH),
            ("resident bytes", before.rss, after.rss, RSS_GROWTH),
        )
        if now - was > allowed
    ]


def show_growth(before: Figures, after: Figures) -> None:
    """What there is more of, and where it was made."""
    for kind, count in (after.kinds - before.kinds).most_common(8):
        print(f"  {count:+d} {kind}")
    if before.memory is not None and after.memory is not None:
        for difference in after.memory.compare_to(before.memory, "lineno")[:8]:
            print(f"  {difference}")


async def all_gone(app: WsApp, tasks: int, fds: int) -> None:
    """Wait until the server has seen the end of every client; what stays is for the figures."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        stats = app.stats()
        gauges = any(stats[name] for name in GAUGES)
        if not gauges and len(asyncio.all_tasks()) <= tasks and open_files() <= fds:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)  # the last sockets are closed, and their objects go soon
    # asyncio keeps cancelled timers, and what they would call, until they are many.
    loop = asyncio.get_running_loop()
    for timer in [loop.call_later(3600, int) for _ in range(2000)]:
        timer.cancel()
    await asyncio.sleep(0)


async def soak(cycles: int, warm_up: int) -> int:
    # What may be remembered of routes is bounded; a small memo is full after the warm-up.
    router.MEMO_ROUTES = 32
    tally = Tally()
    app = make_app(tally)
    numbers = iter(range(cycles + warm_up))
    began = time.monotonic()
    async with app.serving() as address:
        await asyncio.sleep(0.05)
        tasks, fds = len(asyncio.all_tasks()), open_files()

        async def some(count: int) -> None:
            share = [count // TOGETHER + (i < count % TOGETHER) for i in range(TOGETHER)]

            async def one_after_another(how_many: int) -> None:
                for _ in range(how_many):
                    await cycle(address.port, next(numbers), tally)

            async with asyncio.TaskGroup() as group:
                for how_many in share:
                    group.create_task(one_after_another(how_many))
            await all_gone(app, tasks, fds)

        await some(warm_up)
        before = after = Figures.taken(app, closely=True)
        print(f"{'warm':>7}: {before}", flush=True)
        done = 0
        while done < cycles:
            step = min(1000, cycles - done)
            await some(step)
            done += step
            after = Figures.taken(app, closely=done == cycles)
            print(f"{done:7d}: {after}", flush=True)
        if leaks(before, after):
            await asyncio.sleep(3)  # what goes with the last timers is no leak
            after = Figures.taken(app, closely=True)
        stats = app.stats()
    found = leaks(before, after)
    if tally.opened != tally.ended:
        found.append(f"on_connect ended well {tally.opened} times, on_disconnect {tally.ended}")
    slow_ones = sum(SHUFFLED[n % len(SHUFFLED)] is slow for n in range(cycles + warm_up))
    if not stats["slow_clients"] == tally.codes[4008] == slow_ones:
        found.append(f"{slow_ones} slow clients, of which {tally.codes[4008]} were closed as such")
    print(
        f"{cycles + warm_up} clients, {stats['connections_total']} of them upgraded, "
        f"{slow_ones} slow, in {time.monotonic() - began:.1f} s"
    )
    print(*(f"LEFT {line}" for line in found), sep="\n")
    if found:
        show_growth(before, after)
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=1500, help="cycles before the first figures")
    parser.add_argument("--loop", choices=["asyncio", "uvloop", "both"], default="both")
    options = parser.parse_args()
    if options.loop == "both":
        # Each in a process of its own, so that neither finds what the other has left.
        again = [sys.executable, *sys.argv, "--loop"]
        return max(subprocess.run([*again, loop]).returncode for loop in ("asyncio", "uvloop"))
    print(f"on {options.loop}:", flush=True)
    tracemalloc.start()
    module = asyncio if options.loop == "asyncio" else importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        return runner.run(soak(options.cycles, options.warm_up))


if __name__ == "__main__":
    sys.exit(main())

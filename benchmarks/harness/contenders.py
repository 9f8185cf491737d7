"""Who is measured: how each server starts, what it needs, and how clients speak to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.results import BINARIES

if TYPE_CHECKING:
    from benchmarks.harness.scenarios import Scenario

__all__ = [
    "CENTRIFUGE",
    "CONTENDERS",
    "HANDLER_KINDS",
    "PEERS_PYTHON",
    "QUICK",
    "SERVERS",
    "SOCKET_IO",
    "WOOKS",
    "Contender",
    "Dialect",
    "why_not",
]

SERVERS = Path(__file__).resolve().parent.parent / "servers"

PEERS_PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
"""The Python that has the packages of servers/requirements.txt."""

NODE_MODULES = Path(os.environ.get("BENCH_NODE_MODULES", SERVERS / "node_modules"))
"""Where the packages of servers/package.json are."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How wsload speaks to a server; the templates are explained in native/frames.h."""

    join: str
    message: str
    request: str = ""
    mark: str = '"id"'
    options: tuple[str, ...] = ()
    opening: str = ""
    crowd_join: str = ""

    def arguments(self, mode: str) -> list[str]:
        """The arguments of wsload."""
        join, mark = "" if mode == "rpc" else self.join, self.mark
        if mode == "crowd" and self.opening:
            join, mark = self.crowd_join, '"id"'
        return [
            *("--join", join, "--msg", self.message, "--rpc", self.request, "--mark", mark),
            *("--open", self.opening),
            *self.options,
        ]


WOOKS = Dialect(
    join='{"event":"join","path":"%ROOM%","id":%ID%}',
    message='{"event":"message","path":"%ROOM%","data":"%DATA%"}',
    request='{"event":"echo","path":"/chat/general","data":"%DATA%","id":%ID%}',
)
SOCKET_IO = Dialect(
    join='42%ID%["join",{"path":"%ROOM%"}]',
    message='42["message",{"path":"%ROOM%","data":"%DATA%"}]',
    request='42%ID%["echo",{"path":"/chat/general","data":"%DATA%"}]',
    mark="43",
    options=("--socketio", "--path", "/socket.io/?EIO=4&transport=websocket"),
)
CENTRIFUGE = Dialect(
    join='{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"%ROOM%"}}',
    message='{"id":%ID%,"publish":{"channel":"%ROOM%","data":"%DATA%"}}',
    mark='"subscribe":',
    options=("--centrifuge",),
    opening='{"id":1,"connect":{}}',
    crowd_join='{"id":%ID%,"subscribe":{"channel":"%ROOM%"}}',
)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server.

    Attributes:
        name: As on the command line and in the tables.
        command: What starts it; ``{port}`` is where it must listen, ``{broker}`` the URL of
            what joins several of them and ``{broker_address}`` its host and port.
        dialect: How clients speak to it.
        python: Distributions that BENCH_PYTHON must have.
        node: Packages that BENCH_NODE_MODULES must hold.
        go: The folder of a Go program that ``command`` runs, or its module with a version.
        broker: The kind of broker that joins several of them.
    """

    name: str
    command: tuple[str, ...]
    dialect: Dialect = WOOKS
    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    go: Path | str | None = None
    broker: str = ""

    def answers(self, scenario: Scenario) -> bool:
        """Whether the scenario means anything to it: not all know requests."""
        if scenario.who and self.name not in scenario.who:
            return False
        return scenario.unit != "replies" or bool(self.dialect.request)


def _native(name: str, mode: str) -> Contender:
    return Contender(name=name, command=(str(BINARIES / "limit_server"), "{port}", mode))


def _ours(name: str, *options: str) -> Contender:
    server = str(SERVERS / "wsrooms_server.py")
    return Contender(name=name, command=(sys.executable, server, "{port}", *options))


def _websockets(loop: str) -> Contender:
    server = str(SERVERS / "websockets_server.py")
    command = (sys.executable, server, "{port}", loop)
    return Contender(name=f"websockets-{loop}", command=command)


def _python(
    name: str, server: str, *needs: str, dialect: Dialect = WOOKS, options: tuple[str, ...] = ()
) -> Contender:
    command = (PEERS_PYTHON, str(SERVERS / server), "{port}", *options)
    return Contender(name=name, command=command, dialect=dialect, python=needs)


def _node(name: str, server: str, *needs: str, dialect: Dialect = WOOKS) -> Contender:
    command = ("node", str(SERVERS / server), "{port}")
    return Contender(name=name, command=command, dialect=dialect, node=needs)


def _centrifuge(mode: str) -> Contender:
    binary = str(BINARIES / "centrifuge-server")
    folder = SERVERS / "centrifuge"
    command = (binary, "{port}", mode)
    return Contender(name=f"centrifuge-{mode}", command=command, dialect=CENTRIFUGE, go=folder)


HANDLER_KINDS = {
    "": (),
    "-raw": ("--data=raw",),
    "-async": ("--handlers=async",),
    "-async-raw": ("--handlers=async", "--data=raw"),
}
"""How a server of ours is written, by the end of its name."""

_ALL = (
    _native("limit", "send"),
    _native("limit-coalesce", "coalesce"),
    *(
        _ours(f"wsrooms-{loop}{kind}", f"--loop={loop}", *options)
        for kind, options in HANDLER_KINDS.items()
        for loop in ("asyncio", "uvloop")
    ),
    _websockets("asyncio"),
    _websockets("uvloop"),
    _python("picows-uvloop", "picows_server.py", "picows", "uvloop"),
    _python("socketify", "socketify_server.py", "socketify"),
    _python("starlette", "starlette_server.py", "starlette", "uvicorn", "uvloop"),
    _python(
        "python-socketio",
        "socketio_server.py",
        *("python-socketio", "uvicorn", "uvloop"),
        dialect=SOCKET_IO,
    ),
    _python("channels-memory", "channels_server.py", "channels", "uvicorn", "uvloop"),
    _node("ws-node", "ws_server.cjs", "ws"),
    _node("wooks-node", "wooks_server.cjs", "@wooksjs/event-ws"),
    _node("socket.io-node", "socketio_server.cjs", "socket.io", dialect=SOCKET_IO),
    _centrifuge("default"),
    _centrifuge("delay"),
)

CONTENDERS = {contender.name: contender for contender in _ALL}

QUICK = [
    "wsrooms-asyncio",
    "websockets-asyncio",
    "wsrooms-uvloop",
    "websockets-uvloop",
    "limit",
    "limit-coalesce",
]
"""Who runs unless others are named: all that need the group ``bench`` and a compiler only."""


def why_not(contender: Contender) -> str | None:
    """Why this server cannot run here; None if it can. A Go program is built first."""
    missing = [name for name in contender.python if name not in python_packages()]
    if missing:
        return f"{', '.join(missing)} missing (pip install -r benchmarks/servers/requirements.txt)"
    if contender.node and shutil.which("node") is None:
        return "node is not on PATH"
    missing = [name for name in contender.node if not (NODE_MODULES / name).is_dir()]
    if missing:
        return f"{', '.join(missing)} missing (npm install --prefix benchmarks/servers)"
    if contender.go is not None:
        return _build_go(contender.go)
    return None


@lru_cache
def python_packages() -> dict[str, str]:
    """The distributions that BENCH_PYTHON has, with their versions."""
    ask = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    )
    told = subprocess.run([PEERS_PYTHON, "-c", ask], capture_output=True, text=True, check=True)
    packages: dict[str, str] = json.loads(told.stdout)
    return packages


@lru_cache
def _build_go(source: Path | str) -> str | None:
    """Build a folder, or a module as it is published; both go to BINARIES."""
    if shutil.which("go") is None:
        return "go is not on PATH"
    command, folder = ["go", "install", str(source)], None
    if isinstance(source, Path):
        binary = BINARIES / f"{source.name}-server"
        command, folder = ["go", "build", "-o", str(binary), "."], source
    where = {**os.environ, "GOBIN": str(BINARIES)}
    built = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True)
    return f"go {command[1]} failed: {built.stderr.strip()[-200:]}" if built.returncode else None

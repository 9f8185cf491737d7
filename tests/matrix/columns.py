"""What is run: five transports, the server of each, and the code that each rests on."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.brokers.containers import Engine, engine
from tests.brokers.kafka import KAFKA
from tests.brokers.kinds import Kind
from tests.brokers.nats import NATS
from tests.brokers.record import REQUIRE
from tests.brokers.redis import REDIS

__all__ = ["COLUMNS", "INTEGRATION", "ROOT", "SUITES", "Column", "digest", "source_digest"]

ROOT = Path(__file__).resolve().parents[2]
TRANSPORTS = "packages/wsrooms-core/src/wsrooms/transports"
INTEGRATION = "tests/integration"
MEMORY = "memory"


@dataclass(frozen=True)
class Column:
    """One transport on one server.

    Attributes:
        name: For the command line and the record.
        title: For the page.
        bus: Which tests are its own: the name of its ``Bus``, and of its file of the suite.
        clients: The distributions that speak to the server.
        kind: Of the server; None where there is none.
        image: Of the server, in Docker.
        instead: What serves where there is no Docker, the best first.
        package: The adapter's, below ``packages``.
    """

    name: str
    title: str
    bus: str
    clients: Sequence[str] = ()
    kind: Kind | None = None
    image: str = ""
    instead: Sequence[str] = ()
    package: str | None = None
    suite: str = field(init=False)

    def __post_init__(self) -> None:
        test = f"test_the_{self.bus}_transport_conforms"
        object.__setattr__(self, "suite", f"tests/conformance/test_{self.bus}.py::{test}")

    @property
    def tests(self) -> list[str]:
        """What pytest is given; which of these tests are the column's its plugin knows."""
        return [self.suite] if self.kind is None else [self.suite, INTEGRATION]

    @property
    def code(self) -> list[Path]:
        """The folders of the code that it rests on."""
        own = () if self.package is None else (f"packages/{self.package}/src",)
        return [ROOT / folder for folder in (TRANSPORTS, *own)]

    def server(self) -> str | None:
        """Which server it has on this machine, "" for none that it needs; None if it has none."""
        if self.kind is None:
            return ""
        docker = engine()
        if isinstance(docker, Engine) and docker.lacks(self.image) is None:
            return self.image
        return next(filter(self.kind.program, self.instead), None)

    def environment(self, server: str) -> dict[str, str]:
        """The variables under which its tests take that server, and no other."""
        if self.kind is None:
            return dict(os.environ)
        required = {REQUIRE: "1"} if server == self.image else {}
        return {**os.environ, REQUIRE: "", **required, self.kind.variable: server}


COLUMNS = (
    Column(MEMORY, "Memory", MEMORY),
    Column(
        "redis",
        "Redis",
        "redis",
        ("redis", "hiredis"),
        REDIS,
        "redis:7",
        (REDIS.on_path,),
        "wsrooms-redis",
    ),
    Column(
        "valkey",
        "Valkey",
        "redis",
        ("redis", "hiredis"),
        REDIS,
        "valkey/valkey:9",
        (REDIS.wheel,),
        "wsrooms-redis",
    ),
    Column(
        "nats",
        "NATS",
        "nats",
        ("nats-py",),
        NATS,
        "nats:2",
        (NATS.wheel, NATS.on_path),
        "wsrooms-nats",
    ),
    Column(
        "kafka",
        "Kafka",
        "kafka",
        ("aiokafka",),
        KAFKA,
        next(iter(KAFKA.images)),
        (KAFKA.wheel, KAFKA.on_path),
        "wsrooms-kafka",
    ),
)
"""From left to right."""

SUITES = tuple(dict.fromkeys(test for column in COLUMNS for test in column.tests))
"""All that any of them is given."""

UNTOLD = "_version.py"
"""A release changes these and nothing that a transport does."""


def digest(folders: Sequence[Path]) -> str:
    """One of the code in these folders: it changes with what Python runs.

    Not with comments, docstrings, the layout of lines, the version of a release, or the
    version of the Python that asks.
    """
    made = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if path.name != UNTOLD:
                made.update(f"\n{path.relative_to(folder).as_posix()}\n".encode())
                made.update(source_digest(path.read_text("utf-8")))
    return made.hexdigest()[:16]


def source_digest(source: str) -> bytes:
    """That of one file."""
    return "\n".join(_told(_without_docstrings(ast.parse(source)))).encode()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Also a text behind a variable, which documents that.
            node.body = [each for each in node.body if not _is_text(each)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _told(node: ast.AST) -> Iterator[str]:
    # Not ast.dump(), which writes out fields that only some Pythons have.
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if value is None or value == []:
            continue
        yield f".{name}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from _told(each)
            else:
                yield repr(each)
    yield "/"

"""What users a Kafka has and what they may do, while it runs: aiokafka asks for neither."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TypeVar

from tests.deadlines import DEADLINE

T = TypeVar("T")

LOOK_AGAIN = 0.01

ITERATIONS = 4096
"""The fewest that Kafka takes."""

DESCRIBE_RIGHTS, CREATE_RIGHTS, DELETE_RIGHTS, DESCRIBE_USERS, ALTER_USERS = 29, 30, 31, 50, 51
ANY, LITERAL, ALLOW = 1, 3, 3
TOPIC, CLUSTER, CLUSTER_NAME = 2, 4, "kafka-cluster"
MECHANISMS = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}


NO_RIGHTS = bytes(4)


class Operation(IntEnum):
    """What a user may be granted, by Kafka's numbers."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


class Refused(Exception):
    """Kafka will not do it; the number is its own for the reason."""


class Rights:
    """Users and rights at one server; what a method says is true there when it returns."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def grant(self, user: str, topic: str | None, *operations: Operation) -> None:
        """Let ``user`` do this with ``topic`` (``"*"``: each of them; None: the cluster)."""
        kind, name = (CLUSTER, CLUSTER_NAME) if topic is None else (TOPIC, topic)
        before = await self._rights_of(user)
        rights = b"".join(
            struct.pack(">b", kind)
            + _string(name)
            + struct.pack(">b", LITERAL)
            + _string(f"User:{user}")
            + _string("*")
            + struct.pack(">bb", operation, ALLOW)
            for operation in operations
        )
        answer = await self._ask(CREATE_RIGHTS, 1, struct.pack(">i", len(operations)) + rights)
        _check(answer, 8)
        await self._until(self._rights_of, user, lambda now: len(now) > len(before))

    async def revoke(self, user: str) -> None:
        """Let ``user`` do nothing."""
        answer = await self._ask(DELETE_RIGHTS, 1, struct.pack(">i", 1) + _rights_of(user))
        _check(answer, 8)
        await self._until(self._rights_of, user, lambda now: now == NO_RIGHTS)

    async def add_user(self, user: str, password: str, sasl: str = "SCRAM-SHA-256") -> None:
        """Let somebody log in, by SCRAM."""
        number, digest = MECHANISMS[sasl]
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, ITERATIONS)
        known = _compact(user.encode()) + struct.pack(">bi", number, ITERATIONS)
        await self._alter(b"\1\2" + known + _compact(salt) + _compact(salted) + b"\0")
        await self._until(self._login_of, user, lambda code: code == 0)

    async def remove_user(self, user: str, sasl: str = "SCRAM-SHA-256") -> None:
        """Let them log in no more; who is in stays until the connection ends."""
        number, _ = MECHANISMS[sasl]
        await self._alter(b"\2" + _compact(user.encode()) + struct.pack(">b", number) + b"\0\1")
        await self._until(self._login_of, user, lambda code: code != 0)

    async def _alter(self, changes: bytes) -> None:
        answer = await self._ask(ALTER_USERS, 0, changes + b"\0", flexible=True)
        _check(answer, _behind_first_name(answer, 5))

    async def _rights_of(self, user: str) -> bytes:
        answer = await self._ask(DESCRIBE_RIGHTS, 1, _rights_of(user))
        _check(answer, 4)
        (length,) = struct.unpack_from(">h", answer, 6)
        return answer[8 + max(length, 0) :]

    async def _login_of(self, user: str) -> int:
        """0 is one that works."""
        asked = b"\2" + _compact(user.encode()) + b"\0\0"
        answer = await self._ask(DESCRIBE_USERS, 0, asked, flexible=True)
        _check(answer, 5)
        (code,) = struct.unpack_from(">h", answer, _behind_first_name(answer, 8))
        return int(code)

    async def _until(
        self, ask: Callable[[str], Awaitable[T]], user: str, is_so: Callable[[T], bool]
    ) -> None:
        """The controller has it; wait for the server, which is told by the log."""
        async with asyncio.timeout(DEADLINE):
            while not is_so(await ask(user)):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(LOOK_AGAIN)

    async def _ask(self, key: int, version: int, body: bytes, *, flexible: bool = False) -> bytes:
        """The answer, without its header's number."""
        question = struct.pack(">hhih", key, version, 1, -1) + (b"\0" if flexible else b"") + body
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.timeout(DEADLINE):
                writer.write(struct.pack(">i", len(question)) + question)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                return (await reader.readexactly(size))[4:]
        finally:
            writer.transport.abort()


def _rights_of(user: str) -> bytes:
    """What asks for all rights of a user."""
    return (
        struct.pack(">bhb", ANY, -1, ANY) + _string(f"User:{user}") + struct.pack(">hbb", -1, 1, 1)
    )


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


def _compact(data: bytes) -> bytes:
    """As newer requests have it; none here is long enough for a second byte of length."""
    assert len(data) < 0x7F
    return bytes([len(data) + 1]) + data


def _behind_first_name(answer: bytes, results: int) -> int:
    """Where the code of the first result is, which begins with a user's name."""
    return results + 1 + answer[results + 1]


def _check(answer: bytes, at: int) -> None:
    (code,) = struct.unpack_from(">h", answer, at)
    if code:
        raise Refused(f"error {code}: {answer!r}")

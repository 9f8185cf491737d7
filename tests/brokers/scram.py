"""Passwords of a running Kafka, which aiokafka cannot set: AlterUserScramCredentials, version 0."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct

__all__ = ["set_password"]

ALTER = 51
ITERATIONS = 4096
"""The fewest that Kafka takes."""

ALGORITHMS = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}
TIMEOUT = 5.0


async def set_password(
    host: str, port: int, user: str, password: str, mechanism: str = "SCRAM-SHA-256"
) -> None:
    """Let ``user`` in with that password and no other from now on.

    Args:
        host: Of the server.
        port: One of it at which somebody without a login may do that.
        user: Known or new.
        password: The new one.
        mechanism: For logins by this one.

    Raises:
        ConnectionError: The server refuses.
    """
    number, algorithm = ALGORITHMS[mechanism]
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), salt, ITERATIONS)
    upsertion = b"".join(
        (
            _short(user.encode()),
            struct.pack(">bi", number, ITERATIONS),
            _short(salt),
            _short(salted),
            b"\0",
        )
    )
    # No deletions, one upsertion, and no tagged fields in the header, in it and behind it.
    body = struct.pack(">hhih", ALTER, 0, 1, -1) + b"\0" + b"\1" + b"\2" + upsertion + b"\0"
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            answer = await reader.readexactly(size)
        finally:
            writer.transport.abort()
    # Behind the header and the throttling: one result, which begins with the user's name.
    at = 4 + 1 + 4 + 1
    (error,) = struct.unpack_from(">h", answer, at + answer[at])
    if error:
        raise ConnectionError(f"the password of {user} is not set: error {error}")


def _short(data: bytes) -> bytes:
    """Bytes with their length before them, as long as that is one byte."""
    assert len(data) < 127
    return bytes([len(data) + 1]) + data

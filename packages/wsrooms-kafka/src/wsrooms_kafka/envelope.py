"""The envelope of wsrooms as headers of a record: ``v``, ``i``, ``e`` and ``s``."""

from __future__ import annotations

from collections.abc import Sequence

from wsrooms.transports import Envelope, parse

__all__ = ["headers_of", "read"]

Headers = Sequence[tuple[str, bytes]]


def headers_of(data: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """The headers and the value of what the exchange has tagged."""
    version, instance, epoch, seq, value = data.split(b" ", 4)
    return [("v", version), ("i", instance), ("e", epoch), ("s", seq)], value


def read(headers: Headers, value: bytes) -> Envelope | None:
    """The envelope; None for what is no message of wsrooms."""
    if len(headers) != 4 or [name for name, _ in headers] != ["v", "i", "e", "s"]:
        return None
    try:
        return parse(b" ".join([*(each for _, each in headers), value]).decode())
    except UnicodeDecodeError:
        return None

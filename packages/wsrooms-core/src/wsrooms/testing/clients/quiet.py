"""When is an app at rest? For tests that assert that nothing more comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.testing.clients.pipes import PipeTransport

if TYPE_CHECKING:
    from wsrooms.instance import Instance
    from wsrooms.server.listener import Server

__all__ = ["is_quiet", "until_quiet"]

QUIET_TURNS = 10
"""Turns in a row without anything in flight: what a turn has scheduled shows in the next."""

FAST_TURNS = 200
"""Turns after which it looks again only every now and then: a handler waits for something."""

LOOK_AGAIN = 0.001
"""Seconds until then."""


def is_quiet(instance: Instance, server: Server, *, idle: bool = True) -> bool:
    """Whether nothing is on its way between the app and its test clients.

    With ``idle``, no handler runs either.
    """
    if server.flusher.dirty or instance.turns.waiting:
        return False
    if idle and any(session.busy for session in instance.sessions):
        return False
    ends = [end for end in server.sockets() if isinstance(end, PipeTransport)]
    return not any(end.in_flight or end.peer.in_flight for end in ends)


async def until_quiet(instance: Instance, server: Server, timeout: float) -> None:
    """Wait until the app is at rest.

    Raises:
        TimeoutError: It was not after ``timeout`` seconds.
    """
    turns = quiet = 0
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            while quiet < QUIET_TURNS:
                await asyncio.sleep(0 if quiet or turns < FAST_TURNS else LOOK_AGAIN)
                turns += 1
                quiet = quiet + 1 if is_quiet(instance, server) else 0
    except TimeoutError:
        if not deadline.expired():
            raise
        busy = sum(session.busy for session in instance.sessions)
        raise TimeoutError(
            f"the app is not at rest after {timeout:g} s: {busy} connections have messages "
            "or hooks that are being handled"
        ) from None

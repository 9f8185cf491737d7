"""What a transport tells of itself, for tests that wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from wsrooms import Gap
    from wsrooms.transports import BrokerTransport, TransportState


class Told:
    """All that one transport has told since this was made.

    Attributes:
        states: Each with its words, in order.
        gaps: In order.
    """

    def __init__(self, transport: BrokerTransport) -> None:
        self.states: list[tuple[TransportState, str | None]] = []
        self.gaps: list[Gap] = []
        self._news: asyncio.Queue[tuple[TransportState, str | None]] = asyncio.Queue()
        transport.on_state(self._note)
        transport.on_gap(self.gaps.append)

    def _note(self, state: TransportState, error: str | None) -> None:
        self.states.append((state, error))
        self._news.put_nowait((state, error))

    async def until(self, state: TransportState) -> str | None:
        """Wait for the next ``state`` after the one that was waited for before; its words."""
        async with asyncio.timeout(DEADLINE):
            while True:
                told, error = await self._news.get()
                if told == state:
                    return error

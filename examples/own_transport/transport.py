"""A transport of one's own: three methods for a broker that nobody else speaks to."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from wsrooms.errors import TransportClosed, TransportUnavailable
from wsrooms.transports import Receipt

LIMIT = 16 * 1024 * 1024
TIMEOUT = 3.0


class LineTransport:
    """Wrap it in ``tagged()``: this broker brings everybody everything.

    It does not connect again. What is missing for that is what
    ``wsrooms.transports.BrokerTransport`` is made of.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writer: asyncio.StreamWriter | None = None
        self._handlers: dict[str, Callable[[str], None]] = {}
        self._lines: list[bytes] = []
        self._unanswered: deque[Receipt] = deque()

    # --8<-- [start:three]
    def publish(self, channel: str, payload: str) -> Receipt:
        return self._ask("publish", channel, payload)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        self._handlers[channel] = handler
        return self._ask("subscribe", channel)

    def unsubscribe(self, channel: str) -> Receipt:
        self._handlers.pop(channel, None)
        return self._ask("unsubscribe", channel)

    def _ask(self, *words: str) -> Receipt:
        if self._writer is None:
            raise TransportClosed("it is not connected")
        if not self._lines:  # one write for all that this turn of the loop asks
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(json.dumps(words).encode() + b"\n")
        self._unanswered.append(Receipt())
        return self._unanswered[-1]

    # --8<-- [end:three]
    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines and self._writer is not None:
            self._writer.write(b"".join(lines))

    # --8<-- [start:read]
    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            match json.loads(line):
                case ["message", channel, payload]:
                    if handler := self._handlers.get(channel):
                        handler(payload)
                case _:
                    self._unanswered.popleft().settle()

    # --8<-- [end:read]
    # --8<-- [start:life]
    async def start(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, self._writer = await asyncio.open_connection(
                    self._host, self._port, limit=LIMIT
                )
        except OSError as error:
            raise TransportUnavailable(f"{self._host}:{self._port}: {error}") from error
        self._reading = asyncio.create_task(self._read_to_the_end(reader))

    async def close(self) -> None:
        if self._writer is None:
            return
        self._write()
        self._writer.write_eof()  # the broker answers what it has, and closes
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await self._reading

    async def _read_to_the_end(self, reader: asyncio.StreamReader) -> None:
        try:
            with suppress(ConnectionError):
                await self._read(reader)
        finally:
            writer, self._writer = self._writer, None
            while self._unanswered:
                self._unanswered.popleft().settle(TransportClosed("the connection has ended"))
            if writer is not None:
                writer.close()
                await writer.wait_closed()
        # --8<-- [end:life]

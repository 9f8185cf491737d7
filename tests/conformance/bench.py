"""A transport that keeps the contract, in parts that a test can break, and the rig of it.

``Good`` numbers and judges messages, ``Carrier`` is its end of the bus, ``Bus`` carries
them in the order in which they were given to it, one turn of the loop later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from wsrooms.errors import InvalidChannel, TransportClosed
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.testing.conformance import Rig
from wsrooms.transports import Sequencer, TaggedTransport, WsBroadcastTransport

Handler = Callable[[str], None]

MAX_CHANNEL = 3000
COUNTERS = 500


class Bus:
    def __init__(self) -> None:
        self.carriers: list[Carrier] = []
        self._waiting: deque[Callable[[], object]] = deque()

    def later(self, action: Callable[[], object]) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(action)

    def _run(self) -> None:
        for _ in range(len(self._waiting)):
            self._waiting[0]()
            self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)

    def deliver(self, channel: str, text: str) -> None:
        for carrier in list(self.carriers):
            carrier.receive(channel, text)


class Carrier:
    max_payload = 100_000

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.handlers: dict[str, Handler] = {}
        self.open = False

    async def start(self) -> None:
        self.open = True
        self.bus.carriers.append(self)

    async def close(self) -> None:
        if self.open:
            self.open = False
            self.bus.carriers.remove(self)

    def publish(self, channel: str, payload: str) -> Receipt:
        self.check(channel)
        receipt = Receipt()

        def arrive() -> None:
            self.bus.deliver(channel, payload)
            receipt.settle()

        self.bus.later(arrive)
        return receipt

    def subscribe(self, channel: str, handler: Handler) -> Receipt:
        self.check(channel)
        receipt = Receipt()

        def arrive() -> None:
            self.handlers[channel] = handler
            receipt.settle()

        self.bus.later(arrive)
        return receipt

    def unsubscribe(self, channel: str) -> Receipt:
        self.check(channel)
        self.bus.later(lambda: self.handlers.pop(channel, None))
        return FINISHED

    def check(self, channel: str) -> None:
        if not self.open:
            raise TransportClosed("it is not open")
        try:
            size = len(channel.encode())
        except UnicodeEncodeError:
            raise InvalidChannel(channel, "UTF-8 cannot encode it") from None
        if size > MAX_CHANNEL:
            raise InvalidChannel(channel, f"it is over {MAX_CHANNEL} bytes")

    def receive(self, channel: str, text: str) -> None:
        handler = self.handlers.get(channel)
        if handler is not None:
            handler(text)


class Good(TaggedTransport):
    """What a break changes is a subclass of this, or of the carrier."""

    carrier: type[Carrier] = Carrier

    def __init__(self, bus: Bus) -> None:
        super().__init__(self.carrier(bus))
        self._sequencer = Sequencer(COUNTERS)


class Bench(Rig):
    name = "the bench"
    patience = 0.3

    def __init__(self, kind: Callable[[Bus], WsBroadcastTransport] = Good) -> None:
        self.bus = Bus()
        self.kind = kind
        self.counters = COUNTERS
        self.max_channel = MAX_CHANNEL

    def transport(self, **options: Any) -> WsBroadcastTransport:
        return self.kind(self.bus)

    async def publish_raw(self, channel: str, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = repr(data)
        self.bus.later(lambda: self.bus.deliver(channel, text))

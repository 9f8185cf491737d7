"""The suite on classes of three methods, sync and async, that ``tagged()`` makes safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.running import run_case
from wsrooms.testing.conformance import Case, Rig, cases
from wsrooms.transports import tagged

if TYPE_CHECKING:
    from wsrooms.transports import WsBroadcastTransport

pytestmark = pytest.mark.may_block("the suite judges thousands of messages, and watches the loop")

Handler = Callable[[str], None]
Bus = dict[str, dict[object, Handler]]


class Sync:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish(self, channel: str, payload: str) -> None:
        for handler in list(self._bus.get(channel, {}).values()):
            handler(payload)

    def subscribe(self, channel: str, handler: Handler) -> None:
        self._bus.setdefault(channel, {})[self] = handler

    def unsubscribe(self, channel: str) -> None:
        self._bus.get(channel, {}).pop(self, None)


class Async(Sync):
    async def publish(self, channel: str, payload: str) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - the other kind
        super().publish(channel, payload)

    async def subscribe(self, channel: str, handler: Handler) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - the other kind
        super().subscribe(channel, handler)

    async def unsubscribe(self, channel: str) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - the other kind
        super().unsubscribe(channel)


class PlainRig(Rig):
    def __init__(self, kind: type[Sync]) -> None:
        self.name = f"a plain {kind.__name__.lower()} class"
        self.bus: Bus = {}
        self.kind = kind

    def transport(self, **options: Any) -> WsBroadcastTransport:
        return tagged(self.kind(self.bus))

    async def publish_raw(self, channel: str, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = repr(data)
        Sync(self.bus).publish(channel, text)


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("case", cases(), ids=str)
async def test_three_methods_conform(case: Case, kind: type[Sync]) -> None:
    await run_case(case, PlainRig(kind))

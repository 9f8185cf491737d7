"""Joining and leaving: one small test for each thing the page says of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from wsrooms import (
    ConnectionGone,
    MemoryBus,
    MemoryTransport,
    TransportUnavailable,
    WsApp,
    WsConnection,
    WsError,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import connect_client
from wsrooms.transports import TransportState


# --8<-- [start:slow_bus]
class SlowBus:
    """A transport that confirms a subscription when the test says so, or that is down."""

    def __init__(self) -> None:
        self.confirmed = asyncio.Event()
        self.asked = asyncio.Event()  # for a room's channel
        self.handlers: dict[str, Callable[[str], None]] = {}
        self.say: Callable[[TransportState, str | None], None] = lambda state, error: None

    def publish(self, channel: str, payload: str) -> None:
        pass

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        if channel.startswith("ws:room:"):
            self.asked.set()
            await self.confirmed.wait()
        self.handlers[channel] = handler

    def unsubscribe(self, channel: str) -> None:
        self.handlers.pop(channel, None)

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.say = callback


# --8<-- [end:slow_bus]


# --8<-- [start:app]
def chat(bus: SlowBus, join_timeout: float = 8.0) -> WsApp:
    ws = WsApp(broadcast_transport=bus, join_timeout=join_timeout)

    @ws.on_message("join", "/:room")
    def join() -> str:
        use_ws_rooms().join()
        return "joined"

    @ws.on_message("ping", "/:room")
    def ping() -> str:
        return "pong"

    return ws


# --8<-- [end:app]


# --8<-- [start:at_once]
async def test_a_join_is_local_at_once_and_done_when_confirmed() -> None:
    bus = SlowBus()
    ws = WsApp(broadcast_transport=bus)

    @ws.on_message("join", "/:room")
    async def join() -> list[bool]:
        receipt = use_ws_rooms().join()
        here = use_ws_connection() in use_ws_server().room_connections(use_ws_message().path)
        before = receipt.done
        bus.confirmed.set()
        await receipt
        return [here, before, receipt.done]

    async with connect_client(ws) as ann:
        assert await ann.call("join", "/tea") == [True, False, True]


# --8<-- [end:at_once]


# --8<-- [start:reply_waits]
async def test_a_reply_waits_for_the_joins_of_its_handler() -> None:
    bus = SlowBus()
    async with connect_client(chat(bus)) as ann:
        ann.send("join", "/tea", id=1)  # its handler does not await the join
        await bus.asked.wait()
        assert await ann.call("ping", "/tea") == "pong"  # other replies do not wait
        bus.confirmed.set()
        assert await ann.receive() == {"id": 1, "data": "joined"}


# --8<-- [end:reply_waits]


# --8<-- [start:timeout]
async def test_a_join_that_is_not_confirmed_in_time_is_undone() -> None:
    bus = SlowBus()
    ws = chat(bus, join_timeout=0.05)
    async with connect_client(ws) as ann:
        with pytest.raises(WsError, match="Service Unavailable") as failed:
            await ann.call("join", "/tea")
        assert failed.value.code == 503
        assert not ws.room("/tea").connections()
        assert ws.stats()["joins_failed"] == 1


# --8<-- [end:timeout]


# --8<-- [start:timeout_unasked]
async def test_without_an_id_a_failed_join_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = SlowBus()
    ws = chat(bus, join_timeout=0.05)
    async with connect_client(ws) as ann:
        ann.send("join", "/tea")
        with pytest.raises(WsError):
            await ann.call("join", "/tea")  # it came later, so the first has failed by now
        assert ws.stats()["joins_failed"] == 1  # both waited for one confirmation
        assert ws.stats()["receipts_failed"] == 1
    assert "was not confirmed within 0.05 s" in caplog.text


# --8<-- [end:timeout_unasked]


# --8<-- [start:cancelled]
async def test_cancelling_an_awaited_join_undoes_it() -> None:
    bus = SlowBus()
    ws = WsApp(broadcast_transport=bus)

    @ws.on_message("try", "/:room")
    async def try_to_join() -> list[str]:
        try:
            async with asyncio.timeout(0.01):
                await use_ws_rooms().join()
        except TimeoutError:
            pass
        return use_ws_rooms().rooms()

    async with connect_client(ws) as ann:
        assert await ann.call("try", "/tea") == []


# --8<-- [end:cancelled]


# --8<-- [start:left_meanwhile]
async def test_leaving_completes_a_pending_join_without_an_error() -> None:
    bus = SlowBus()
    ws = WsApp(broadcast_transport=bus)

    @ws.on_message("come and go", "/:room")
    async def come_and_go() -> bool:
        joining = use_ws_rooms().join()
        use_ws_rooms().leave()
        await joining  # does not wait, does not raise
        return joining.error is None

    async with connect_client(ws) as ann:
        assert await ann.call("come and go", "/tea") is True


# --8<-- [end:left_meanwhile]


# --8<-- [start:exception]
async def test_a_join_survives_a_later_exception_of_its_handler() -> None:
    ws = WsApp()

    @ws.on_message("join", "/:room")
    async def join() -> None:
        await use_ws_rooms().join()
        raise WsError(409, "too late for that")

    async with connect_client(ws) as ann:
        with pytest.raises(WsError, match="too late"):
            await ann.call("join", "/tea")
        assert len(ws.room("/tea")) == 1


# --8<-- [end:exception]


# --8<-- [start:gone]
async def test_joining_with_a_connection_that_is_gone_raises() -> None:
    ws = WsApp()
    known: list[WsConnection] = []
    gone = asyncio.Event()

    @ws.on_connect
    def connected() -> None:
        known.append(use_ws_connection())

    @ws.on_disconnect
    def disconnected() -> None:
        gone.set()

    async with ws.serving():
        async with connect_client(ws):
            pass
        await gone.wait()
        with pytest.raises(ConnectionGone):
            known[0].join("tea")


# --8<-- [end:gone]


# --8<-- [start:leave]
async def test_a_leave_has_nothing_to_wait_for() -> None:
    ws = WsApp()

    @ws.on_message("leave", "/:room")
    async def leave() -> bool:
        await use_ws_rooms().join()
        receipt = use_ws_rooms().leave()
        return receipt.done and not use_ws_rooms().rooms()

    async with connect_client(ws) as ann:
        assert await ann.call("leave", "/tea") is True


# --8<-- [end:leave]


# --8<-- [start:two_instances]
@asynccontextmanager
async def two_instances(ws: WsApp) -> AsyncIterator[tuple[WsApp, WsApp]]:
    bus = MemoryBus()
    one = ws.replica(broadcast_transport=MemoryTransport(bus))
    two = ws.replica(broadcast_transport=MemoryTransport(bus))
    async with one.serving(), two.serving():
        yield one, two


# --8<-- [end:two_instances]


# --8<-- [start:queries]
async def test_queries_are_snapshots_of_this_instance() -> None:
    ws = WsApp()

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("tea")

    async with (
        two_instances(ws) as (here, there),
        connect_client(here),
        connect_client(there) as bob,
    ):
        before = there.server.room_connections("tea")
        assert len(before) == len(there.server.connections()) == 1
        assert here.server.room_connections("tea").isdisjoint(before)
        assert here.server.get_connection(next(iter(before)).id) is None
        await bob.close()
        assert len(before) == 1  # what was asked then


# --8<-- [end:queries]


# --8<-- [start:down]
async def test_while_the_bus_is_down_every_join_waits() -> None:
    bus = SlowBus()
    bus.confirmed.set()
    ws = chat(bus)
    async with connect_client(ws) as ann, connect_client(ws) as bob:
        await ann.call("join", "/tea")
        bus.say("down", "connection refused")
        bob.send("join", "/tea", id=1)  # the room is subscribed, but who knows for how long
        assert await bob.call("ping", "/tea") == "pong"
        bus.say("up", None)  # now it is subscribed anew
        assert await bob.receive() == {"id": 1, "data": "joined"}


# --8<-- [end:down]


# --8<-- [start:down_for_long]
async def test_a_bus_that_is_down_for_long_answers_at_once() -> None:
    bus = SlowBus()
    ws = chat(bus, join_timeout=0.05)
    async with connect_client(ws) as ann:
        bus.say("down", "connection refused")
        with pytest.raises(WsError, match="Service Unavailable"):
            await ann.call("join", "/tea")  # after what is left of 0.05 s
        (connection,) = ws.server.connections()
        receipt = connection.join("cake")
        assert receipt.done  # at once
        with pytest.raises(TransportUnavailable, match="the bus is down"):
            await receipt


# --8<-- [end:down_for_long]


# --8<-- [start:log]
class LogBus(SlowBus):
    keeps_log = True  # a broken link is read on from where it broke: nothing is missed


async def test_a_transport_with_a_log_needs_no_waiting() -> None:
    bus = LogBus()
    bus.confirmed.set()
    ws = chat(bus)
    async with connect_client(ws) as ann, connect_client(ws) as bob:
        await ann.call("join", "/tea")
        bus.say("down", "connection refused")
        bus.confirmed.clear()
        assert await bob.call("join", "/tea") == "joined"


# --8<-- [end:log]


# --8<-- [start:receipt]
async def test_a_receipt_may_be_awaited_or_dropped() -> None:
    ws = WsApp()

    @ws.on_message("join", "/:room")
    async def join() -> bool:
        use_ws_rooms().join("one")  # dropped: costs nothing
        receipt = use_ws_rooms().join("two")
        await receipt
        await receipt  # as often as you like
        assert not asyncio.iscoroutine(receipt)
        # Without a transport there is nothing to wait for, so all share one that is done.
        return receipt is use_ws_rooms().join("three")

    async with connect_client(ws) as ann:
        assert await ann.call("join", "/tea") is True


# --8<-- [end:receipt]


# --8<-- [start:receipt_failed]
class Broken(MemoryTransport):
    def publish(self, channel: str, payload: str) -> None:
        raise TransportUnavailable("the broker is on fire")


async def test_a_failure_that_nobody_awaits_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ws = WsApp(broadcast_transport=Broken())
    async with ws.serving():
        receipt = ws.broadcast("news", "/")  # nothing raises here
        with pytest.raises(TransportUnavailable, match="on fire"):
            await receipt
        assert ws.stats()["receipts_failed"] == 0  # somebody knows
        ws.broadcast("news", "/")  # nobody will know
        assert ws.stats()["receipts_failed"] == 1
    assert "on fire" in caplog.text


# --8<-- [end:receipt_failed]

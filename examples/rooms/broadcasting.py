"""Broadcasts: who gets them, in which order, and what may go wrong."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wsrooms import (
    Gap,
    InvalidRoom,
    MemoryBus,
    MemoryTransport,
    PayloadTooLarge,
    TransportUnavailable,
    WsApp,
    WsError,
    tagged,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import connect_client


# --8<-- [start:chat]
def chat() -> WsApp:
    """Whoever connects is in "tea", on whatever instance."""
    ws = WsApp()

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("tea")

    @ws.on_message("say", "/:room")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data, room="tea")

    return ws


@asynccontextmanager
async def two_instances(ws: WsApp) -> AsyncIterator[tuple[WsApp, WsApp]]:
    bus = MemoryBus()
    one = ws.replica(broadcast_transport=MemoryTransport(bus))
    two = ws.replica(broadcast_transport=MemoryTransport(bus))
    async with one.serving(), two.serving():
        yield one, two


# --8<-- [end:chat]


# --8<-- [start:local_first]
class Slow(MemoryTransport):
    """A bus that confirms a publish when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmed = asyncio.Event()

    async def publish(self, channel: str, payload: str) -> None:  # type: ignore[override]  # async
        await self.confirmed.wait()


async def test_members_here_are_served_at_once_and_the_bus_after_them() -> None:
    bus = Slow()
    ws = chat().replica(broadcast_transport=bus)
    async with connect_client(ws) as ann:
        receipt = ws.room("tea").broadcast("said", "hello")
        assert (await ann.receive())["data"] == "hello"
        assert not receipt.done
        bus.confirmed.set()
        await receipt


# --8<-- [end:local_first]


# --8<-- [start:defaults]
async def test_the_two_ways_to_broadcast_differ_in_their_defaults() -> None:
    ws = WsApp()

    @ws.on_message("join", "/chat/:room")
    async def join() -> None:
        await use_ws_rooms().join()

    @ws.on_message("say", "/chat/:room")
    def say() -> None:
        use_ws_rooms().broadcast("one")  # this room, this route's params, not to the sender
        use_ws_server().room("/chat/tea").broadcast("two")  # just what it is told

    async with connect_client(ws) as ann, connect_client(ws) as bob:
        for client in (ann, bob):
            await client.call("join", "/chat/tea")
        await ann.call("say", "/chat/tea")
        two = {"event": "two", "path": "/chat/tea"}
        one = {"event": "one", "path": "/chat/tea", "params": {"room": "tea"}}
        assert await ann.receive() == two
        assert [await bob.receive(), await bob.receive()] == [one, two]


# --8<-- [end:defaults]


# --8<-- [start:params]
async def test_params_are_those_of_the_route_and_never_of_the_room() -> None:
    ws = WsApp()

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("/chat/tea")

    @ws.on_message("call", "/desk/:nr")
    def call() -> None:
        use_ws_rooms().broadcast("called", room="/chat/tea", exclude_self=False)

    @ws.on_message("call", "/door")
    def door() -> None:
        use_ws_rooms().broadcast("called", room="/chat/tea", exclude_self=False)

    async with connect_client(ws) as ann:
        await ann.call("call", "/desk/7")
        called = {"event": "called", "path": "/chat/tea", "params": {"nr": "7"}}
        assert await ann.receive() == called
        await ann.call("call", "/door")  # a route without params
        assert await ann.receive() == {"event": "called", "path": "/chat/tea"}


# --8<-- [end:params]


# --8<-- [start:everybody]
async def test_everybody_is_everybody_on_every_instance() -> None:
    ws = WsApp()

    @ws.on_message("announce", "/")
    def announce() -> None:
        use_ws_server().broadcast("news", "/", "for all")
        use_ws_server().broadcast("news", "/", "for those here", local=True)

    async with (
        two_instances(ws) as (here, there),
        connect_client(here) as ann,
        connect_client(there) as bob,
    ):
        await ann.call("announce", "/")
        assert (await ann.receive())["data"] == "for all"  # the sender too
        assert (await ann.receive())["data"] == "for those here"
        assert (await bob.receive())["data"] == "for all"
        await bob.receive_nothing()


# --8<-- [end:everybody]


# --8<-- [start:server_channel]
async def test_everybody_has_one_channel_and_each_room_its_own() -> None:
    bus = MemoryBus()
    ws = chat().replica(broadcast_transport=MemoryTransport(bus))
    async with connect_client(ws):
        assert bus.channels() == {"ws:server": 1, "ws:room:tea": 1}


# --8<-- [end:server_channel]


# --8<-- [start:user]
async def test_a_room_for_each_user_reaches_him_wherever_he_is() -> None:
    ws = WsApp()

    @ws.on_connect
    async def connected() -> None:
        connection = use_ws_connection()
        (user,) = connection.request.query["user"]
        await connection.join(f"user:{user}")

    async with (
        two_instances(ws) as (here, there),
        connect_client(here, "/?user=ann") as laptop,
        connect_client(there, "/?user=ann") as phone,
    ):
        here.room("user:ann").broadcast("told", "psst")
        assert (await laptop.receive())["data"] == "psst"
        assert (await phone.receive())["data"] == "psst"
        (elsewhere,) = there.server.connections()
        assert here.server.get_connection(elsewhere.id) is None  # knows this instance only


# --8<-- [end:user]


# --8<-- [start:all_or_nobody]
class Small(MemoryTransport):
    max_payload = 100


async def test_what_cannot_be_sent_is_sent_to_nobody() -> None:
    ws = chat().replica(broadcast_transport=Small())
    async with connect_client(ws) as ann:
        with pytest.raises(InvalidRoom):
            ws.room("")
        with pytest.raises(TypeError):
            ws.room("tea").broadcast("said", object())
        with pytest.raises(PayloadTooLarge):
            ws.room("tea").broadcast("said", "x" * 100)
        await ann.receive_nothing()


# --8<-- [end:all_or_nobody]


# --8<-- [start:later]
class Wavering(MemoryTransport):
    broken = False

    def publish(self, channel: str, payload: str) -> None:
        if self.broken:
            raise TransportUnavailable("the broker is on fire")
        super().publish(channel, payload)


async def test_what_goes_wrong_later_is_the_receipts_error_and_a_gap_for_others() -> None:
    bus = MemoryBus()
    wavering = Wavering(bus)
    here = chat().replica(broadcast_transport=tagged(wavering))
    there = chat().replica(broadcast_transport=tagged(MemoryTransport(bus)))
    gaps: list[Gap] = []
    there.on_gap(gaps.append)

    async with connect_client(here) as ann, connect_client(there) as bob:
        here.room("tea").broadcast("said", 1)
        wavering.broken = True
        receipt = here.room("tea").broadcast("said", 2)  # does not raise
        with pytest.raises(TransportUnavailable, match="on fire"):
            await receipt
        wavering.broken = False
        here.room("tea").broadcast("said", 3)

        assert [(await ann.receive())["data"] for _ in range(3)] == [1, 2, 3]
        assert [(await bob.receive())["data"] for _ in range(2)] == [1, 3]
    assert [(gap.room, gap.missing) for gap in gaps] == [("tea", 1)]


# --8<-- [end:later]


# --8<-- [start:order]
async def test_one_instance_sends_to_one_room_in_order_replies_included() -> None:
    ws = WsApp()

    @ws.on_message("count", "/:room")
    async def count() -> str:
        rooms = use_ws_rooms()
        await rooms.join()
        rooms.broadcast("number", 1, exclude_self=False)
        use_ws_connection().send("number", "/you", 2)
        rooms.broadcast("number", 3, exclude_self=False)
        return "done"

    async with connect_client(ws) as ann:
        ann.send("count", "/tea", id=1)
        heard = [await ann.receive() for _ in range(4)]
        assert [push.get("data") for push in heard] == [1, 2, 3, "done"]


# --8<-- [end:order]


# --8<-- [start:no_order]
class Late(MemoryTransport):
    """A bus that delivers when the test says so."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.waiting: list[tuple[str, str]] = []

    def publish(self, channel: str, payload: str) -> None:
        self.waiting.append((channel, payload))

    def deliver(self) -> None:
        while self.waiting:
            super().publish(*self.waiting.pop(0))


async def test_between_instances_there_is_no_order() -> None:
    bus = MemoryBus()
    mine, yours = Late(bus), Late(bus)
    here = chat().replica(broadcast_transport=mine)
    there = chat().replica(broadcast_transport=yours)
    async with connect_client(here) as ann, connect_client(there) as bob:
        here.room("tea").broadcast("said", "by ann")
        there.room("tea").broadcast("said", "by bob")
        mine.deliver()
        yours.deliver()
        assert [(await ann.receive())["data"] for _ in range(2)] == ["by ann", "by bob"]
        assert [(await bob.receive())["data"] for _ in range(2)] == ["by bob", "by ann"]


# --8<-- [end:no_order]


# --8<-- [start:just_before]
async def test_a_join_may_deliver_what_was_published_just_before_it() -> None:
    bus = MemoryBus()
    mine = Late(bus)
    here = chat().replica(broadcast_transport=mine)
    there = chat().replica(broadcast_transport=MemoryTransport(bus))
    async with here.serving():
        here.room("tea").broadcast("said", "before bob came")
        async with connect_client(there) as bob:
            mine.deliver()
            assert (await bob.receive())["data"] == "before bob came"


# --8<-- [end:just_before]


# --8<-- [start:threads]
async def test_other_threads_may_send_in_the_order_of_their_calls() -> None:
    ws = chat()

    def work() -> int:
        room = ws.room("tea")
        receipts = [room.broadcast("said", number) for number in range(3)]
        receipts[-1].result(timeout=5)  # waits for the loop, and for the bus
        for connection in room.connections():  # a snapshot, taken on the loop
            connection.send("bye", "/")
        return threading.get_ident()

    async with connect_client(ws) as ann:
        assert await asyncio.to_thread(work) != threading.get_ident()
        heard = [await ann.receive() for _ in range(4)]
        assert [push.get("data") for push in heard] == [0, 1, 2, None]


# --8<-- [end:threads]


# --8<-- [start:result_on_the_loop]
async def test_result_is_for_other_threads() -> None:
    ws = chat()
    async with ws.serving():
        with pytest.raises(RuntimeError, match="await the receipt instead"):
            ws.broadcast("news", "/").result()


# --8<-- [end:result_on_the_loop]


# --8<-- [start:errors]
async def test_only_ws_error_reaches_the_client() -> None:
    ws = WsApp()

    @ws.on_message("open", "/vault")
    def vault() -> None:
        raise WsError(403, "this vault is closed")

    @ws.on_message("open", "/teapot")
    def teapot() -> None:
        raise WsError(418)

    async with connect_client(ws) as ann:
        for path, code, message in [
            ("/vault", 403, "this vault is closed"),
            ("/teapot", 418, "WsError 418"),
            ("/nowhere", 404, "Not found"),
        ]:
            with pytest.raises(WsError) as told:
                await ann.call("open", path)
            assert (told.value.code, told.value.message) == (code, message)


# --8<-- [end:errors]

"""Tests of two instances of one app, without a broker, a port or a wait."""

from wsrooms import Gap, WsApp, use_ws_message, use_ws_rooms
from wsrooms.testing import Cluster

ws = WsApp()


@ws.on_message("join", "/chat/:room")
async def join() -> str:
    await use_ws_rooms().join()
    return "joined"


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


# --8<-- [start:two]
async def test_what_is_said_on_one_instance_is_heard_on_the_other() -> None:
    async with Cluster(ws, n=2) as cluster:
        ann = await cluster.connect(0)
        bob = await cluster.connect(1)
        for client in (ann, bob):
            await client.call("join", "/chat/general")

        ann.send("message", "/chat/general", "hello")

        assert (await bob.receive())["data"] == "hello"
        await ann.receive_nothing()
        # --8<-- [end:two]


# --8<-- [start:cut]
async def test_a_message_to_an_instance_without_its_broker_is_lost_and_told() -> None:
    gaps: list[Gap] = []
    ws.on_gap(gaps.append)
    async with Cluster(ws, n=2) as cluster:
        ann = await cluster.connect(0)
        bob = await cluster.connect(1)
        for client in (ann, bob):
            await client.call("join", "/chat/general")

        cluster.bus.cut(1)
        await ann.call("message", "/chat/general", "who is there?")
        await cluster.settle()
        await bob.receive_nothing()

        cluster.bus.heal(1)
        await cluster.settle()
        assert len(gaps) == 1  # the app now knows that it may have missed something
        # --8<-- [end:cut]


# --8<-- [start:judge]
async def test_nothing_is_lost_without_a_word_while_the_bus_is_bad() -> None:
    async with Cluster(ws, n=3, seed=1) as cluster:
        clients = [await cluster.connect_recorded(index) for index in range(3)]
        for client in clients:
            await client.join("/chat/general")

        cluster.bus.delay(0.05, jitter=0.5)
        cluster.bus.lose(chance=0.1)
        for _ in range(20):
            for client in clients:
                client.say("/chat/general")
            await cluster.advance(1.0)

        await cluster.assert_ok()
        # --8<-- [end:judge]

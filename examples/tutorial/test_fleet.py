"""Step 5: the same chat on two instances."""

from wsrooms.testing import Cluster

from server import ws


async def test_a_room_spans_two_instances() -> None:
    async with Cluster(ws, n=2) as cluster:
        ann = await cluster.connect(0, "/?name=ann")
        bob = await cluster.connect(1, "/?name=bob")
        assert await ann.call("join", "/chat/general") == ["ann"]
        assert await bob.call("join", "/chat/general") == ["bob"]  # who is on his instance
        assert (await ann.receive())["event"] == "joined"

        bob.send("message", "/chat/general", "hello over there")
        assert (await ann.receive())["data"] == {"from": "bob", "text": "hello over there"}


async def test_what_is_said_while_a_link_is_broken_arrives_when_it_is_back() -> None:
    async with Cluster(ws, n=2) as cluster:
        ann = await cluster.connect(0, "/?name=ann")
        bob = await cluster.connect(1, "/?name=bob")
        await bob.call("join", "/chat/general")
        await ann.call("join", "/chat/general")
        assert (await bob.receive())["event"] == "joined"

        cluster.bus.cut(1)
        bob.send("message", "/chat/general", "anybody there?")
        assert (await bob.receive())["data"]["text"] == "anybody there?"  # members here hear it
        await ann.receive_nothing()

        cluster.bus.heal(1)
        await cluster.settle()
        assert (await ann.receive())["data"]["text"] == "anybody there?"

"""Step 5: the same chat on two instances."""

from wsrooms import MemoryBus, MemoryTransport
from wsrooms.testing import connect_client

from server import ws


async def test_a_room_spans_two_instances() -> None:
    bus = MemoryBus()  # what joins the instances: here in memory, later a broker
    one = ws.replica(broadcast_transport=MemoryTransport(bus))
    two = ws.replica(broadcast_transport=MemoryTransport(bus))

    async with connect_client(one, "/?name=ann") as ann, connect_client(two, "/?name=bob") as bob:
        assert await ann.call("join", "/chat/general") == ["ann"]
        assert await bob.call("join", "/chat/general") == ["bob"]  # who is on his instance
        assert (await ann.receive())["event"] == "joined"

        bob.send("message", "/chat/general", "hello over there")
        assert (await ann.receive())["data"] == {"from": "bob", "text": "hello over there"}

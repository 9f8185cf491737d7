"""The test of the smallest chat."""

from wsrooms.testing import connect_client

from chat import ws


async def test_what_is_said_is_heard_by_the_others() -> None:
    async with connect_client(ws) as ann, connect_client(ws) as bob:
        for client in (ann, bob):
            assert await client.call("join", "/chat/general") == {"joined": True}
        ann.send("message", "/chat/general", "hello")
        assert (await bob.receive())["data"] == "hello"

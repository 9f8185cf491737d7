"""Two instances without a broker, on a bus that a test can break: milliseconds each."""

from wsrooms.testing import Cluster

from fleet_chat import ws


async def test_what_is_said_on_one_instance_is_heard_on_the_other() -> None:
    async with Cluster(ws, n=2) as cluster:
        ann, bob = await cluster.connect(0), await cluster.connect(1)
        for client in (ann, bob):
            assert await client.call("join", "/chat/general") == {"joined": True}

        ann.send("message", "/chat/general", "hello")

        assert (await bob.receive())["data"] == "hello"
        await ann.receive_nothing()


async def test_clients_of_an_instance_that_was_cut_off_are_told_to_reload() -> None:
    async with Cluster(ws, n=2) as cluster:
        ann, bob = await cluster.connect(0), await cluster.connect(1)
        for client in (ann, bob):
            await client.call("join", "/chat/general")

        cluster.bus.cut(1)
        ann.send("message", "/chat/general", "bob will miss this")
        await cluster.settle()
        cluster.bus.heal(1)
        await cluster.settle()

        assert (await bob.receive())["event"] == "reload"
        await bob.receive_nothing()


async def test_nothing_is_lost_without_a_word_on_a_bus_that_loses_messages() -> None:
    async with Cluster(ws, n=3, seed=1) as cluster:
        clients = [await cluster.connect_recorded(instance) for instance in range(3)]
        for client in clients:
            await client.join("/chat/general")

        cluster.bus.lose(chance=0.1)
        for _ in range(20):
            for client in clients:
                client.say("/chat/general")
            await cluster.settle()

        await cluster.assert_ok()

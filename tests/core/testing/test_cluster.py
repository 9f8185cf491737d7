"""``Cluster``: several instances on a bus that a test can break."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import Gap, WsApp, WsError, use_ws_connection, use_ws_message, use_ws_rooms
from wsrooms.testing import Cluster, Disconnected, HistoryViolated, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsrooms.testing import Client


@pytest.fixture
def app() -> WsApp:
    ws = WsApp()

    @ws.on_message("join", "/chat/:room")
    async def join() -> dict[str, bool]:
        await use_ws_rooms().join()
        return {"joined": True}

    @ws.on_message("say", "/chat/:room")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data)

    return ws


async def joined(cluster: Cluster, index: int) -> Client:
    client = await cluster.connect(index)
    await client.call("join", "/chat/a")
    return client


async def test_a_message_reaches_the_members_on_every_instance(app: WsApp) -> None:
    async with Cluster(app, n=3) as cluster:
        ann, bob, cat = [await joined(cluster, index) for index in range(3)]

        await ann.call("say", "/chat/a", "hello")

        assert [(await each.receive())["data"] for each in (bob, cat)] == ["hello"] * 2
        await ann.receive_nothing()


async def test_a_message_to_an_instance_that_is_cut_off_is_lost_and_told(app: WsApp) -> None:
    gaps: list[Gap] = []
    app.on_gap(gaps.append)
    async with Cluster(app) as cluster:
        ann, bob = [await joined(cluster, index) for index in range(2)]
        cluster.bus.cut(1)
        assert [each.health().state for each in cluster.apps] == ["up", "down"]
        await ann.call("say", "/chat/a", "lost")
        await cluster.settle()
        cluster.bus.heal(1)
        await cluster.settle()
        assert gaps == [Gap(None, None, None)]

        await ann.call("say", "/chat/a", "heard")
        assert (await bob.receive())["data"] == "heard"


async def test_an_instance_that_is_not_there_is_told(app: WsApp) -> None:
    async with Cluster(app, n=2) as cluster:
        with pytest.raises(IndexError, match="no instance 2: the last one is 1"):
            await cluster.connect(2)


async def test_a_client_of_a_block_of_its_own_ends_with_it_and_others_with_the_cluster(
    app: WsApp,
) -> None:
    async with Cluster(app, n=2) as cluster:
        async with cluster.connect(0) as ann, cluster.connect_recorded(1) as bob:
            assert [len(each.server.connections()) for each in cluster.apps] == [1, 1]
        assert ann.close_code == bob.client.close_code == 1000
        assert [len(each.server.connections()) for each in cluster.apps] == [0, 0]
        cat = await cluster.connect(1)
    assert cat.close_code == 1001


async def test_a_join_waits_until_the_bus_confirms_it(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        ann = await cluster.connect(0)
        cluster.bus.delay(4.0)
        answer = asyncio.ensure_future(ann.call("join", "/chat/a"))
        await cluster.advance(3.9)
        assert not answer.done()

        await cluster.advance(0.2)
        assert await answer == {"joined": True}


async def test_until_lets_time_pass_for_one_call(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        cluster.bus.delay(20.0)
        ann = await cluster.connect(0)

        assert await cluster.until(ann.call("join", "/chat/a")) == {"joined": True}
        assert cluster.bus.now == pytest.approx(20.0)


async def test_a_refused_join_is_answered_with_503(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        ann = await cluster.connect(0)
        cluster.bus.refuse(1)

        with pytest.raises(WsError) as caught:
            await ann.call("join", "/chat/a")
        assert caught.value.code == 503


async def test_hooks_and_lifespan_run_on_every_instance_as_in_production() -> None:
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        told.append("enter")
        yield
        told.append("leave")

    app = WsApp(lifespan=lifespan)

    @app.on_connect
    async def come() -> None:
        await use_ws_connection().join("/lobby")

    @app.on_disconnect
    def go() -> None:
        told.append("disconnect")

    async with Cluster(app) as cluster:
        ann = await cluster.connect_recorded(0, rooms=("/lobby",))
        await cluster.connect_recorded(1, rooms=("/lobby",))
        assert told == ["enter", "enter"]
        assert [len(each.room("/lobby")) for each in cluster.apps] == [1, 1]
        await ann.say("/lobby")
        await cluster.assert_ok()

    assert told == ["enter", "enter", "disconnect", "leave", "disconnect", "leave"]


async def test_a_crashed_instance_says_nothing_and_a_restarted_one_knows_nothing(
    app: WsApp,
) -> None:
    gone: list[str] = []
    app.on_disconnect(lambda: gone.append("hook"))
    async with Cluster(app) as cluster:
        ann, bob = await joined(cluster, 0), await joined(cluster, 1)
        await cluster.crash(0)
        with pytest.raises(Disconnected):
            await ann.receive()
        assert gone == []
        with pytest.raises(ValueError, match="instance 0 does not run"):
            await cluster.connect(0)
        with pytest.raises(ValueError, match="instance 1 runs"):
            await cluster.restart(1)

        await cluster.restart(0)
        again = await joined(cluster, 0)
        await again.call("say", "/chat/a", "I am back")
        assert (await bob.receive())["data"] == "I am back"
        assert cluster.apps[0].stats()["connections_total"] == 1


async def test_what_a_crashed_instance_had_not_sent_is_lost_without_a_violation(
    app: WsApp,
) -> None:
    async with Cluster(app) as cluster:
        ann, bob = [await cluster.connect_recorded(index) for index in range(2)]
        for each in (ann, bob):
            await each.join("/r")
        cluster.bus.delay(1.0, direction="up")
        said = ann.say("/r")
        await cluster.advance(0.5)
        await cluster.crash(0)
        with pytest.raises(Disconnected):
            await said
        await cluster.restart(0)

        await cluster.assert_ok()


async def test_a_closed_instance_ends_its_clients_with_1001(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        ann = await cluster.connect(0)
        await cluster.stop(0)
        assert ann.close_code == 1001

        await cluster.restart(0)
        await cluster.connect(0)


async def test_the_history_tells_what_recorded_clients_did_and_saw(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        ann = await cluster.connect_recorded(0, name="ann")
        bob = await cluster.connect_recorded(1, name="bob")
        for each in (ann, bob):
            await each.join("/r")
        await ann.say("/r")
        await bob.announce()
        await bob.leave("/r")
        await cluster.settle()
        await bob.close()
        told = [record.told() for record in cluster.history]

    assert [line for line in told if "started" not in line and "i0 is" not in line][:20] == [
        "ann connects to i0",
        "ann is connected",
        "bob connects to i1",
        "bob is connected",
        "ann asks to join room '/r'",
        "ann is told that it is in room '/r'",
        "bob asks to join room '/r'",
        "bob is told that it is in room '/r'",
        "message ann:2 to room '/r' is sent on i0 by ann, not to ann",
        "bob receives message ann:2 in room '/r'",
        "message ann:2 was taken",
        "message bob:2 to everybody is sent on i1 by bob",
        "bob receives message bob:2 in everybody",
        "ann receives message bob:2 in everybody",
        "message bob:2 was taken",
        "bob asks to leave room '/r'",
        "bob is told that it has left room '/r'",
        "nothing is on its way any more",
        "bob ends its connection",
        "bob is disconnected (the connection is closed: 1000)",
    ]


async def test_every_fault_of_the_bus_is_reported_as_the_history_demands(app: WsApp) -> None:
    async with Cluster(app, n=3, seed=5) as cluster:
        clients = [await cluster.connect_recorded(index % 3) for index in range(6)]
        for each in clients:
            await each.join("/r")
        cluster.bus.delay(0.01, jitter=0.2, direction="both")
        cluster.bus.lose(chance=0.2)
        cluster.bus.duplicate(chance=0.2)
        cluster.bus.reorder(chance=0.2)
        for _ in range(20):
            for each in clients:
                await cluster.until(each.say("/r"))

        await cluster.assert_ok()

        assert sum(cluster.bus.lost.values()) > 30
        assert sum(record.kind == "gap" for record in cluster.history) > 30


async def test_a_loss_that_is_not_told_is_found(app: WsApp) -> None:
    async with Cluster(app) as cluster:
        ann, bob = [await cluster.connect_recorded(index) for index in range(2)]
        for each in (ann, bob):
            await each.join("/r")
        await ann.say("/r")
        cluster.apps[1]._life.gap_hooks._own.clear()  # a hook that nobody calls
        cluster.bus.lose(1)
        await ann.say("/r")

        with pytest.raises(HistoryViolated, match="i1 lost 1 message"):
            await cluster.assert_ok()


async def test_a_client_that_does_not_read_is_not_expected_to_receive() -> None:
    async with Cluster(WsApp()) as cluster:
        ann, bob = [await cluster.connect_recorded(index) for index in range(2)]
        for each in (ann, bob):
            await each.join("/r")
        bob.pause_reading()
        await ann.say("/r")
        await cluster.settle()
        assert cluster.history.check() == []

        bob.resume_reading()
        await cluster.assert_ok()


async def test_a_client_that_vanishes_is_no_violation() -> None:
    async with Cluster(WsApp()) as cluster:
        ann, bob = [await cluster.connect_recorded(index) for index in range(2)]
        await bob.join("/r")
        said = ann.say("/r")
        bob.abort()
        bob.tell("/r")
        await said

        await cluster.assert_ok()


async def test_a_refused_client_is_told_so_and_is_no_member() -> None:
    app = WsApp()

    @app.on_connect
    def refuse() -> None:
        raise WsError(403, "no")

    async with Cluster(app) as cluster:
        with pytest.raises(Disconnected, match="no"):
            await cluster.connect_recorded(0, rooms=("/r",))
        await cluster.assert_ok()


async def test_an_exception_in_the_block_tells_the_seed_that_replays_it(app: WsApp) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with Cluster(app, n=3, seed=7):
            _ = 1 / 0

    assert caught.value.__notes__ == [
        "the cluster's seed was 7: Cluster(app, n=3, seed=7) makes the same choices"
    ]


def test_without_a_seed_one_is_drawn() -> None:
    assert Cluster(WsApp()).seed != Cluster(WsApp()).seed


def test_a_cluster_has_at_least_one_instance() -> None:
    with pytest.raises(ValueError, match="at least one instance"):
        Cluster(WsApp(), n=0)


async def test_what_could_not_start_leaves_nothing_behind() -> None:
    entered: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        if entered:
            raise OSError("no database")
        entered.append("first")
        yield
        entered.append("left")

    with pytest.raises(OSError, match="no database"):
        async with Cluster(WsApp(lifespan=lifespan)):
            pass
    assert entered == ["first", "left"]


def test_on_virtual_time_two_runs_of_one_seed_are_the_same() -> None:
    async def main() -> list[Any]:
        async with Cluster(WsApp(), n=2, seed=3) as cluster:
            clients = [await cluster.connect_recorded(index % 2) for index in range(4)]
            for each in clients:
                await each.join("/r")
            cluster.bus.delay(0.5, jitter=1.0, direction="both")
            cluster.bus.lose(chance=0.3)
            for _ in range(10):
                for each in clients:
                    each.say("/r")
                await asyncio.sleep(1.0)
            await cluster.assert_ok()
            return cluster.history.records

    first = run(main(), seed=3)
    assert first == run(main(), seed=3)
    assert first[-1].at > 10.0

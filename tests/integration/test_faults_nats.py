"""What only a NATS server does to its clients: told why, counted, and over when it is over."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.brokers import nats_cluster
from tests.deadlines import promised
from tests.integration.buses import BUSES, Bus
from tests.integration.buses.nats import NatsBroker, NatsBus, Settings, image
from tests.integration.faults_traffic import ROOM
from tests.integration.faults_trial import AT_ONCE, HEALED, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.brokers import NatsServer
    from tests.integration.clients import Client
    from tests.integration.nursery import Nursery
    from tests.integration.process import Process


@pytest.fixture(scope="session")
def bus() -> Bus:
    """NATS alone."""
    [found] = [each for each in BUSES if isinstance(each, NatsBus)]
    found.prepare()
    return found


async def test_settings_that_are_read_again_under_traffic_cost_nothing(
    nursery: Nursery, broker: NatsBroker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("reload", outage=False) as fault:
            broker.settings.more["max_connections"] = 100
            await broker.reload()
        fault.assert_served()
        fault.assert_nothing_lost()
        assert await trial.stats("reconnects") == [0] * 3


async def test_an_error_of_the_server_ends_the_link_that_it_is_about_and_is_told(
    nursery: Nursery, broker: NatsBroker, tmp_path: Path
) -> None:
    broker.settings.more.update(ping_interval=f"{promised(1.5):g}s", ping_max=1)
    await broker.restart()
    async with Trial(nursery, broker, tmp_path) as trial:
        still = trial.processes[0]
        async with trial.fault("-ERR 'Stale Connection'", broken=[0]) as fault:
            still.signal(signal.SIGSTOP)
            await until_equal(lambda: _connected(broker.server), 2)
            still.signal(signal.SIGCONT)
        fault.assert_told_once()
        await trial.all_up()
        assert "Stale Connection" in still.log_text()
        assert await trial.stats("reconnects") == [1, 0, 0]


async def _connected(server: NatsServer) -> int:
    """How many instances have a connection, as the server says."""
    return len(await NatsBroker(server, Settings()).connection_ids())


SMALLER = 100_000
"""Bytes that a message may have, from some moment on."""

BIG = "x" * SMALLER
BIG_ONES = 5


@pytest.mark.parametrize("way", ["reload", "restart"])
async def test_what_is_too_large_for_a_server_that_takes_less_is_refused_and_nothing_else(
    nursery: Nursery, broker: NatsBroker, tmp_path: Path, way: str
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        sender, *others = trial.processes
        broker.settings.more["max_payload"] = SMALLER
        broken = [0] if way == "reload" else None
        async with trial.fault(f"max_payload lowered: {way}", broken=broken) as fault:
            if way == "reload":
                await broker.reload()
                ids = await trial.say(0, [ROOM] * BIG_ONES, mark=BIG)
            else:
                await broker.server.kill()
                await fault.noticed(AT_ONCE)
                saying = asyncio.create_task(trial.say(0, [ROOM] * BIG_ONES, mark=BIG))
                await trial.traffic.burst([])
                await until_equal(lambda: _holds(sender, BIG_ONES * len(BIG)), True)
                await broker.start()
                ids = await saying
        fault.assert_told_once()
        fault.assert_served()
        refused = {each.message: each.note for each in trial.history if each.kind == "send_failed"}
        assert refused.keys() == set(ids)
        assert all("PayloadTooLarge" in note for note in refused.values()), refused
        for other in others:
            told = trial.gaps[other.name]
            missing = [(number, room) for room, name, number in told if name == sender.publisher]
            assert sum(number or 0 for number, _ in missing) == BIG_ONES, told
            assert {room for _, room in missing} == {ROOM}
        assert await sender.ask("max_payload") < SMALLER
        await trial.all_up()
        links = [1, 0, 0] if way == "reload" else [1, 1, 1]
        assert await trial.stats("reconnects") == links


async def _holds(process: Process, size: int) -> bool:
    """Whether at least so many bytes wait to be published."""
    stats: dict[str, int] = await process.ask("stats")
    return stats["outbox_bytes"] >= size


SHORTER = 512
"""Bytes that a line of the protocol may have, from some moment on; a shorter limit is refused."""

LONG_ROOMS = ["/" + "x" * size for size in (SHORTER, 600, 601, 900)]


@pytest.mark.parametrize("way", ["reload", "restart"])
async def test_a_name_that_is_too_long_for_a_server_is_refused_and_other_rooms_go_on(
    nursery: Nursery, broker: NatsBroker, tmp_path: Path, way: str
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        clients = [await trial.client(index) for index in range(3)]
        broker.settings.more["max_control_line"] = SHORTER
        if way == "restart":  # so that they are to be restored
            for client in clients:
                for room in LONG_ROOMS:
                    await client.call("enter", "/room", room)
        async with trial.fault(f"max_control_line lowered: {way}") as fault:
            if way == "restart":
                await broker.server.kill()
                await fault.noticed(AT_ONCE)
                await broker.start()
                await trial.all_up()
            else:
                await broker.reload()
            for room in LONG_ROOMS:
                refused = await asyncio.gather(*(_refused(each, room) for each in clients))
                assert refused == [True] * 3
        fault.assert_served()
        fault.assert_told_once()
        await trial.all_up()
        links = await trial.stats("reconnects")
        assert way == "restart" or links == [1] * 3  # the shortest has told of all others
        await trial.say(0, LONG_ROOMS)
        failed = [each.note for each in trial.history if each.kind == "send_failed"]
        assert len(failed) == len(LONG_ROOMS)
        assert all("InvalidChannel" in note for note in failed)
        for each in clients:
            await each.call("enter", "/room", "a short one")
        assert await trial.stats("reconnects") == links  # known by now


async def _refused(client: Client, room: str) -> bool:
    """Whether a join is refused."""
    try:
        await client.call("enter", "/room", room)
    except WsError as error:
        return error.code in (400, 503)
    return False


LEAVING: dict[str, str | int] = {
    "lame_duck_duration": f"{promised(30.0):g}s",
    "lame_duck_grace_period": f"{promised(4.0):g}s",
}
"""It asks clients to leave, and after the second of these it closes one of them each second."""

LAST_CLOSED = promised(10.0)
"""Seconds after which the last of three is closed."""


async def test_a_server_that_asks_to_leave_is_kept_to_its_end_where_there_is_no_other(
    nursery: Nursery, broker: NatsBroker, tmp_path: Path
) -> None:
    broker.settings.more.update(LEAVING)
    await broker.restart()
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("lame duck, no other server") as fault:
            await broker.server.lame_duck()
            await trial.traffic.reaches_all(fault.began, HEALED)
            assert await trial.stats("reconnects") == [0] * 3
            await fault.noticed(LAST_CLOSED)
            await broker.restart()
        fault.assert_served()
        fault.assert_told_once()
        await trial.all_up()


async def test_a_server_that_asks_to_leave_is_left_without_a_loss_where_there_is_another(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with (
        nats_cluster(2, image(), config=Settings().text()) as servers,
        Clustered(nursery, servers, tmp_path) as trial,
    ):
        assert [await _connected(each) for each in servers] == [2, 1]
        async with trial.fault("lame duck, another server", broken=[0, 2], outage=False) as fault:
            await servers[0].lame_duck()
            await trial.traffic.burst([])  # or hardly a message would meet the moment
            await until_equal(lambda: _connected(servers[1]), 3)
            await until_equal(lambda: _connected(servers[0]), 0)
        fault.assert_served()
        fault.assert_nothing_lost()
        assert not trial.gaps
        await trial.all_up()
        assert await trial.stats("reconnects") == [0] * 3


async def test_the_kill_of_a_server_of_a_cluster_costs_a_gap_for_those_at_it_and_no_other(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with (
        nats_cluster(3, image(), config=Settings().text()) as servers,
        Clustered(nursery, servers, tmp_path) as trial,
    ):
        assert [await _connected(each) for each in servers] == [1] * 3
        async with trial.fault("SIGKILL of one server of three", broken=[0]) as fault:
            await servers[0].kill()
            await until_equal(lambda: _connected(servers[1]), 2)
        fault.assert_told_once()
        fault.assert_served()
        async with trial.fault("it is started again", outage=False) as fault:
            await servers[0].start()
        fault.assert_nothing_lost()
        await trial.all_up()
        assert await trial.stats("reconnects") == [1, 0, 0]


class Clustered(Trial):
    """A trial on a cluster: each instance at a server of its own, and without a proxy."""

    def __init__(self, nursery: Nursery, servers: list[NatsServer], folder: Path) -> None:
        super().__init__(nursery, NatsBroker(servers[0], Settings()), folder)
        self._servers = servers

    def url_of(self, index: int) -> str:
        at = index % len(self._servers)
        known = [*self._servers[at:], *self._servers[:at]]
        hosts = ",".join(f"{each.host}:{each.port}" for each in known)
        # They share the time: a third of the default is little on a busy machine, which would
        # then have an instance go to another one.
        return f"nats://{hosts}?randomize=false&connect_timeout={promised(10.0):g}"

"""A client that does not read: what each slow-client policy gives it, to the message."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp, WsLimits, use_ws_connection, use_ws_message, use_ws_rooms
from wsrooms.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsrooms import WsConnection

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    RawClient = Any
    RawConnect = Callable[..., Any]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

CLOSE_TIMEOUT = 2.0
"""Seconds in which a client that does not read is cut, as docs/serving.md says."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists descriptors so")

PADDING = "a" * 2000

BOUNDS = {
    "messages": {"outbox_messages": 50, "outbox_bytes": 1_000_000},
    "bytes": {"outbox_messages": 1_000_000, "outbox_bytes": 100_000},
}


class Feed:
    """A room that is sent numbered pushes of one length, and the app it is in."""

    def __init__(self, **limits: Any) -> None:
        self.app = WsApp(heartbeat_interval=None, limits=WsLimits(**limits), shutdown_timeout=0.5)
        self.sent = 0
        self.codes: list[int | None] = []
        self.app.on_message("join", "/feed", self._join)
        self.app.on_message("ask", "/feed", lambda: use_ws_message().data)
        self.app.on_disconnect(self._gone)

    def _join(self) -> str:
        use_ws_rooms().join()
        return use_ws_connection().id

    def _gone(self) -> None:
        self.codes.append(use_ws_connection().close_code)

    def push(self) -> None:
        """Broadcast the next number, which must neither wait nor fail."""
        receipt = self.app.room("/feed").broadcast("n", {"n": 100_000 + self.sent, "p": PADDING})
        assert receipt.done
        assert receipt.error is None
        self.sent += 1

    @property
    def dropped(self) -> int:
        return self.app.stats()["dropped_slow"]

    @property
    def handed(self) -> int:
        """Pushes that have left the outbox; each test's client got ``before`` other frames."""
        return self.app.stats()["messages_out"] - self.before

    before = 1

    @property
    def is_somebody_slow(self) -> bool:
        return self.dropped > 0 or self.app.stats()["slow_clients"] > 0

    async def until_stuck(self, per_turn: int) -> None:
        """Push so many a turn until each is dropped or drops one: nothing moves any more."""
        in_a_row = 0
        async with asyncio.timeout(DEADLINE):
            while in_a_row < 100:
                before = self.dropped
                for _ in range(per_turn):
                    self.push()
                await asyncio.sleep(0)
                in_a_row = in_a_row + 1 if self.dropped == before + per_turn else 0

    async def until_closed(self, connection: WsConnection) -> int:
        """Push one a turn until that closes the client; returns how many had left before."""
        async with asyncio.timeout(DEADLINE):
            while True:
                handed = self.handed
                self.push()
                if connection.close_code is not None:
                    return handed
                await asyncio.sleep(0)


async def joined(client: RawClient) -> str:
    """Join the room; returns the connection's id."""
    await client.send('{"event":"join","path":"/feed","id":"joined"}')
    id: str = json.loads(await client.text())["data"]
    return id


class Got(NamedTuple):
    """One frame that a client received; ``size`` is that of the frame."""

    kind: Literal["push", "reply", "pong"]
    value: int | str
    size: int


async def received(client: RawClient, last: str = "") -> list[Got]:
    """All that comes up to the reply ``last``, or to the CLOSE, in order."""
    got: list[Got] = []
    while True:
        frame = await client.receive()
        size = len(frame.payload) + (2 if len(frame.payload) < 126 else 4)
        if frame.opcode == client.PONG:
            got.append(Got("pong", frame.payload.decode(), size))
            continue
        if frame.opcode == client.CLOSE:
            assert last == ""
            got.append(Got("reply", frame.payload[2:].decode(), int.from_bytes(frame.payload[:2])))
            return got
        message = json.loads(frame.payload)
        if "id" not in message:
            got.append(Got("push", message["data"]["n"] - 100_000, size))
        elif message["id"] == last:
            return got
        else:
            got.append(Got("reply", message["id"], size))


def only(kind: str, got: list[Got]) -> list[int | str]:
    return [each.value for each in got if each.kind == kind]


def room_for_pushes(limits: dict[str, int], kept: list[Got], push: int) -> int:
    """How many pushes of one size an outbox holds beside frames that are never dropped."""
    by_bytes = (limits["outbox_bytes"] - sum(each.size for each in kept)) // push
    return min(limits["outbox_messages"] - len(kept), by_bytes)


@pytest.mark.parametrize("per_turn", [1, 7])
@pytest.mark.parametrize("bound", list(BOUNDS))
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_a_client_that_reads_again_gets_to_the_message_what_its_policy_says(
    policy: Literal["drop_oldest", "drop_newest"],
    bound: str,
    per_turn: int,
    raw_client: RawConnect,
) -> None:
    limits = BOUNDS[bound]
    feed = Feed(slow_client=policy, **limits)
    async with (
        feed.app.serving() as address,
        raw_client(address, receive_buffer=4096) as client,
    ):
        connection = feed.app.server.get_connection(await joined(client))
        assert connection is not None
        await client.write(client.frame(b"early", client.PING))
        assert (await client.receive()).payload == b"early"
        feed.before = 2  # the reply to the join and this
        await feed.until_stuck(per_turn)
        # From here on the outbox is full, and neither the kernel nor the transport takes more.
        handed = feed.handed
        first, dropped = feed.sent, feed.dropped
        await client.write(client.frame(b"late 1", client.PING))
        await client.send('{"event":"ask","path":"/feed","id":"asked","data":1}')
        await client.write(client.frame(b"late 2", client.PING))
        for number in range(200):
            feed.push()
            if number in (10, 20, 195):
                connection.reply(f"r{number}", number)
            if number % per_turn == 0:
                await asyncio.sleep(0)
        assert feed.handed == handed
        dropped_late, dropped = feed.dropped - dropped, feed.dropped
        connection.reply("end")
        got = await received(client, "end")

        pushes = only("push", got)
        assert len(pushes) == feed.sent - dropped, "what was not dropped has come"
        kept = [each for each in got if each.kind != "push"]
        if policy == "drop_newest":
            held = room_for_pushes(limits, [], got[0].size)
            assert dropped_late == 200
            late: list[int | str] = ["r10", "r20", "r195"]
            assert pushes == list(range(handed + held)), "the first ones, without a hole"
        else:
            held = room_for_pushes(limits, kept, got[0].size)
            cut = first + 196
            late = ["r10", "r20", *range(feed.sent - held, cut), "r195", *range(cut, feed.sent)]
            assert pushes[:handed] == list(range(handed)), "what had left before"
            if bound == "messages":
                assert dropped_late == 200 + len(kept), "those take a place each"
        assert len(pushes) == handed + held, "the outbox was filled to its bound"
        # What it asks while there is room in the outbox is answered; the moment is the kernel's.
        ours = [each.value for each in got if each.kind != "pong" and each.value != "asked"]
        assert ours[-len(late) :] == late

        # It reads again: what it had asked is answered, and pushes come as ever.
        feed.push()
        connection.reply("end 2")
        rest = await received(client, "end 2")
        assert only("push", rest) == [feed.sent - 1]
        await client.write(client.frame(b"last", client.PING))
        await client.send('{"event":"ask","path":"/feed","id":"end 3"}')
        everything = [*got, *rest, *await received(client, "end 3")]
        assert only("pong", everything) == ["late 1", "late 2", "last"]
        assert sorted(only("reply", everything), key=str) == ["asked", "r10", "r195", "r20"]
        assert feed.dropped == dropped
        assert feed.app.stats()["slow_clients"] == 0
        assert feed.codes == []


@pytest.fixture
def much_time_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apps wait for who is closed until a test has failed, however busy the machine is."""
    settings = functools.partial(ServerSettings, close_timeout=DEADLINE)
    monkeypatch.setattr("wsrooms.app.ServerSettings", settings)


@pytest.mark.usefixtures("much_time_to_read")
@pytest.mark.parametrize("bound", list(BOUNDS))
async def test_a_client_that_is_closed_as_slow_may_still_read_all_up_to_then_and_why(
    bound: str, raw_client: RawConnect, eventually: Eventually
) -> None:
    feed = Feed(**BOUNDS[bound])
    async with (
        feed.app.serving() as address,
        raw_client(address, receive_buffer=4096) as client,
    ):
        connection = feed.app.server.get_connection(await joined(client))
        assert connection is not None
        handed = await feed.until_closed(connection)
        assert connection.close_code == 4008
        assert feed.app.stats()["slow_clients"] == 1
        assert feed.dropped == 0
        last = feed.sent
        for _ in range(10):
            feed.push()  # it is in the room until on_disconnect has run, and gets no more
        await eventually(lambda: feed.codes)
        assert feed.codes == [4008]
        assert connection not in feed.app.server.connections()
        assert len(feed.app.room("/feed")) == 0
        got = await received(client)
        assert got.pop() == Got("reply", "slow client", 4008)
        assert only("push", got) == list(range(last - 1))
        held = room_for_pushes(BOUNDS[bound], [], got[0].size)
        assert len(got) == handed + held, "it is closed by the push that does not fit"
        assert feed.app.stats()["slow_clients"] == 1


@linux
async def test_a_client_that_is_closed_as_slow_and_reads_nothing_is_cut_in_time(
    raw_client: RawConnect, eventually: Eventually
) -> None:
    feed = Feed(**BOUNDS["messages"])
    loop = asyncio.get_running_loop()
    async with (
        feed.app.serving() as address,
        raw_client(address, receive_buffer=4096) as client,
    ):
        connection = feed.app.server.get_connection(await joined(client))
        assert connection is not None
        mine = client.writer.get_extra_info("sockname")
        await feed.until_closed(connection)
        closed_at = loop.time()
        assert has_socket_to(mine)
        async with asyncio.timeout(DEADLINE):
            while has_socket_to(mine):  # noqa: ASYNC110 - descriptors tell nobody
                await asyncio.sleep(0.01)
        assert loop.time() - closed_at < CLOSE_TIMEOUT + promised(2.0)
        await eventually(lambda: feed.codes)
        assert feed.codes == [4008]


def has_socket_to(address: object) -> bool:
    """Whether a socket of this process, the server's, has its other end there."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile, or it has no other end
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family == socket.AF_INET and copy.getpeername() == address:
                    return True
    return False


@pytest.mark.parametrize("policy", ["close", "drop_oldest", "drop_newest"])
async def test_one_member_that_does_not_read_costs_the_others_nothing(
    policy: Any, connect: Connect, raw_client: RawConnect
) -> None:
    feed = Feed(slow_client=policy, **BOUNDS["messages"])
    async with (
        feed.app.serving() as address,
        raw_client(address, receive_buffer=4096) as stuck,
    ):
        await joined(stuck)
        healthy = [await connect(address) for _ in range(10)]
        for peer in healthy:
            await peer.call("join", "/feed")
        rounds_left = 20
        while rounds_left:
            # A broadcast is a call that returns: nothing else runs between these.
            for _ in range(20):
                feed.push()
            for peer in healthy:  # they read as fast as is asked of them
                await peer.settled()
            rounds_left -= feed.is_somebody_slow
        for peer in healthy:
            numbers = [push["data"]["n"] - 100_000 for push in await peer.pushes()]
            assert numbers == list(range(feed.sent))
        assert feed.app.stats()["slow_clients"] == (policy == "close")
        assert (feed.dropped == 0) == (policy == "close")
        assert feed.codes == ([4008] if policy == "close" else [])

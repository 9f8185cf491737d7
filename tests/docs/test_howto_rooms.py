"""The how-tos about who may be where: login, private rooms, users, snapshots, presence."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsError
from wsrooms.testing import Cluster, run

from .programs import Client, client, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from wsrooms import WsApp
    from wsrooms.testing import Client as ClusterClient


def refusal(code: int, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


@asynccontextmanager
async def private_rooms() -> AsyncIterator[tuple[ModuleType, str]]:
    """The program without its patrol, which would come when it likes."""
    module = load("private_rooms.py")
    vars(module)["ws"] = module.ws.replica(lifespan=None)
    async with module.ws.serving() as address:
        yield module, address.url


def cookie(user: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; session={user}-secret"}


@pytest.mark.parametrize("headers", [{}, {"Cookie": "session=guess"}, {"Authorization": "Bearer "}])
async def test_who_has_no_session_is_closed_with_1008_and_told_why(headers: dict[str, str]) -> None:
    async with private_rooms() as (_, url), client(url, headers) as stranger:
        assert await stranger.end() == (1008, "log in first")


async def test_a_cookie_and_a_token_open_the_rooms_of_their_user() -> None:
    async with (
        private_rooms() as (_, url),
        client(url, cookie("ann")) as ann,
        client(url, {"Authorization": "Bearer bob-secret"}) as bob,
        client(url, cookie("cy")) as cy,
    ):
        for one in (ann, bob):
            assert await one.call("join", "/rooms/team") == {"data": "welcome to team"}
        closed = refusal(403, "this room is private")
        assert await cy.call("join", "/rooms/team") == closed
        for other_spelling in ("/rooms/te%61m", "/rooms/team?", "/rooms/team?x"):
            assert await cy.call("join", other_spelling) == closed
        assert await cy.call("message", "/rooms/team", data="psst") == refusal(
            403, "join the room first"
        )
        await ann.send("message", "/rooms/team", data="hello")
        assert (await bob.receive())["data"] == {"from": "ann", "text": "hello"}


async def test_an_owner_shows_somebody_out_and_nobody_else_can() -> None:
    async with (
        private_rooms() as (_, url),
        client(url, cookie("ann")) as ann,
        client(url, cookie("bob")) as bob,
    ):
        for one in (ann, bob):
            await one.call("join", "/rooms/team")
        only_owner = refusal(403, "only the owner of a room removes others from it")
        assert await bob.call("kick", "/rooms/team", data="ann") == only_owner
        assert await ann.call("kick", "/rooms/team", data="ann") == only_owner
        assert await ann.call("kick", "/rooms/nowhere", data="bob") == only_owner
        assert await ann.call("kick", "/rooms/team", data="bob") == {"data": None}
        assert await bob.receive() == {"event": "removed", "path": "/rooms/team"}
        assert await ann.call("message", "/rooms/team", data="he is gone") == {"data": None}
        # The next thing that bob hears is this reply, so he was not sent the message.
        assert await bob.call("join", "/rooms/team") == refusal(403, "this room is private")


async def test_whoever_is_removed_is_shown_out_where_several_instances_run() -> None:
    module = load("private_rooms.py")
    async with Cluster(module.ws, n=2) as cluster:
        ann, bob = [await cluster.connect(0, headers=cookie(name)) for name in ("ann", "bob")]
        for one in (ann, bob):
            await one.call("join", "/rooms/team")
        await ann.call("kick", "/rooms/team", "bob")
        assert await bob.receive() == {"event": "removed", "path": "/rooms/team"}


async def test_a_session_that_ends_is_refused_at_once_and_closed_by_the_patrol() -> None:
    async with private_rooms() as (module, url), client(url, cookie("ann")) as ann:
        assert "data" in await ann.call("join", "/rooms/team")
        del module.SESSIONS["ann-secret"]
        ended = "your session has ended"
        assert await ann.call("message", "/rooms/team", data="still here") == refusal(401, ended)
        walking = module.ws.start_task(module.patrol(module.ws, every=0.01), name="patrol")
        assert await ann.end() == (1008, ended)
        assert not walking.done()


async def test_the_first_message_can_be_the_login() -> None:
    module = load("first_message.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        assert await ann.call("whoami", "/") == refusal(401, "log in first")
        assert await ann.call("login", "/", data="guess") == refusal(401, "unknown token")
        assert await ann.call("login", "/", data="ann-token") == {"data": "ann"}
        assert await ann.call("whoami", "/") == {"data": "ann"}


async def test_who_does_not_log_in_in_time_is_shown_out_and_who_does_stays() -> None:
    module = load("first_message.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        await ann.call("login", "/", data="ann-token")
        vars(module)["LOGIN_TIME"] = 0.01
        async with client(address.url) as stranger:
            assert await stranger.end() == (1008, "no login in time")
        [connection] = module.ws.server.connections()
        module.show_out_strangers(connection)  # as ann's own timer does
        assert await ann.call("whoami", "/") == {"data": "ann"}


class Fleet:
    """Instances of one program on one bus, and clients that know where they are."""

    def __init__(self, apps: list[WsApp], urls: list[str], stack: AsyncExitStack) -> None:
        self.apps = apps
        self._urls = urls
        self._stack = stack

    async def connect(self, instance: int, user: str) -> Client:
        return await self._stack.enter_async_context(client(f"{self._urls[instance]}/?user={user}"))


@asynccontextmanager
async def fleet(app: WsApp, instances: int = 2, **options: Any) -> AsyncIterator[Fleet]:
    first = app.replica(broadcast_transport="memory://", **options)
    apps = [first, *(first.replica() for _ in range(instances - 1))]
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(one.serving())).url for one in apps]
        yield Fleet(apps, urls, stack)


async def test_a_user_is_reached_on_all_his_devices_and_nobody_else_is() -> None:
    async with fleet(load("user_rooms.py").ws) as together:
        laptop = await together.connect(0, "ann")
        phone = await together.connect(1, "ann")
        bob = await together.connect(1, "bob")
        await bob.send("tell", "/users/ann", data="hello")
        for device in (laptop, phone):
            told = await device.receive()
            assert (told["event"], told["data"]) == ("told", {"from": "bob", "text": "hello"})
        assert await phone.call("read", "/inbox/7") == {"data": None}  # not told to itself
        seen = await laptop.receive()
        assert (seen["event"], seen["data"]) == ("read", "7")
        assert await bob.call("read", "/inbox/8") == {"data": None}


async def test_a_connection_without_a_user_is_refused() -> None:
    for name in ("user_rooms.py", "presence.py"):
        async with load(name).ws.serving() as address:
            for query in ("", "?user="):
                async with client(f"{address.url}/{query}") as stranger:
                    assert await stranger.end() == (1008, "log in first")


async def test_a_user_is_offline_when_the_last_tab_of_the_fleet_has_closed() -> None:
    async with fleet(load("user_rooms.py").ws) as together:
        tabs = [await together.connect(0, "ann"), await together.connect(0, "ann")]
        phone = await together.connect(1, "ann")
        watcher = await together.connect(1, "bob")
        assert await watcher.call("watch", "/users/ann") == {"data": None}
        for device in (*tabs, phone):
            assert (await device.receive())["event"] == "there?"
            await device.send("here", "/me")
            assert await heard(watcher) == ("online", "ann")

        await tabs[0].close()  # another tab of this instance is open: nothing to tell
        await tabs[1].close()
        assert await heard(watcher) == ("offline?", "ann")
        assert (await phone.receive())["event"] == "there?"
        await phone.send("here", "/me")
        assert await heard(watcher) == ("online", "ann")

        await phone.close()
        assert await heard(watcher) == ("offline?", "ann")
        await together.connect(0, "ann")
        assert await heard(watcher) == ("online", "ann")


async def heard(one: Client) -> tuple[str, Any]:
    push = await one.receive()
    return push["event"], push["data"]


async def test_two_tabs_that_close_in_one_moment_leave_the_user_offline() -> None:
    async with fleet(load("user_rooms.py").ws, instances=1) as alone:
        tabs = [await alone.connect(0, "ann"), await alone.connect(0, "ann")]
        watcher = await alone.connect(0, "bob")
        await watcher.call("watch", "/users/ann")
        await asyncio.gather(*(tab.close() for tab in tabs))
        assert await heard(watcher) == ("offline?", "ann")


async def test_an_update_between_snapshot_and_reply_comes_after_a_join_that_came_first() -> None:
    module = load("snapshot.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        await written_while_read(module)
        await ann.send("open", "/boards/plan", id=1)
        update = await ann.receive()
        reply = await ann.receive()
        assert update["data"] == {"version": 1, "key": "title", "value": "first"}
        assert reply == {"id": 1, "data": {"version": 0, "items": {}}}
        setting = {"key": "title", "value": "second"}
        await ann.send("set", "/boards/plan", data=setting, id=2)
        assert (await ann.receive())["data"] == {"version": 2, **setting}
        assert await ann.receive() == {"id": 2, "data": 2}


async def test_the_other_order_loses_the_update() -> None:
    module = load("snapshot.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        await written_while_read(module)
        nothing = {"data": {"version": 0, "items": {}}}
        assert await ann.call("open-wrongly", "/boards/plan") == nothing
        missed = {"data": {"version": 1, "items": {"title": "first"}}}
        assert await ann.call("open", "/boards/plan") == missed


async def written_while_read(module: ModuleType) -> None:
    """From now on somebody writes, once, between the database's answer and ours."""
    read = module.read

    async def read_slowly(board: str) -> object:
        found = await read(board)
        vars(module)["read"] = read
        version = await module.write(board, "title", "first")
        update = {"version": version, "key": "title", "value": "first"}
        module.ws.room(board).broadcast("changed", update)
        return found

    vars(module)["read"] = read_slowly


async def test_a_roll_call_is_answered_from_every_instance_that_lives() -> None:
    app = load("presence.py").ws.replica(lifespan=None)
    async with Cluster(app, n=3) as cluster:
        users = ("ann", "bob", "cy")
        ann, bob, cy = [await cluster.connect(n, f"/?user={user}") for n, user in enumerate(users)]
        for number, one in enumerate((ann, bob, cy)):
            await one.call("join", ROLL)
            for member in (ann, bob, cy)[: number + 1]:
                push = await member.receive()  # announced to all who are there, himself too
                assert (push["event"], push["data"]["user"]) == ("roll", users[number])

        ann.send("roll", ROLL)
        assert await answers(ann, bob, cy) == ["ann", "bob", "cy"]
        await cluster.crash(2)  # nobody says goodbye for cy
        ann.send("roll", ROLL)
        assert await answers(ann, bob) == ["ann", "bob"]

        await bob.close()
        push = await ann.receive()
        assert (push["event"], push["data"]["user"]) == ("gone", "bob")


ROLL = "/rooms/team"


async def answers(*members: ClusterClient) -> list[str]:
    """Whom the first of them hears after a call, when each has answered as a page does."""
    for one in members:
        assert (await one.receive())["event"] == "roll"
    for one in members:
        one.send("here", ROLL)
    heard = [[await one.receive() for _ in members] for one in members]
    assert {push["event"] for pushes in heard for push in pushes} == {"here"}
    users = [sorted(push["data"]["user"] for push in pushes) for pushes in heard]
    assert all(each == users[0] for each in users)
    return users[0]


def test_a_connection_calls_no_roll_past_its_allowance_and_joins_no_room() -> None:
    async def main() -> None:
        module = load("presence.py")
        async with Cluster(module.ws.replica(lifespan=None), n=2) as cluster:
            ann, bob = (
                await cluster.connect(0, "/?user=ann"),
                await cluster.connect(1, "/?user=bob"),
            )
            await bob.call("join", ROLL)
            await ann.call("join", ROLL)
            for _ in range(module.AT_ONCE - 1):
                await ann.call("roll", ROLL)
            await bob.call("roll", ROLL)  # each has an allowance of his own
            for event, room in (("roll", ROLL), ("join", ROLL), ("join", "/rooms/other")):
                with pytest.raises(WsError, match="wait a second") as refused:
                    await ann.call(event, room)
                assert refused.value.code == 429
            with pytest.raises(WsError, match="join the room first"):
                await ann.call("here", "/rooms/other")

            await asyncio.sleep(module.EVERY)
            await ann.call("roll", ROLL)
            with pytest.raises(WsError, match="wait a second"):
                await ann.call("roll", ROLL)
            await ann.call("leave", ROLL)
            heard = []
            while (push := await bob.receive())["event"] != "gone":
                heard.append(push["data"]["user"])
            assert (heard.count("ann"), heard.count("bob")) == (module.AT_ONCE + 1, 2)

    run(main())


async def test_only_members_call_and_answer_a_roll_and_who_leaves_says_goodbye() -> None:
    join_first = refusal(403, "join the room first")
    async with fleet(load("presence.py").ws, instances=1, lifespan=None) as alone:
        ann, eve = await alone.connect(0, "ann"), await alone.connect(0, "eve")
        await ann.send("join", ROLL, id=1)
        assert (await ann.receive())["event"] == "roll"
        assert await ann.receive() == {"id": 1, "data": None}
        for event in ("roll", "here", "leave"):
            assert await eve.call(event, ROLL) == join_first
        await eve.send("join", ROLL)
        assert (await ann.receive())["data"]["user"] == "eve"
        assert (await eve.receive())["data"]["user"] == "eve"
        assert await eve.call("leave", ROLL) == {"data": None}
        assert await heard(ann) == ("gone", {"id": ANY, "user": "eve"})
        assert await eve.call("here", ROLL) == join_first


async def test_each_instance_tells_the_room_who_is_there() -> None:
    module = load("presence.py")
    async with fleet(module.ws, lifespan=None) as together:
        users = {"ann": 0, "bob": 1, "cy": 1}
        clients = {user: await together.connect(number, user) for user, number in users.items()}
        for number, one in enumerate(clients.values(), 1):
            await one.send("join", ROLL)
            for there in list(clients.values())[:number]:
                assert (await there.receive())["event"] == "roll"
        for number, app in enumerate(together.apps):
            app.start_task(module.tell_who_is_here(app, f"number {number}"), name="presence")
        for one in clients.values():
            told = [(await one.receive())["data"] for _ in range(2)]
            assert sorted(told, key=lambda data: data["instance"]) == [
                {"instance": "number 0", "users": ["ann"]},
                {"instance": "number 1", "users": ["bob", "cy"]},
            ]


async def test_presence_begins_with_the_app() -> None:
    app = load("presence.py").ws
    async with asyncio.timeout(DEADLINE), app.serving():
        assert "presence" in {task.get_name() for task in asyncio.all_tasks()}

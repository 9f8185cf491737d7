"""The page "Redis and Valkey", beyond what every page of a transport has (test_buses.py)."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from tests.brokers import redis_server, sentinel_of
from tests.deadlines import DEADLINE, promised
from wsrooms.errors import AuthenticationFailed, PermissionDenied
from wsrooms_redis import RedisTransport

from .buses import at, heard, shown
from .programs import EXAMPLES, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.brokers import Server

PAGE = (ROOT / "docs/transports/redis.md").read_text("utf-8")
PROGRAM = "redis/transports.py"
ACL = (EXAMPLES / "redis/users.acl").read_text("utf-8")

# The addresses of the examples, of which each test has its own.
ADDRESS, TLS_ADDRESS = "localhost:6379", "localhost:6380"

PATIENT = f"connect_timeout={promised(10.0):g}"
"""Hosts share the time, and half of the default is little on a busy machine."""


# The programs


async def test_tls_with_an_authority_of_ones_own_is_spoken() -> None:
    async with redis_server(tls=True) as server:
        assert server.certificates is not None
        changes = {TLS_ADDRESS: at(server), "ca.pem": str(server.certificates.ca)}
        one = shown(PROGRAM, "by_tls", changes)
        assert await heard(one, one.replica()) == ["hello"]


async def test_a_unix_socket_leads_to_the_server() -> None:
    async with redis_server(arguments=("--unixsocket", "redis.sock")) as server:
        one = shown(
            PROGRAM, "by_socket", {"/run/redis/redis.sock": str(server.folder / "redis.sock")}
        )
        assert await heard(one, one.replica()) == ["hello"]


async def test_several_hosts_are_one_that_is_there(redis: Server) -> None:
    changes = {"redis-1:6379": "127.0.0.1:1", "redis-2:6379": f"{at(redis)}?{PATIENT}"}
    one = shown(PROGRAM, "by_hosts", changes)
    assert await heard(one, one.replica()) == ["hello"]


async def test_sentinels_are_asked_for_the_server() -> None:
    async with redis_server() as server, sentinel_of(server, "mymaster") as sentinel:
        one = shown(PROGRAM, "by_sentinels", {"sentinel-1,sentinel-2,sentinel-3": at(sentinel)})
        assert await heard(one, one.replica()) == ["hello"]


# The user


@asynccontextmanager
async def with_users(image: str, acl: str) -> AsyncIterator[tuple[Server, Redis]]:
    """A server with the users of ``acl``, and an administrator at it."""
    everybody = f"user default off\nuser admin on >admin ~* &* +@all\n{acl}"
    users = {"users.acl": everybody}
    async with (
        redis_server(image, ("--aclfile", "users.acl"), files=users) as server,
        Redis(port=server.port, username="admin", password="admin") as admin,
    ):
        yield server, admin


async def test_the_user_may_do_all_that_is_needed_and_nothing_else(redis_image: str) -> None:
    async with with_users(redis_image, ACL) as (server, admin):
        one = shown(PROGRAM, "by_user", {ADDRESS: at(server)})
        other = RedisTransport(f"redis://wsrooms:p%40ssword@{at(server)}", ping_interval=1.0)
        await admin.config_resetstat()
        assert await heard(one, other) == ["hello"]
        await used_up(other, admin)

        allowed = set(re.findall(r"\+(\S+)", ACL))
        stats = await admin.info("commandstats")
        used = {name.removeprefix("cmdstat_") for name, told in stats.items() if told["calls"]}
        assert allowed <= used
        denied = {str(entry["object"]) for entry in await admin.acl_log()}
        assert denied <= {"client|setinfo"}  # which the page says is harmless


async def used_up(transport: RedisTransport, admin: Redis) -> None:
    """Let it give a subscription up, and ping."""
    await transport.start()
    try:
        await transport.subscribe("ws:room:tea", print)
        transport.unsubscribe("ws:room:tea")
        async with asyncio.timeout(DEADLINE):
            missing = {"cmdstat_unsubscribe", "cmdstat_ping"}
            # A server that was asked something tells nobody.
            while missing - (await admin.info("commandstats")).keys():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await transport.close()


async def test_the_user_is_denied_the_channels_of_others(redis_image: str) -> None:
    async with with_users(redis_image, ACL) as (server, _):
        one = shown(PROGRAM, "by_user", {ADDRESS: at(server)})
        await one.start()
        try:
            with pytest.raises(PermissionDenied):
                await one.publish("other", "hello")
            with pytest.raises(PermissionDenied):
                await one.subscribe("other", print)
            await one.publish("ws:room:tea", "hello")
        finally:
            await one.close()


async def test_with_a_namespace_the_users_channels_begin_with_it(redis_image: str) -> None:
    [shown] = re.findall(r"`(&staging:\S+)`", PAGE)
    async with with_users(redis_image, ACL.replace("&ws:*", shown)) as (server, _):
        url = f"redis://wsrooms:p%40ssword@{at(server)}"
        one = RedisTransport(url, namespace="staging")
        assert await heard(one, one.replica()) == ["hello"]
        with pytest.raises(PermissionDenied):
            await RedisTransport(url).start()


async def test_a_password_that_changes_is_read_anew_for_each_connection(
    redis_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "redis-password"
    secret.write_text("p@ssword\n")
    async with with_users(redis_image, ACL) as (server, admin):
        one = shown(PROGRAM, "by_provider", {ADDRESS: at(server)})
        states: asyncio.Queue[str] = asyncio.Queue()
        one.on_state(lambda state, error: states.put_nowait(state))
        await one.start()
        try:
            await admin.acl_setuser("wsrooms", enabled=True, passwords=["+new", "-p@ssword"])
            await one.publish("ws:room:tea", "still connected")
            secret.write_text("new\n")
            while not states.empty():
                states.get_nowait()
            await admin.client_kill_filter(user="wsrooms")
            async with asyncio.timeout(DEADLINE):
                while await states.get() != "up":
                    pass
            await one.publish("ws:room:tea", "connected again")
        finally:
            await one.close()
        with pytest.raises(AuthenticationFailed):
            await RedisTransport(f"redis://wsrooms:p%40ssword@{at(server)}").start()


# The settings of the server


async def test_the_settings_are_a_servers_and_not_its_defaults(redis_image: str) -> None:
    text = (EXAMPLES / "redis/redis.conf").read_text("utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    arguments = [word for name, *values in lines for word in (f"--{name}", " ".join(values))]
    async with (
        redis_server(redis_image) as plain,
        redis_server(redis_image, arguments) as tuned,
        Redis(port=plain.port) as one,
        Redis(port=tuned.port) as other,
    ):
        before, after = await one.config_get("*"), await other.config_get("*")
    changed = {name for name in after if after[name] != before.get(name)}
    assert {"client-output-buffer-limit", "tcp-keepalive"} <= changed
    assert "pubsub 268435456 67108864 60" in str(after["client-output-buffer-limit"])

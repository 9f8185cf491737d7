"""Mistakes with Redis between the instances: addresses, logins, certificates, options."""

from __future__ import annotations

import asyncio
import errno
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trustme

import wsrooms_redis  # noqa: F401  # pyright: ignore[reportUnusedImport] - loaded before a loop runs
from tests.brokers import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Mistake = Any  # the fixture of conftest.py

ADDRESS = "localhost:6379"


@asynccontextmanager
async def a_redis(mistake: Mistake, *arguments: str, users: str = "") -> AsyncIterator[None]:
    """One at the address that the code says."""
    files = {"users.acl": users}
    async with mistake.broker(ADDRESS, redis_server(arguments=arguments, files=files)):
        yield


def test_nothing_listens_there(mistake: Mistake, unused_port: int) -> None:
    """A Redis that is not there.

    Why: Nothing listens at this host and port: another port, a server that does not run, or
    `localhost` inside a container, which is the container itself.
    Remedy: Correct the URL. `start_without_broker=True` serves all the same, and tries again
    until the server is there.
    """
    mistake.means(ADDRESS, f"127.0.0.1:{unused_port}")
    # As asyncio words it where uvloop is not installed, and the number on other systems.
    mistake.says(f"Connect call failed ('127.0.0.1', {unused_port})", "Connection refused")
    mistake.says(f"Error {errno.ECONNREFUSED} ", "Error 111 ")
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="redis://localhost:6379")
        ws.run(port=8000)
    """) == (
        "wsrooms: redis://localhost:6379 cannot be reached: Error 111 connecting to "
        "localhost:6379. Connection refused."
    )


async def test_a_password_is_the_servers(mistake: Mistake) -> None:
    """A wrong password for Redis.

    Why: The server refuses the login. The password is shown nowhere.
    Remedy: Correct it. In a URL it is percent-encoded where it has `/`, `?`, `#`, `@`, `:` or `%`.
    """
    async with a_redis(mistake, "--requirepass", "s3cret"):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="redis://:sesame@localhost:6379")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: redis://localhost:6379 refused the login: "
        "invalid username-password pair or user is disabled."
    )


async def test_a_server_may_want_a_password(mistake: Mistake) -> None:
    """No password for a Redis that wants one.

    Why: As above; here the URL has none.
    Remedy: `redis://:password@localhost:6379`, with a user before the colon where there is one.
    """
    async with a_redis(mistake, "--requirepass", "s3cret"):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="redis://localhost:6379")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: redis://localhost:6379 refused the login: "
        "Authentication required."
    )


async def test_a_password_in_a_url_is_encoded(mistake: Mistake) -> None:
    """A password that is not percent-encoded.

    Why: `/`, `?` and `#` end the part of a URL in which the login stands.
    Remedy: `urllib.parse.quote(password, safe="")` encodes it.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="redis://:open/sesame@localhost:6379")
    """) == (
        "wsrooms.errors.ConfigurationError: in this redis:// URL a character has to be "
        "percent-encoded: '/' is %2F, '?' is %3F, '#' is %23 and '@' is %40 in a user, a "
        "password and an option"
    )


async def test_a_certificate_is_one_to_trust(mistake: Mistake) -> None:
    """A certificate that is not trusted.

    Why: The server's certificate comes from an authority that this machine does not know.
    Remedy: Give the authority: `rediss://…?ssl_ca_certs=ca.pem`.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    silent = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        mistake.means(ADDRESS, f"127.0.0.1:{port}")
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="rediss://localhost:6379")

            async def main():
                await ws.listen(8000)
        """)
    assert told.startswith(
        "wsrooms.errors.AuthenticationFailed: the certificate of rediss://localhost:6379 is not "
        "to be trusted: "
    )


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_tls_is_spoken_by_both(mistake: Mistake) -> None:
    """`rediss://` to a server without TLS.

    Why: The server waits for a command, and the client for its certificate.
    Remedy: `redis://`, or the port on which the server speaks TLS. The other way round the
    connection is reset.
    """
    async with a_redis(mistake):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="rediss://localhost:6379?connect_timeout=1")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.TransportUnavailable: rediss://localhost:6379 did not answer within 1 s; "
        "does it speak TLS there?"
    )


def test_an_option_of_redis_is_spelt_as_it_is(mistake: Mistake) -> None:
    """A misspelt option of Redis.

    Why: As with the options of `WsApp`; here in a URL, or as a keyword of `RedisTransport`.
    Remedy: The [page about Redis](transports/redis.md#options) has them all.
    """
    told = mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="redis://localhost:6379?outbox_mesages=50000")
    """)
    assert told.startswith(
        "wsrooms.errors.UnknownOption: unknown option 'outbox_mesages'; known options: "
    )
    assert told.endswith("; did you mean 'outbox_messages' or 'outbox_age'?")


def test_an_option_of_redis_has_a_value_that_makes_sense(mistake: Mistake) -> None:
    """An option in other units.

    Why: Durations are seconds and sizes bytes, as plain numbers.
    Remedy: `outbox_age=30`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="redis://localhost:6379?outbox_age=30s")
    """) == ("wsrooms.errors.ConfigurationError: option 'outbox_age' has to be a number, not '30s'")


async def test_a_user_may_use_its_channels(mistake: Mistake) -> None:
    """A user who may not subscribe.

    Why: Each room has a channel of its own, `ws:room:…`, and the server's ACL does not allow it.
    Remedy: `&ws:*`, or `&staging:ws:*` with a namespace: [the line of the
    ACL](transports/redis.md#users).
    """
    users = "user default off\nuser chat on >sesame &ws:server &ws:probe:* +@all\n"
    async with a_redis(mistake, "--aclfile", "users.acl", users=users):
        module = mistake.runs("""
            from wsrooms import WsApp, use_ws_rooms

            ws = WsApp(broadcast_transport="redis://chat:sesame@localhost:6379")

            @ws.on_message("join", "/chat/:room")
            async def join():
                await use_ws_rooms().join()
        """)
        async with mistake.client(module.ws) as client:
            assert (await client.call("join", "/chat/tea"))[-1] == (
                '← {"id":1,"error":{"code":503,"message":"Service Unavailable"}}'
            )
        # Redis and Valkey word it differently.
        mistake.says(
            "this user has no permissions to access one of the channels used as arguments",
            "No permissions to access a channel",
        )
        assert mistake.log() == [
            "WARNING redis://localhost:6379 denies ws:room:/chat/tea: "
            "NOPERM No permissions to access a channel"
        ]

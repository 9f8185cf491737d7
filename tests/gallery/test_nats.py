"""Mistakes with NATS between the instances, where it is not as with Redis."""

from __future__ import annotations

import errno
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import wsrooms_nats  # noqa: F401  # pyright: ignore[reportUnusedImport] - loaded before a loop runs
from tests.brokers import nats_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    Mistake = Any  # the fixture of conftest.py

ADDRESS = "localhost:4222"


@asynccontextmanager
async def a_nats(mistake: Mistake, config: str = "") -> AsyncIterator[None]:
    """One at the address that the code says."""
    async with mistake.broker(ADDRESS, nats_server(config=config)):
        yield


def test_nothing_listens_there(mistake: Mistake, unused_port: int) -> None:
    """A NATS that is not there.

    Why: Nothing listens at this host and port: another port (8222 is its monitoring), a server
    that does not run, or `localhost` inside a container, which is the container itself.
    Remedy: Correct the URL. `start_without_broker=True` serves all the same, and tries again
    until the server is there.
    """
    mistake.means(ADDRESS, f"127.0.0.1:{unused_port}")
    # As asyncio words it where uvloop is not installed, and the number on other systems.
    mistake.says(f"Connect call failed ('127.0.0.1', {unused_port})", "Connection refused")
    mistake.says(f"[Errno {errno.ECONNREFUSED}] ", "[Errno 111] ")
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="nats://localhost:4222")
        ws.run(port=8000)
    """) == ("wsrooms: nats://localhost:4222 cannot be reached: [Errno 111] Connection refused")


async def test_a_password_is_the_servers(mistake: Mistake) -> None:
    """A wrong password for NATS.

    Why: The server refuses the login. It says the same of a wrong user, token or nkey, and of
    none at all where it wants one. What was given is shown nowhere.
    Remedy: Correct it. In a URL it is percent-encoded where it has `/`, `?`, `#`, `@`, `:` or `%`.
    """
    async with a_nats(mistake, "authorization: {user: chat, password: s3cret}"):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="nats://chat:sesame@localhost:4222")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: nats://localhost:4222 refused the login: "
        "Authorization Violation"
    )


def test_a_signature_needs_a_library(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credentials file, and nothing to sign with.

    Why: Credentials files and nkeys sign a challenge of the server, by a library that
    `wsrooms-core[nats]` does not bring.
    Remedy: Install it, as the text says.
    """
    monkeypatch.setitem(sys.modules, "nkeys", None)  # as where it is not installed
    mistake.means("chat.creds", __file__)
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="nats://localhost:4222?user_credentials=chat.creds")
    """) == (
        "wsrooms.errors.ConfigurationError: option 'user_credentials' needs the library nkeys: "
        'pip install "wsrooms-nats[nkeys]"'
    )


async def test_a_credentials_file_is_whole(mistake: Mistake, tmp_path: Path) -> None:
    """A credentials file that is not whole.

    Why: It has no JWT and seed between their marks: it is another kind of file, or is just
    being written.
    Remedy: The file that `nsc` makes. It is read at each connect, so that a running app goes on
    once the file is right; replace it in one step, by renaming.
    """
    file = tmp_path / "chat.creds"
    file.write_text("-----BEGIN NATS USER JWT-----\n")
    mistake.means("chat.creds", file)
    async with a_nats(mistake):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="nats://localhost:4222?user_credentials=chat.creds")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: no login for nats://localhost:4222: chat.creds holds "
        "no JWT and seed between their marks; is it whole?"
    )


def test_a_password_has_a_user(mistake: Mistake) -> None:
    """A password without a user.

    Why: At NATS a login is a user and a password, or a token; `redis://:password@` has no
    counterpart.
    Remedy: `nats://user:password@localhost:4222`, or `nats://token@localhost:4222`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="nats://:sesame@localhost:4222")
    """) == (
        "wsrooms.errors.ConfigurationError: in this nats:// URL is a password without a user: "
        "write user:password@ or token@"
    )


def test_a_websocket_is_no_way_to_nats(mistake: Mistake) -> None:
    """The WebSocket port of NATS.

    Why: `ws://` is for browsers; between servers there is no reason for it.
    Remedy: `nats://` or `tls://`, and the port of those, 4222 unless set otherwise.
    """
    assert mistake.raises("""
        from wsrooms_nats import NatsTransport

        transport = NatsTransport("ws://localhost:4222")
    """) == (
        "wsrooms.errors.ConfigurationError: a NATS URL begins with nats://, tls://, as in "
        "nats://localhost:4222"
    )


async def test_tls_is_spoken_by_both(mistake: Mistake) -> None:
    """`tls://` to a NATS without TLS.

    Why: The server does not encrypt, and `tls://` says that it has to. No password was sent.
    Remedy: `nats://`, which encrypts where the server asks for it; or a server with a certificate.
    """
    async with a_nats(mistake):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="tls://chat:sesame@localhost:4222")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.TransportUnavailable: tls://localhost:4222 does not speak TLS, and tls:// "
        "demands it; no secret was sent"
    )


async def test_a_certificate_is_one_to_trust(mistake: Mistake) -> None:
    """A NATS whose certificate is not trusted.

    Why: The server's certificate comes from an authority that this machine does not know.
    Remedy: Give the authority: `tls://…?ssl_ca_certs=ca.pem`.
    """
    async with mistake.broker(ADDRESS, nats_server(tls=True)):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="tls://localhost:4222")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: the certificate of tls://localhost:4222 is not to be "
        "trusted: unable to get local issuer certificate"
    )


async def test_a_wildcard_is_a_whole_token(mistake: Mistake) -> None:
    """A user of NATS who may not subscribe.

    Why: Each room is a subject of its own, `wsrooms.ws:room:…`, and `*` stands for a whole token:
    `wsrooms.ws:room:*` is the room named `*`.
    Remedy: `wsrooms.>`, or `wsrooms.staging.>` with a namespace: [the lines of the
    settings](transports/nats.md#users).
    """
    heard = ["wsrooms.ws:server", "wsrooms.ws:probe.*", "wsrooms.ws:room:*"]
    rights = f'publish: "wsrooms.>", subscribe: {json.dumps(heard)}'
    user = f"{{user: chat, password: sesame, permissions: {{{rights}}}}}"
    async with a_nats(mistake, f"authorization: {{users: [{user}]}}"):
        module = mistake.runs("""
            from wsrooms import WsApp, use_ws_rooms

            ws = WsApp(broadcast_transport="nats://chat:sesame@localhost:4222")

            @ws.on_message("join", "/chat/:room")
            async def join():
                await use_ws_rooms().join()
        """)
        async with mistake.client(module.ws) as client:
            assert (await client.call("join", "/chat/tea"))[-1] == (
                '← {"id":1,"error":{"code":503,"message":"Service Unavailable"}}'
            )
        assert mistake.log() == [
            "WARNING nats://localhost:4222 denies ws:room:/chat/tea: "
            'Permissions Violation for Subscription to "wsrooms.ws:room:/chat/tea"'
        ]


async def test_a_message_fits_into_the_servers_limit(mistake: Mistake) -> None:
    """A message that NATS does not take.

    Why: A server of NATS takes messages of 1 MiB, if its `max_payload` is not set.
    Remedy: `max_payload: 8MB` in [its settings](transports/nats.md#settings-of-the-server), or
    smaller messages: large data is better fetched by its address.
    """
    async with a_nats(mistake):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="nats://localhost:4222")

            async def main():
                async with ws.serving():
                    ws.room("/chat/tea").broadcast("told", "x" * 2_000_000)
        """)
    assert told == (
        "wsrooms.errors.PayloadTooLarge: a payload of 2000045 bytes is over the transport's limit "
        "of 1048512; send less, or raise the broker's limit"
    )

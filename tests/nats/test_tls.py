"""TLS with NATS: whom it trusts, what it shows, and that no secret goes where it is not spoken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.brokers import NatsServer, nats_server
from tests.deadlines import DEADLINE, PATIENT, promised
from tests.nats.identities import USER, Key
from wsrooms.errors import (
    AuthenticationFailed,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "open-sesame"
HANDSHAKE = b"\x16\x03"
"""How TLS begins."""

LOGIN = f"authorization: {{users: [{{user: ann, password: {SECRET}}}]}}"


async def works(transport: NatsTransport) -> None:
    await transport.start()
    try:
        await transport.subscribe("c", print)
        await transport.publish("c", "x" * 100_000)
    finally:
        await transport.close()


def ca_of(server: NatsServer) -> str:
    assert server.certificates is not None
    return str(server.certificates.ca)


def at(server: NatsServer, host: str = "127.0.0.1", scheme: str = "tls", login: str = "") -> str:
    return f"{scheme}://{login}{host}:{server.port}"


async def test_a_login_goes_over_tls_to_whom_we_trust() -> None:
    async with nats_server(tls=True, config=LOGIN) as server:
        url = at(server, login=f"ann:{SECRET}@")
        await works(NatsTransport(url, ssl_ca_certs=ca_of(server), **PATIENT))
        with pytest.raises(AuthenticationFailed, match="refused the login"):
            await NatsTransport(
                at(server, login="ann:x@"), ssl_ca_certs=ca_of(server), **PATIENT
            ).start()
        connection = NatsTransport(url, ssl_ca_certs=ca_of(server), **PATIENT)
        await connection.start()
        [client] = (await server.monitor("/connz"))["connections"]
        assert client["tls_version"] == "1.3"
        await connection.close()


async def test_the_name_in_a_certificate_may_be_said_apart_from_the_host() -> None:
    async with nats_server(tls=True) as server:
        options: dict[str, Any] = {"ssl_ca_certs": ca_of(server), **PATIENT}
        await works(NatsTransport(at(server, "127.1"), tls_hostname="localhost", **options))
        for name in ("example.org", "LOCALHOST.example.org"):
            with pytest.raises(AuthenticationFailed, match=r"is not to be trusted: .*example\.org"):
                await NatsTransport(at(server), tls_hostname=name, **options).start()
        other = NatsTransport(f"{at(server, '127.1')}?tls_hostname=localhost", **options)
        await works(other)


async def test_a_context_says_it_all() -> None:
    async with nats_server(tls="verify: true") as server:
        assert server.certificates is not None
        await works(NatsTransport(at(server), tls=server.certificates.context(), **PATIENT))
        strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await NatsTransport(at(server), tls=strict, **PATIENT).start()


async def test_a_server_that_wants_a_certificate_gets_it_or_says_so() -> None:
    async with nats_server(tls="verify: true") as server:
        assert server.certificates is not None
        ours: dict[str, Any] = {
            "ssl_ca_certs": ca_of(server),
            "ssl_certfile": str(server.certificates.client_certificate),
            "ssl_keyfile": str(server.certificates.client_key),
            **PATIENT,
        }
        await works(NatsTransport(at(server), **ours))
        with pytest.raises(TransportError, match=r"certificate|TLS"):
            await NatsTransport(at(server), ssl_ca_certs=ca_of(server), **PATIENT).start()


async def test_a_certificate_of_a_stranger_is_refused_by_the_server() -> None:
    async with nats_server(tls="verify: true") as server:
        assert server.certificates is not None
        context = ssl.create_default_context(cafile=ca_of(server))
        trustme.CA().issue_cert("client@localhost").configure_cert(context)
        with pytest.raises(TransportError, match=r"certificate|TLS|CA"):
            await NatsTransport(at(server), tls=context, **PATIENT).start()


async def test_a_certificate_and_a_key_that_do_not_fit_are_told() -> None:
    async with nats_server(tls=True) as server:
        assert server.certificates is not None
        options: dict[str, Any] = {
            "ssl_ca_certs": ca_of(server),
            "ssl_certfile": str(server.certificates.client_certificate),
            "ssl_keyfile": str(server.certificates.server_key),
            **PATIENT,
        }
        with pytest.raises(TransportError, match=r"ssl_certfile|KEY_VALUES_MISMATCH"):
            await NatsTransport(at(server), **options).start()


async def test_tls_may_come_before_the_greeting() -> None:
    async with nats_server(tls="handshake_first: true", config=LOGIN) as server:
        url = at(server, login=f"ann:{SECRET}@")
        options: dict[str, Any] = {"ssl_ca_certs": ca_of(server)}
        await works(NatsTransport(url, tls_first=True, **options, **PATIENT))
        await works(NatsTransport(f"{url}?tls_first=yes", **options, **PATIENT))
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await NatsTransport(url, tls_first=True, **PATIENT).start()
        with pytest.raises(TransportUnavailable, match="tls_first"):
            await NatsTransport(url, **options, connect_timeout=promised(0.5)).start()


async def test_tls_before_the_greeting_of_a_server_that_greets_plainly_is_told() -> None:
    async with nats_server(tls=True) as server:
        transport = NatsTransport(
            at(server), tls_first=True, ssl_ca_certs=ca_of(server), connect_timeout=promised(0.5)
        )
        with pytest.raises(TransportUnavailable, match="tls_first"):
            await transport.start()


async def test_a_server_that_demands_tls_gets_it_without_the_url_saying_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with nats_server(tls=True, config=LOGIN) as server:
        url = at(server, scheme="nats", login=f"ann:{SECRET}@")
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await NatsTransport(url, **PATIENT).start()
        monkeypatch.setenv("SSL_CERT_FILE", ca_of(server))  # what the system trusts
        readers: list[threading.Thread] = []
        make = ssl.create_default_context

        def watched(**given: Any) -> ssl.SSLContext:
            readers.append(threading.current_thread())
            return make(**given)

        monkeypatch.setattr(ssl, "create_default_context", watched)
        await works(NatsTransport(url, **PATIENT))
        assert readers
        assert threading.current_thread() not in readers  # it takes long enough to be noticed
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await NatsTransport(url.replace("127.0.0.1", "127.1"), **PATIENT).start()


class Recorder:
    """Somebody who listens at a port, greets as told, and writes down all that it gets.

    Attributes:
        got: Every byte of every connection.
        connections: How many there were.
    """

    def __init__(self, greeting: bytes) -> None:
        self.got = b""
        self.connections = 0
        self.port = 0
        self._greeting = greeting
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Recorder]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
        if self._clients:
            await asyncio.wait(self._clients)

    async def alone(self) -> None:
        """Wait until everybody has hung up."""
        await asyncio.wait(self._clients)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        self.connections += 1
        writer.write(self._greeting)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.got += data
                if b"PING\r\n" in data:
                    writer.write(b"PONG\r\n")
        writer.transport.abort()


def info(**more: object) -> bytes:
    said = {
        "server_id": "N",
        "version": "2.12.0",
        "proto": 1,
        "headers": True,
        "max_payload": 1_048_576,
        "nonce": "abcdefgh",
        "auth_required": True,
        **more,
    }
    return f"INFO {json.dumps(said)}\r\n".encode()


GREETINGS = {
    "no TLS": info(),
    "TLS not required": info(tls_required=False, tls_available=False),
    "TLS available": info(tls_available=True),
    "TLS falsely promised": info(tls_required=True),
    "TLS refused": info(tls_required=True) + b"-ERR 'no TLS here'\r\n",
    "nothing": b"",
    "an error": b"-ERR 'no'\r\n",
    "no NATS": b"220 mail.example.org ESMTP\r\n",
    "empty INFO": b"INFO {}\r\n",
    "an early PONG": info() + b"PONG\r\n" * 3,
}


@pytest.mark.parametrize("first", [False, True], ids=["greeting-first", "tls-first"])
@pytest.mark.parametrize("how", ["user", "token", "nkey", "option"])
async def test_no_secret_goes_to_a_server_without_tls(first: bool, how: str) -> None:
    key = Key(USER)
    secrets: dict[str, dict[str, Any]] = {
        "nkey": {"nkeys_seed_str": key.seed},
        "option": {"token": SECRET},
    }
    login = {"user": f"ann:{SECRET}@", "token": f"{SECRET}@"}.get(how, "")

    async def refuses(greeting: str) -> None:
        async with Recorder(GREETINGS[greeting]).listening() as recorder:
            transport = NatsTransport(
                f"tls://{login}127.0.0.1:{recorder.port}",
                tls_first=first,
                tls=careless,
                connect_timeout=1.0,
                **secrets.get(how, {}),
            )
            with pytest.raises(TransportError) as caught:
                await transport.start()
            assert SECRET not in str(caught.value)
            await transport.close()
        assert recorder.connections == 1, greeting
        for word in (b"CONNECT", b"sesame", b"sig", b"PING", b"ann", key.public.encode()):
            assert word not in recorder.got, greeting
        assert not recorder.got or recorder.got.startswith(HANDSHAKE), greeting

    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*map(refuses, GREETINGS))


@pytest.mark.parametrize("greeting", ["nothing", "TLS falsely promised"])
async def test_a_close_amid_a_login_ends_at_once_and_hangs_up(greeting: str) -> None:
    async with Recorder(GREETINGS[greeting]).listening() as recorder:
        transport = NatsTransport(
            f"tls://{SECRET}@127.0.0.1:{recorder.port}", start_timeout=60.0, connect_timeout=60.0
        )
        starting = asyncio.ensure_future(transport.start())
        async with asyncio.timeout(DEADLINE):
            # It tells nobody how far it is.
            while not (recorder.got if "promised" in greeting else recorder.connections):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await transport.close()
            with pytest.raises(TransportClosed):
                await starting
            await recorder.alone()


async def test_what_is_refused_because_of_tls_says_so() -> None:
    async with Recorder(info()).listening() as recorder:
        with pytest.raises(TransportUnavailable) as caught:
            await NatsTransport(f"tls://ann:{SECRET}@127.0.0.1:{recorder.port}").start()
    assert f"tls://127.0.0.1:{recorder.port} does not speak TLS" in str(caught.value)
    assert not recorder.got


async def test_the_recorder_hears_what_is_sent_in_the_clear() -> None:
    async with Recorder(info()).listening() as recorder:
        url = f"nats://ann:{SECRET}@127.0.0.1:{recorder.port}"
        transport = NatsTransport(url, start_timeout=promised(1.0))
        with contextlib.suppress(TransportError):
            await transport.start()
        await transport.close()
    assert SECRET.encode() in recorder.got


async def test_a_server_that_speaks_no_tls_any_more_gets_no_secret_at_the_next_connect() -> None:
    async with nats_server(tls=True, config=LOGIN) as server:
        url = at(server, login=f"ann:{SECRET}@")
        transport = NatsTransport(url, ssl_ca_certs=ca_of(server), **PATIENT)
        down: asyncio.Queue[str] = asyncio.Queue()
        transport.on_state(
            lambda state, error: down.put_nowait(error or "") if state == "down" else None
        )
        await transport.start()
        recorder = Recorder(info())
        await server.kill()
        serving = await asyncio.start_server(recorder._serve, server.host, server.port)
        async with serving, asyncio.timeout(DEADLINE):
            while "does not speak TLS" not in await down.get():
                pass
            await transport.close()
        assert not recorder.got


async def test_names_of_servers_that_anybody_may_have_told_are_not_believed() -> None:
    """INFO comes before TLS: who adds a host for which he has a certificate gets no login."""
    async with nats_server(tls=True, config=LOGIN) as server:

        async def meddle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            theirs, ours = await asyncio.open_connection(server.host, server.port)
            info = json.loads((await theirs.readline()).removeprefix(b"INFO "))
            info["connect_urls"] = ["evil.example.org:4222", "127.0.0.1:4223"]
            writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
            async with asyncio.TaskGroup() as ways:
                ways.create_task(carry(theirs, writer))
                ways.create_task(carry(reader, ours))

        async with await asyncio.start_server(meddle, "127.0.0.1", 0) as between:
            host, port = between.sockets[0].getsockname()
            url = f"tls://ann:{SECRET}@{host}:{port}"
            options: dict[str, Any] = {"ssl_ca_certs": ca_of(server), **PATIENT}
            cases: list[tuple[dict[str, Any], list[str]]] = [
                ({}, ["127.0.0.1", "127.0.0.1"]),
                # Whoever it is then has to show a certificate for that name.
                ({"tls_hostname": "localhost"}, ["127.0.0.1", "127.0.0.1", "evil.example.org"]),
            ]
            for more, hosts in cases:
                transport = NatsTransport(url, **options, **more)
                await transport.start()
                assert sorted(address.host for address in transport.target.addresses) == hosts
                await transport.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()

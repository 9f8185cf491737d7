"""The rig of a NATS server: the transport, a proxy before it, and control over the server."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.brokers import NatsServer, nats_server
from tests.conformance.server_rig import PROBES, WRONG, ServerRig
from tests.deadlines import DEADLINE
from wsrooms.testing import TcpProxy
from wsrooms.testing.conformance import NotApplicable, Stranger
from wsrooms_nats import NatsOptions, NatsTransport
from wsrooms_nats.subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from wsrooms.testing.conformance import Misfit

SUBJECTS = Subjects("")
OTHERS = "{user: somebody, password: nobodys}"
"""Who they are that give no name."""


def settings(*users: str) -> str:
    """Those of a server that lets in these users, and everybody who gives no name.

    Whether it lets in such people it learns at its start and never again.
    """
    everybody = ", ".join([OTHERS, *users])
    return f"authorization: {{users: [{everybody}]}}, no_auth_user: somebody\n"


def server_of(image: str | None, more: str = "") -> NatsServer:
    """A server on which a rig can make users, and with more settings."""
    return nats_server(image, config=settings() + more)


class NatsRig(ServerRig[NatsServer, NatsTransport]):
    """A server of NATS, alone."""

    scheme = "nats"
    all_options = NatsOptions
    options = frozenset(NatsOptions.names())

    def __init__(
        self,
        server: NatsServer,
        proxy: TcpProxy,
        image: str | None,
        kind: type[NatsTransport] = NatsTransport,
    ) -> None:
        super().__init__(server, proxy, image, kind)
        self.users: dict[str, str] = {}
        longest = NatsTransport().target.longest
        self.max_channel = longest - len(SUBJECTS.of(""))

    async def publish_raw(self, channel: str, data: bytes) -> None:
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        try:
            subject = SUBJECTS.of(channel)
            writer.write(b'CONNECT {"verbose":false}\r\n')
            writer.write(b"PUB %b %d\r\n%b\r\nPING\r\n" % (subject, len(data), data))
            async with asyncio.timeout(DEADLINE):
                said = [await reader.readline() for _ in range(2)]
            assert said[1] == b"PONG\r\n", said
        finally:
            writer.close()
            await writer.wait_closed()

    async def subscriptions(self) -> set[str]:
        connections = (await self.server.monitor("/connz?subs=1"))["connections"]
        subjects = {
            subject
            for connection in connections
            for subject in connection.get("subscriptions_list", ())
        }
        channels = map(SUBJECTS.channel, subjects)
        return {channel for channel in channels if not channel.startswith(PROBES)}

    async def forget(self) -> None:
        raise NotApplicable(f"{self.name}: there is nothing that it stores and could lose")

    @asynccontextmanager
    async def login(self, channels: Collection[str] | None = None) -> AsyncIterator[NatsLogin]:
        login = NatsLogin(self, channels)
        await login.grant()
        try:
            yield login
        finally:
            await login.revoke()

    async def know_users(self) -> None:
        """Have the server let in these users, and no others."""
        await self.server.reload(settings(*self.users.values()))

    @asynccontextmanager
    async def misfit(self, why: Misfit) -> AsyncIterator[Stranger]:
        at = f"{self.server.host}:{self.server.port}"
        match why:
            case "wrong_password":
                async with self.login() as login:
                    url = f"nats://{login.name}:{WRONG}@{at}"
                    yield Stranger(self.made(url), (WRONG, login.password))
            case "missing_password":
                config = f"authorization: {{user: user, password: {WRONG}}}"
                async with nats_server(self.image, config=config) as other:
                    yield Stranger(self.made(other.url), (WRONG,))
            case "tls_to_plain_port":
                # One that would be let in, if it were so careless as to ask in the clear.
                async with self.login() as login:
                    url = f"tls://{login.name}:{login.password}@{at}"
                    yield Stranger(self.made(url), (login.password,))
            case "tls_untrusted":
                async with nats_server(self.image, tls=True) as other:
                    url = f"tls://user:{WRONG}@{other.host}:{other.port}"
                    yield Stranger(self.made(url), (WRONG,))

    @asynccontextmanager
    async def small_buffers(self) -> AsyncIterator[NatsRig]:
        # Not to be changed while a server runs.
        async with (
            server_of(self.image, "max_pending: 4MB") as server,
            TcpProxy(server.host, server.port) as proxy,
        ):
            yield NatsRig(server, proxy, self.image, self.kind)


class NatsLogin:
    """A user of the server, who exists from ``grant()`` to ``revoke()``."""

    refusal = "Authorization Violation"

    def __init__(self, rig: NatsRig, channels: Collection[str] | None) -> None:
        self.name = f"user-{secrets.token_hex(4)}"
        self.password = f"secret-{secrets.token_hex(8)}"
        self._rig = rig
        words = [f"user: {self.name}", f"password: {self.password}"]
        if channels is not None:
            subjects = [SUBJECTS.of(channel).decode() for channel in (*channels, f"{PROBES}x")]
            allowed = json.dumps([*subjects[:-1], f"{subjects[-1].removesuffix('x')}*"])
            words.append(f"permissions: {{publish: {allowed}, subscribe: {allowed}}}")
        self._words = f"{{{', '.join(words)}}}"

    def transport(self, **options: Any) -> NatsTransport:
        server = self._rig.server
        url = f"nats://{self.name}:{self.password}@{server.host}:{server.port}"
        return self._rig.made(url, **options)

    async def grant(self) -> None:
        self._rig.users[self.name] = self._words
        await self._rig.know_users()

    async def revoke(self) -> None:
        self._rig.users.pop(self.name, None)
        await self._rig.know_users()

"""NATS."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tests.brokers import NatsServer, Server, nats_images, nats_server
from tests.deadlines import PATIENT
from tests.transports.kinds.base import DEFAULTS, RefusingKind, TextConversation
from wsrooms_nats import NatsKeywords, NatsOptions, NatsTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

__all__ = ["NatsKind", "token_wanted"]

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "user_credentials", "nkeys_seed")
MESSAGE = re.compile(rb"MSG [^\r]*\r\n[^\r]*\r\n")


class NatsKind(RefusingKind):
    """``NatsTransport``."""

    name = "nats"
    options = NatsOptions
    keywords = NatsKeywords
    place = "nats://h:7"
    tls_place = "tls://h:7"
    ports = (4222, 4222)
    defaults: ClassVar = {
        **DEFAULTS,
        "max_control_line": 4096,
        "join_settle": None,
        "user": None,
        "password": None,
        "token": None,
        "user_credentials": None,
        "nkeys_seed": None,
        "nkeys_seed_str": None,
        "tls": None,
        "tls_hostname": None,
        "tls_first": False,
        "randomize": True,
    }
    needs: ClassVar = {"user": {"password": "p"}, "password": {"user": "u"}}
    may_be_zero = frozenset({"join_settle"})
    keyword_only = frozenset({"tls", "logger"})
    broken = (
        "nats://u:{}@host:port",
        "nats://{}@host:99999",
        "tls://u:{}@[::1",
        "nats://u:{}@a,b:0",
        "nats://host?pasword={}",
        "nats://{}@host?token=x&token=y",
        "nats://host?user=u&password={}&token=x",
        "tls://somebody:{}@@host?x=1",
        "nats:{}@host",
        "ws://u:{}@host",
        "wss://{}@host",
    )

    def transport(self, url: str, **options: Any) -> NatsTransport:
        return NatsTransport(url, **options)

    def images(self) -> Sequence[str]:
        return nats_images()

    def server(self, *, tls: bool = False) -> NatsServer:
        return nats_server(tls=tls)

    def conversation(self) -> TextConversation:
        return TextConversation(MESSAGE)

    def restricted(self, image: str, *, allowed: Iterable[str], denied: Iterable[str]) -> Server:
        return nats_server(image, config=_permissions(denied))

    async def restrict(
        self, server: Server, *, allowed: Iterable[str], denied: Iterable[str]
    ) -> None:
        assert isinstance(server, NatsServer)
        server.configure(_permissions(denied))
        await server.restart()

    @asynccontextmanager
    async def guarded(self, password: str) -> AsyncIterator[Server]:
        async with nats_server(config=token_wanted(password)) as server:
            yield server

    async def demand(self, server: Server, password: str) -> None:
        assert isinstance(server, NatsServer)
        server.configure(token_wanted(password))
        await server.restart()

    def url(self, server: Server, *, password: str = "", user: str = "") -> str:
        login = ":".join(quote(part, safe="") for part in (user, password) if part)
        return f"{server.setup.scheme}://{login}{'@' if login else ''}{server.host}:{server.port}"

    def holding(self, secret: str) -> Iterable[NatsTransport]:
        encoded = quote(secret, safe="")
        for scheme in ("nats", "tls"):
            at = "127.0.0.1:1,[::1]:1"
            yield NatsTransport(f"{scheme}://somebody:{encoded}@{at}")
            yield NatsTransport(f"{scheme}://{encoded}@{at}")
            yield NatsTransport(f"{scheme}://{at}", user="somebody", password=secret)
            yield NatsTransport(f"{scheme}://{at}", token=secret)
            yield NatsTransport(f"{scheme}://{at}?user=somebody&password={encoded}")
            yield NatsTransport(f"{scheme}://{at}?token={encoded}")

    def logging_in(self, server: Server, secret: str) -> Iterable[NatsTransport]:
        yield NatsTransport(self.url(server, password=secret), **PATIENT)
        yield NatsTransport(self.url(server, password=secret, user="somebody"), **PATIENT)
        yield NatsTransport(server.url, token=secret, **PATIENT)
        yield NatsTransport(server.url, user="somebody", password=secret, **PATIENT)

    def text(self, option: str, folder: Path) -> str:
        if option not in FILES:
            return super().text(option, folder)
        file = folder / option
        file.write_text("", "utf-8")
        return str(file)


def token_wanted(token: str) -> str:
    """The settings of a server that lets in who has the token."""
    return f"authorization: {{token: {json.dumps(token, ensure_ascii=False)}}}"


def _permissions(denied: Iterable[str]) -> str:
    """Settings that deny channels whose names are as they are at NATS, but for spaces."""
    subjects = json.dumps(["wsrooms." + name.replace(" ", "%20") for name in denied])
    rules = f"{{deny: {subjects}}}"
    user = f"{{user: u, password: p, permissions: {{publish: {rules}, subscribe: {rules}}}}}"
    return f"authorization: {{users: [{user}]}}\nno_auth_user: u"

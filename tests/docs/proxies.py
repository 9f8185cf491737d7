"""The proxies of examples/, run as they are but for addresses, certificates and folders."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.brokers.ports import ReservedPort
from tests.deadlines import DEADLINE

from .programs import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from wsrooms import WsAddress

HOST = "chat.example.org"

# Not the proxy's own address, where one machine has several.
CLIENT = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


@dataclass(frozen=True)
class Site:
    """A folder of examples/ with a configuration for each kind of proxy.

    Attributes:
        folder: Its name.
        backends: The servers behind the proxies, as they are written there.
        listen: Where its nginx listens; with TLS if it says so.
        name: What its Caddy calls the site.
    """

    folder: str
    backends: Sequence[str]
    listen: str
    name: str


DEPLOY = Site("deploy", ["127.0.0.1:8001", "127.0.0.1:8002"], "443 ssl", HOST)
COMPOSE = Site("compose", [f"chat-{n}:8000" for n in (1, 2, 3)], "80", "localhost")


class Certificate:
    """One for ``HOST`` in ``folder``, and who trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert(HOST)
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        self.folder = folder
        self.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.trusting)


@dataclass(frozen=True)
class Files:
    """What a proxy has to be given: a folder of its own, and a certificate."""

    folder: Path
    certificate: Certificate


@dataclass(frozen=True)
class Proxy:
    """One that is running."""

    port: int
    trusting: ssl.SSLContext | None

    @property
    def url(self) -> str:
        return f"{'wss' if self.trusting else 'ws'}://{HOST}:{self.port}/ws"

    @property
    def origin(self) -> str:
        """Of the pages of this site."""
        return f"{'https' if self.trusting else 'http'}://{HOST}:{self.port}"


def nginx(text: str, port: int, files: Files, site: Site) -> tuple[str, list[str], dict[str, str]]:
    """The configuration, the command, and what is in its environment."""
    folder = files.folder
    own = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = changed(
        text,
        {
            "\nhttp {": f"\nhttp {{\naccess_log off;\n{own}",
            f"listen {site.listen}": f"listen 127.0.0.1:{port}{site.listen.lstrip('0123456789')}",
            "worker_processes auto": "worker_processes 1",
        },
    )
    if "ssl" in site.listen:
        text = changed(text, {"/etc/ssl/chat": str(files.certificate.folder)})
    main = f"daemon off; pid {folder / 'nginx.pid'};"
    if os.geteuid() == 0:
        main += " user root;"  # else its workers could not use the folder
    written = folder / "nginx.conf"
    log = str(folder / "error.log")
    return text, ["-c", str(written), "-p", str(folder), "-e", log, "-g", main], {}


def caddy(text: str, port: int, files: Files, site: Site) -> tuple[str, list[str], dict[str, str]]:
    """The configuration, the command, and what is in its environment."""
    folder, certificates = files.folder, files.certificate.folder
    head = (
        "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
        f"{HOST}:{port} {{\n\tbind 127.0.0.1\n"
        f"\ttls {certificates / 'cert.pem'} {certificates / 'key.pem'}\n"
    )
    text = changed(text, {f"\n{site.name} {{\n": f"\n{head}"})
    homes = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    written = str(folder / "Caddyfile")
    return text, ["run", "--config", written, "--adapter", "caddyfile"], homes


KINDS = {"nginx": ("nginx.conf", nginx), "caddy": ("Caddyfile", caddy)}


def changed(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the configuration has no {old!r} any more"
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def running(
    kind: str,
    files: Files,
    servers: Sequence[str],
    changes: Mapping[str, str] | None = None,
    *,
    site: Site = DEPLOY,
) -> AsyncIterator[Proxy]:
    """The proxy of that kind before as many servers as the site has.

    Args:
        kind: Of ``KINDS``; the test is skipped where there is no such program.
        files: Its folder and certificate.
        servers: Where they are, as the proxy writes it.
        changes: Of its configuration, to see what they are for.
        site: Whose configuration it is.
    """
    program = shutil.which(kind)
    if program is None:
        pytest.skip(f"{kind} is not on this machine's PATH")
    name, adapt = KINDS[kind]
    text = (EXAMPLES / site.folder / name).read_text("utf-8")
    text = changed(text, changes or {})
    text = changed(text, dict(zip(site.backends, servers, strict=True)))
    reserved = ReservedPort()
    port = reserved.number
    text, arguments, environment = adapt(text, port, files, site)
    (files.folder / name).write_text(text, "utf-8")
    log = files.folder / "output.log"
    try:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
            )
        try:
            await accepting(process, port, log)
            encrypted = kind == "caddy" or "ssl" in site.listen
            yield Proxy(port, files.certificate.trusting if encrypted else None)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
    finally:
        reserved.release()


async def accepting(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Return once something listens; there is no other sign of it that both give."""
    async with asyncio.timeout(DEADLINE):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
    pytest.fail(f"the proxy ended at once:\n{await asyncio.to_thread(log.read_text, 'utf-8')}")


def server(address: WsAddress) -> str:
    return f"{address.host}:{address.port}"


@asynccontextmanager
async def through(
    proxy: Proxy, *, origin: str | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[ClientConnection]:
    """A connection as a page of this site, or of another ``origin``, opens it."""
    async with connect(
        proxy.url,
        host="127.0.0.1",
        local_addr=(CLIENT, 0),
        ssl=proxy.trusting,
        compression=None,
        proxy=None,
        additional_headers=headers,
        origin=Origin(origin or proxy.origin),
    ) as socket:
        yield socket

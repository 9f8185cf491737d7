"""The how-tos about deploying: what examples/deploy has is run, as far as it can be here."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.deadlines import DEADLINE
from wsrooms import WsRequest

from .programs import EXAMPLES, Client, load
from .proxies import CLIENT, HOST, Files, Proxy, running, server, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from wsrooms import WsApp

DEPLOY = EXAMPLES / "deploy"


@asynccontextmanager
async def deployed(
    kind: str, files: Files, changes: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[tuple[Proxy, list[WsApp]]]:
    """Two instances of the chat, and the proxy before them."""
    module = load("deploy/server.py")
    one, two = (module.ws.replica(**options) for _ in range(2))
    vars(module)["ws"] = one  # whose health is asked for
    async with (
        one.serving(**module.options()) as here,
        two.serving(**module.options()) as there,
        running(kind, files, [server(here), server(there)], changes) as proxy,
    ):
        yield proxy, [one, two]


both = pytest.mark.parametrize("kind", ["nginx", "caddy"])


@both
async def test_a_page_of_the_site_talks_through_the_proxy(kind: str, files: Files) -> None:
    async with deployed(kind, files) as (proxy, _), through(proxy) as socket:
        ann = Client(socket)
        assert await ann.call("join", "/chat/general") == {"data": {"from": CLIENT}}
        assert await ann.call("message", "/chat/general", data="hello") == {"data": None}


@both
async def test_what_a_client_says_of_its_address_is_not_believed(kind: str, files: Files) -> None:
    lie = {"X-Forwarded-For": "203.0.113.7"}
    async with deployed(kind, files) as (proxy, _), through(proxy, headers=lie) as socket:
        joined = await Client(socket).call("join", "/chat/general")
        assert joined == {"data": {"from": CLIENT}}


@both
async def test_a_page_of_another_site_is_refused_behind_the_proxy(kind: str, files: Files) -> None:
    async with deployed(kind, files) as (proxy, _):
        with pytest.raises(InvalidStatus, match="403"):
            async with through(proxy, origin="https://evil.example"):
                pass


@both
async def test_both_processes_get_clients_and_the_health_check_an_answer(
    kind: str, files: Files
) -> None:
    async with deployed(kind, files) as (proxy, apps):
        async with through(proxy), through(proxy):
            assert [app.stats()["connections_total"] for app in apps] == [1, 1]
        status, body = await https_get(proxy, "/health")
        assert (status, json.loads(body)["state"]) == (200, "up")


@both
async def test_a_client_of_a_process_that_ends_is_told_1001_and_finds_the_other(
    kind: str, files: Files
) -> None:
    async with deployed(kind, files) as (proxy, apps), through(proxy) as socket:
        ending, staying = apps if apps[0].stats()["connections_total"] else apps[::-1]
        await ending.close()
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(DEADLINE):
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        async with through(proxy) as again:
            assert "data" in await Client(again).call("join", "/chat/general")
        assert staying.stats()["connections_total"] == 1


@pytest.mark.parametrize(
    ("changes", "spread"),
    [
        pytest.param(None, (2, 2), id="as it is"),
        pytest.param({" max_fails=0": ""}, (0, 4), id="without max_fails=0"),
    ],
)
async def test_nginx_sends_clients_to_a_process_that_is_back_because_it_counts_no_failures(
    changes: Mapping[str, str] | None, spread: tuple[int, int], files: Files
) -> None:
    module = load("deploy/server.py")
    ending, staying, back = (module.ws.replica() for _ in range(3))
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(app.serving(**module.options()))
            for app in (ending, staying)
        ]
        proxy = await stack.enter_async_context(
            running("nginx", files, [server(here), server(there)], changes)
        )
        sockets = [await stack.enter_async_context(through(proxy)) for _ in range(2)]
        await ending.close()
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait(
                [asyncio.create_task(socket.wait_closed()) for socket in sockets],
                return_when=asyncio.FIRST_COMPLETED,
            )
        # It has the fewest, is tried, and fails.
        await stack.enter_async_context(through(proxy))
        await stack.enter_async_context(back.serving(port=here.port, **module.options()))
        for _ in range(2):
            await stack.enter_async_context(through(proxy))
        assert (back.stats()["connections"], staying.stats()["connections"]) == spread


@pytest.mark.parametrize(("kind", "scheme"), [("nginx", "unix:"), ("caddy", "unix/")])
async def test_the_servers_can_be_unix_sockets(
    kind: str, scheme: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("deploy/server.py")
    paths = [str(files.folder / name) for name in ("1.sock", "2.sock")]
    async with AsyncExitStack() as stack:
        for path in paths:
            monkeypatch.setenv("SOCKET", path)
            app = vars(module)["ws"] = module.ws.replica()
            await stack.enter_async_context(app.serving(**module.options()))
        servers = [scheme + path for path in paths]
        proxy = await stack.enter_async_context(running(kind, files, servers))
        socket = await stack.enter_async_context(through(proxy))
        assert await Client(socket).call("join", "/chat/general") == {"data": {"from": CLIENT}}


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        ("proxy_set_header Upgrade $http_upgrade;", "", 426),
        ("proxy_set_header Connection $connection_upgrade;", "", 426),
        ("proxy_http_version 1.1;", "proxy_http_version 1.0;", 505),
        ("proxy_set_header Host $http_host;", "", 403),
        ("Host $http_host", "Host $host", 403),
    ],
)
async def test_without_this_line_nginx_makes_a_client_fail(
    line: str, instead: str, status: int, files: Files
) -> None:
    async with deployed("nginx", files, {line: instead}) as (proxy, _):
        with pytest.raises(InvalidStatus, match=str(status)):
            async with through(proxy):
                pass


SHORT = {"proxy_read_timeout 60s": "proxy_read_timeout 2s"}


async def test_nginx_cuts_a_client_that_is_quiet_for_longer_than_its_timeout(files: Files) -> None:
    async with deployed("nginx", files, SHORT) as (proxy, _), through(proxy) as socket:
        with pytest.raises(ConnectionClosed) as cut:
            async with asyncio.timeout(DEADLINE):
                await socket.recv()
        assert cut.value.rcvd is None  # without a CLOSE, which the client sees as 1006


async def test_a_heartbeat_shorter_than_its_timeout_keeps_nginx_from_cutting(files: Files) -> None:
    async with (
        deployed("nginx", files, SHORT, heartbeat_interval=0.2, heartbeat_timeout=1.0) as (
            proxy,
            apps,
        ),
        through(proxy) as socket,
        asyncio.timeout(DEADLINE),
    ):
        pings = 0
        while pings < 4:  # a second apart, so longer than nginx's two
            await asyncio.sleep(0.05)
            pings = sum(app.stats()["messages_out"] for app in apps)
        assert "data" in await Client(socket).call("join", "/chat/general")


async def https_get(proxy: Proxy, path: str) -> tuple[int, str]:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", proxy.port, ssl=proxy.trusting, server_hostname=HOST
        )
        ask = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{proxy.port}\r\nConnection: close\r\n\r\n"
        writer.write(ask.encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):  # the other side has ended it already
            await writer.wait_closed()
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (("127.0.0.1", 1), "198.51.100.1", "198.51.100.1"),
        (("127.0.0.1", 1), "203.0.113.7, 198.51.100.1", "198.51.100.1"),
        (("::1", 1), "2001:db8::1", "2001:db8::1"),
        (("127.0.0.1", 1), None, "127.0.0.1"),
        (("198.51.100.9", 1), "203.0.113.7", "198.51.100.9"),
        (None, "198.51.100.1", "198.51.100.1"),
        (None, None, "unknown"),
    ],
)
def test_only_a_proxy_tells_where_a_client_is(
    peer: tuple[str, int] | None, forwarded: str | None, client: str
) -> None:
    headers = [] if forwarded is None else [("X-Forwarded-For", forwarded)]
    request = WsRequest("GET", "/ws", headers, peer)
    assert load("deploy/server.py").client_address(request) == client


async def test_the_server_takes_a_unix_socket_and_a_shared_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = load("deploy/server.py")
    monkeypatch.setenv("SOCKET", str(tmp_path / "chat.sock"))
    async with module.ws.serving(**module.options()) as address:
        assert address.url.startswith("ws+unix://")
    monkeypatch.delenv("SOCKET")
    monkeypatch.setenv("SHARED_PORT", "yes")
    one, two = module.ws.replica(), module.ws.replica()
    async with (
        one.serving(**module.options()) as address,
        two.serving(address.port, **module.options()) as same,
    ):
        assert same == address


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (DEPLOY / "wsrooms@.service").read_text("utf-8")
    program = "/opt/chat/.venv/bin/python"
    assert program in text
    (tmp_path / "wsrooms@.service").write_text(text.replace(program, sys.executable), "utf-8")
    verified = subprocess.run(
        [analyze, "verify", str(tmp_path / "wsrooms@1.service")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = [line for line in verified.stderr.splitlines() if "wsrooms@" in line]
    assert (verified.returncode, said) == (0, [])

"""Where to listen, and the one line that is told where that cannot be."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import ServerNotStarted, UnknownOption
from wsrooms.server.settings import WsAddress
from wsrooms.server.sockets import listen_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

unix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="there are no unix sockets on Windows"
)


async def listen(host: str = "127.0.0.1", port: int = 0, **options: Any) -> WsAddress:
    """Listen, and stop at once."""
    server, address = await listen_on(asyncio.Protocol, host, port, options)
    server.close()
    return address


async def test_port_0_is_a_free_one() -> None:
    address = await listen()
    assert address.host == "127.0.0.1"
    assert 1023 < address.port < 65_536
    assert address.url == f"ws://127.0.0.1:{address.port}"


async def test_an_ipv6_address_stands_in_brackets_in_its_url() -> None:
    try:
        address = await listen("::1")
    except ServerNotStarted:
        pytest.skip("this machine has no IPv6")
    assert address.host == "::1"
    assert address.url == f"ws://[::1]:{address.port}"


async def test_tls_is_wss(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    assert (await listen(ssl=certificates[0])).url.startswith("wss://127.0.0.1:")


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
async def test_reuse_port_lets_two_servers_share_a_port(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(options={"reuse_port": True}) as serving:
        port = serving.address.port
        second, address = await listen_on(asyncio.Protocol, "127.0.0.1", port, {"reuse_port": True})
        assert address.port == port
        second.close()
        async with raw_client(serving.address) as client:
            await client.send("hello")
            await serving.session.has_received(1)


async def test_a_port_in_use_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerNotStarted) as caught:
            await listen(port=port)
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is in use: stop what uses it, or choose another, "
        "such as port=0 for a free one"
    )


@pytest.mark.parametrize(("host", "port"), [(8000, 8000), ("::1", "8000"), ("::1", 8000.5)])
async def test_a_host_and_a_port_of_other_types_are_told(host: Any, port: Any) -> None:
    with pytest.raises(
        ServerNotStarted, match="are not a str and an int: run\\(\\) takes the host"
    ):
        await listen(host, port)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
async def test_a_port_that_does_not_exist_is_told(port: Any) -> None:
    with pytest.raises(ServerNotStarted, match="does not exist: use 0 to 65535"):
        await listen(port=port)


@pytest.mark.parametrize(
    "host",
    ["192.0.2.1", "no.such.host.invalid", "a" * 300, "2001:db8::1"],
    ids=["of documentation", "of no network", "too long", "of IPv6"],
)
async def test_a_host_of_another_machine_is_told(host: str) -> None:
    with pytest.raises(ServerNotStarted) as caught:
        await listen(host)
    assert str(caught.value) == (
        f"host {host!r} is no address of this machine: use 127.0.0.1, 0.0.0.0 or ::"
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "port 80 on localhost is not allowed to this user: use a port above 1023"),
        (errno.EMFILE, "cannot listen on localhost:80: why not"),
    ],
)
def test_what_the_system_refuses_is_told(
    number: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, to whom every port is open."""

    class Refusing:
        async def create_server(self, *_: object, **__: object) -> None:
            raise OSError(number, "why not")

    monkeypatch.setattr(asyncio, "get_running_loop", Refusing)
    listening = listen("localhost", 80)
    try:
        with pytest.raises(ServerNotStarted) as caught:
            listening.send(None)  # not awaited: only listen() shall see that loop
    finally:
        monkeypatch.undo()
        listening.close()
    assert str(caught.value) == told


# Options


async def test_an_unknown_option_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownOption) as caught:
        await listen(reuseport=True)
    assert caught.value.option == "reuseport"
    assert "reuse_port" in caught.value.known


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "ws"}, "path='ws': give what a URL has after the port, such as '/ws'"),
        ({"path": "/ws?a=b"}, "path='/ws?a=b': give what a URL has after the port, such as '/ws'"),
        ({"subprotocols": "chat"}, "subprotocols: give a list, such as ['chat']"),
        ({"ssl": True}, "ssl=True: give an ssl.SSLContext with your certificate"),
        ({"ssl": "cert.pem"}, "ssl='cert.pem': give an ssl.SSLContext with your certificate"),
    ],
)
async def test_options_that_cannot_work_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ServerNotStarted) as caught:
        await listen(**options)
    assert str(caught.value) == told


async def test_an_async_http_handler_is_refused() -> None:
    async def handler(request: object) -> None:
        pass

    with pytest.raises(ServerNotStarted, match="http_handler: give a plain function"):
        await listen(http_handler=handler)


async def test_a_platform_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(ServerNotStarted, match="no unix sockets; use host and port"):
        await listen(unix_path="/tmp/ws.sock")


async def test_a_platform_without_shared_ports_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ServerNotStarted, match="cannot share a port between processes"):
        await listen(reuse_port=True)


# Certificates


async def test_a_context_without_a_certificate_is_told_at_start() -> None:
    with pytest.raises(ServerNotStarted) as caught:
        await listen(ssl=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    assert str(caught.value) == (
        "the SSLContext holds no certificate: call "
        "context.load_cert_chain('cert.pem', 'key.pem') first"
    )


async def test_a_context_of_a_client_is_told_at_start() -> None:
    with pytest.raises(ServerNotStarted, match=r"Purpose\.CLIENT_AUTH"):
        await listen(ssl=ssl.create_default_context())


async def test_a_context_that_wants_certificates_of_clients_can_serve(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    context = certificates[0]
    before, context.verify_mode = context.verify_mode, ssl.CERT_REQUIRED
    try:
        await listen(ssl=context)
    finally:
        context.verify_mode = before


async def test_a_context_that_chooses_its_certificate_by_name_can_serve(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
    serve: Callable[..., Any],
    raw_client: Callable[..., Any],
) -> None:
    holder, trust = certificates
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def choose(sock: Any, name: str, _: ssl.SSLContext) -> None:
        assert name == "localhost"
        sock.context = holder

    context.sni_callback = choose
    async with (
        serve(options={"ssl": context}) as serving,
        raw_client(serving.address, tls=trust) as client,
    ):
        await client.send("hello")
        await serving.session.has_received(1)


# Unix sockets


@unix_only
async def test_a_unix_path_in_use_is_told_and_left_to_its_server(
    serve: Callable[..., Any], raw_client: Callable[..., Any], tmp_path: Path
) -> None:
    path = str(tmp_path / "ws.sock")
    async with serve(options={"unix_path": path}) as serving:
        with pytest.raises(ServerNotStarted) as caught:
            await listen(unix_path=path)
        assert str(caught.value) == (f"{path} is in use: stop what uses it, or choose another path")
        async with raw_client(serving.address):
            pass


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a full queue looks like a socket left behind"
)
async def test_a_unix_path_whose_server_is_too_busy_to_answer_is_in_use_all_the_same(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "busy")
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        try:
            full = False
            while not full:  # until nobody fits into its queue any more
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                try:
                    waiting[-1].connect(path)
                except BlockingIOError:
                    full = True
            with pytest.raises(ServerNotStarted, match="busy"):
                await listen(unix_path=path)
        finally:
            for sock in waiting:
                sock.close()
    assert os.path.exists(path)  # noqa: ASYNC240 - a look at a local file


@unix_only
async def test_a_unix_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "ws.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert (await listen(unix_path=path)) == WsAddress(path, 0, f"ws+unix://{path}")


@unix_only
@pytest.mark.parametrize("name", ["no/such/folder/ws.sock", "a" * 200, "file"])
async def test_a_unix_path_that_cannot_be_is_told(name: str, tmp_path: Path) -> None:
    os.close(os.open(tmp_path / "file", os.O_CREAT))
    path = str(tmp_path / name)
    with pytest.raises(ServerNotStarted) as caught:
        await listen(unix_path=path)
    assert str(caught.value).startswith(f"cannot listen on {path}: ")
    assert "\n" not in str(caught.value)

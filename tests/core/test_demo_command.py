"""``python -m wsrooms.demo`` in this process: what its options do."""

from __future__ import annotations

import asyncio
import webbrowser
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms.demo import __main__ as command
from wsrooms.demo.page import serve_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixture of conftest.py


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_address_is_printed_and_a_browser_opened_only_where_asked(
    wanted: bool,
    connect: Connect,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    opened: asyncio.Queue[str] = asyncio.Queue()

    def open_in_browser(url: str) -> None:
        loop.call_soon_threadsafe(opened.put_nowait, url)

    monkeypatch.setattr(webbrowser, "open", open_in_browser)
    app = command.DemoApp(open_browser=wanted)
    try:
        address = await app.listen(0)
        url = f"http://127.0.0.1:{address.port}/"
        assert f"Open {url} in two browser tabs" in capsys.readouterr().out
        if wanted:
            async with asyncio.timeout(DEADLINE):
                assert await opened.get() == url
        peer = await connect(address)
        assert await peer.call("hello", "/hello", {"name": "Ada"})
        assert opened.empty()
    finally:
        await app.close()


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        ([], ("127.0.0.1", 8000, False)),
        (["--port", "0", "--host", "0.0.0.0", "--open"], ("0.0.0.0", 0, True)),
    ],
)
def test_the_options_of_the_command_line_reach_the_app(
    arguments: list[str], called: tuple[str, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[str, int, bool]] = []

    def run(self: command.DemoApp, host: str, port: int, *, http_handler: object) -> None:
        assert http_handler is serve_page
        runs.append((host, port, self._open_browser))

    monkeypatch.setattr(command.DemoApp, "run", run)
    command.main(arguments)
    assert runs == [called]


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--colour"], ["chat"]])
def test_what_the_command_does_not_know_it_refuses(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m wsrooms.demo" in capsys.readouterr().err

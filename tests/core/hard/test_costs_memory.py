"""What deliveries and connections cost, counted: blocks of memory, bytes, and lines that run.

A clock would tell what the machine was busy with. These figures are the same on every
run, so whoever makes a delivery or an idle connection dearer learns it here. No heartbeat
beats where something else is counted.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wsrooms
from wsrooms import (
    WsApp,
    use_route_params,
    use_ws_connection,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    # Fixtures of conftest.py, which importlib mode does not let us import.
    Crowds = Callable[[WsApp, int], AbstractAsyncContextManager[Any]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

PACKAGE = str(Path(wsrooms.__file__).parent)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Blocks, bytes and lines


class Lines:
    """Counts the lines that run in the package, each pass of a loop anew, whoever calls it."""

    def __init__(self) -> None:
        self.by_function: Counter[str] = Counter()

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self.by_function[frame.f_code.co_qualname] += 1
        return self._line

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        before = sys.gettrace()  # that of a debugger, or of coverage
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)


async def test_a_delivery_holds_one_block_for_each_member_and_none_for_each_further_frame(
    crowd_of: Crowds,
) -> None:
    app = WsApp(heartbeat_interval=None)
    held: dict[tuple[int, int], int] = {}
    async with crowd_of(app, 20) as crowd:
        for members in (20, 220):
            if members > 20:
                await crowd.connect(members - 20)
                await crowd.send(crowd.message("join"))
            room = app.room("/r")
            for frames in (1, 10):
                blocks: list[int] = []
                for _ in range(15):
                    before = sys.getallocatedblocks()
                    for _ in range(frames):
                        room.broadcast("said", 1)
                    blocks.append(sys.getallocatedblocks() - before)
                    await crowd.settle()
                    crowd.read()
                # Other threads allocate and free at times.
                held[members, frames] = int(statistics.median(blocks))
    each = (held[220, 1] - held[20, 1]) / 200
    assert 0 < each <= 1.1  # the list of what waits for it, and its share of the flusher's queue
    assert held[220, 10] - held[220, 1] == pytest.approx(held[20, 10] - held[20, 1], abs=4)


async def test_a_delivery_takes_few_lines_and_a_further_frame_none_for_each_member(
    crowd_of: Crowds,
) -> None:
    app = WsApp(heartbeat_interval=None)
    first: dict[int, int] = {}
    further: dict[int, Counter[str]] = {}
    async with crowd_of(app, 20) as crowd:
        for members in (20, 220):
            if members > 20:
                await crowd.connect(members - 20)
                await crowd.send(crowd.message("join"))
            room = app.room("/r")
            alone, one_more = Lines(), Lines()
            with alone.counted():
                room.broadcast("said", 1)
                await crowd.settle()
            room.broadcast("said", 1)
            with one_more.counted():
                room.broadcast("said", 1)
            await crowd.settle()
            first[members] = sum(alone.by_function.values())
            further[members] = one_more.by_function
    # To share it and to flush it: 37 where this was written.
    assert 0 < (first[220] - first[20]) / 200 < 45
    assert "Batch.add" in further[20]
    assert further[20] == further[220]


async def test_an_idle_connection_takes_less_than_8_kb_and_a_membership_less_than_128_bytes(
    crowd_of: Crowds,
) -> None:
    app = WsApp()
    count = 300

    def traced() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with crowd_of(app, 20) as crowd:
        crowd.prepare(count)  # the clients' own sockets are not counted
        tracemalloc.start()
        try:
            before = traced()
            await crowd.connect(count)
            idle = traced()
            await crowd.send(*(crowd.message("join", f"/room{number}") for number in range(3)))
            joined = traced()
        finally:
            tracemalloc.stop()
        assert app.stats()["memberships"] == 20 + 3 * (count + 20)
    assert 1_000 < (idle - before) / count < 8_192
    assert 20 < (joined - idle) / (3 * (count + 20)) < 128


# The end of a connection


async def test_the_end_of_a_connection_costs_the_same_however_many_others_there_are(
    crowd_of: Crowds, eventually: Eventually
) -> None:
    app = WsApp(heartbeat_interval=None)
    ended: list[str] = []

    @app.on_message("rooms", "/:number")
    def rooms() -> None:
        for name in ("a", "b", "c"):
            use_ws_rooms().join(f"{name} of {use_route_params()['number']}")

    @app.on_disconnect
    def left() -> None:
        ended.append(use_ws_connection().id)

    costs: list[Counter[str]] = []
    async with crowd_of(app, 11) as crowd:
        for others in (10, 400):
            more = others + 1 - app.stats()["connections"]
            await crowd.connect(more)
            for number in range(others + 1):  # rooms of its own, and one that all are in
                await crowd.send(
                    crowd.message("rooms", f"/{number}"), crowd.message("join"), to=number
                )
            assert app.stats()["memberships"] == 4 * (others + 1)
            crowd.read()
            ended.clear()
            lines = Lines()
            with lines.counted():
                crowd.sockets.pop().close()
                await eventually(lambda: ended)
                await crowd.settle()
            assert app.stats()["connections"] == others
            assert app.stats()["memberships"] == 4 * others
            costs.append(lines.by_function)
    few, many = costs
    assert "Hub.discard" in few
    assert few == many

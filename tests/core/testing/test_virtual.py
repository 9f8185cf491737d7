"""Virtual time: waiting costs nothing, a seed decides everything, a deadlock is told."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tests.deadlines import promised
from wsrooms import MemoryTransport, WsApp, tagged, use_ws_connection, use_ws_rooms, use_ws_server
from wsrooms.testing import Deadlock, VirtualTimeLoop, connect_client, run

# Time


def test_a_sleep_of_a_year_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(main()) == pytest.approx(365 * 86_400)
    assert time.monotonic() - began < promised(5.0)


def test_timers_ring_in_their_order_each_at_its_time() -> None:
    async def main() -> list[tuple[str, float]]:
        rang: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            rang.append((name, loop.time()))

        await asyncio.gather(wait("c", 3), wait("a", 1), wait("b", 2), wait("b2", 2))
        return rang

    assert run(main()) == [("a", 1), ("b", 2), ("b2", 2), ("c", 3)]


def test_a_timeout_is_over_at_once() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()

    run(main())


def test_work_in_a_thread_is_waited_for_and_takes_no_virtual_time() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        assert go_on.wait(5)
        return "done"

    def release() -> None:
        assert begun.wait(5)
        go_on.set()

    async def main() -> tuple[str, float]:
        task = asyncio.ensure_future(asyncio.to_thread(work))
        timer = asyncio.ensure_future(asyncio.sleep(10))
        threading.Thread(target=release).start()
        result = await task
        now = asyncio.get_running_loop().time()
        await timer
        return result, now

    assert run(main()) == ("done", 0.0)


# The end


def test_a_thread_that_waits_for_the_loop_is_not_waited_for_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsrooms.testing.virtual.PATIENCE", 0.05)
    hours: list[float] = []

    async def hour() -> None:
        await asyncio.sleep(3600)
        hours.append(asyncio.get_running_loop().time())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            await asyncio.to_thread(
                lambda: asyncio.run_coroutine_threadsafe(hour(), loop).result(30)
            )

    run(main())
    assert hours == [3600, 7200]


def test_a_wait_for_what_can_never_happen_is_told_with_the_place() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(forever(), name="the one that waits")

    with pytest.raises(Deadlock) as caught:
        run(main())
    assert "the one that waits" in str(caught.value)
    assert "forever" in str(caught.value)
    assert "test_virtual.py" in str(caught.value)
    assert "nobody waits for a subprocess, a socket or a thread" in str(caught.value)


def test_the_result_and_the_error_of_the_coroutine_come_out() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def succeed() -> int:
        return 42

    assert run(succeed()) == 42
    with pytest.raises(ZeroDivisionError):
        run(fail())


def test_tasks_that_are_left_are_cancelled() -> None:
    ended: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(stay())
        await asyncio.sleep(1)
        ended.append(f"done: {task.done()}")

    run(main())
    assert ended == ["done: False", "cancelled"]


def test_a_task_that_does_not_end_when_it_is_cancelled_is_named() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        asyncio.create_task(stubborn(), name="stubborn")  # noqa: RUF006 - left on purpose
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match="do not end when they are cancelled: stubborn"):
        run(main())
    gc.collect()  # a task that is dropped here must not be complained of in another test


def test_what_goes_wrong_where_nobody_is_told_is_raised() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError) as caught:
        run(main())
    assert "Exception in callback" in caught.value.__notes__[0]


def test_two_such_errors_are_a_group_and_a_third_of_the_coroutine_comes_first() -> None:
    async def main(error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(lambda: [][1])
        await asyncio.sleep(1)
        if error is not None:
            raise error

    with pytest.raises(BaseExceptionGroup) as group:
        run(main(None))
    assert [type(error) for error in group.value.exceptions] == [ZeroDivisionError, IndexError]
    with pytest.raises(KeyError) as caught:
        run(main(KeyError("mine")))
    assert len(caught.value.__notes__) == 2


def test_a_task_that_fails_at_its_end_is_seen() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            raise ZeroDivisionError

    async def main() -> None:
        asyncio.create_task(fails())  # noqa: RUF006 - left on purpose
        await asyncio.sleep(0)

    with pytest.raises(ZeroDivisionError):
        run(main())


async def test_it_is_not_called_in_a_loop() -> None:
    with pytest.raises(RuntimeError, match="await the coroutine"):
        run(asyncio.sleep(0))


# Chance


def test_a_seed_makes_all_that_is_drawn_the_same_and_leaves_no_trace() -> None:
    async def draw() -> tuple[float, list[str]]:
        app = WsApp()
        ids = []
        for _ in range(2):
            async with connect_client(app) as ann:
                ids.append(ann.connection_id)
        return random.random(), ids

    random.seed(1)
    expected = random.random()
    random.seed(1)
    one = run(draw(), seed=7)
    assert random.random() == expected
    assert run(draw(), seed=7) == one
    other = run(draw(), seed=8)
    assert other[0] != one[0]
    assert not set(other[1]) & set(one[1])
    assert run(draw())[1] != run(draw())[1]


def test_a_seed_decides_the_ids_of_instances_too() -> None:
    async def draw() -> str:
        transport = tagged(MemoryTransport())
        await transport.start()
        return str(transport._instance)

    assert run(draw(), seed=7) == run(draw(), seed=7)
    assert run(draw()) != run(draw())


STORY = """
import asyncio, json, random
from wsrooms import *
from wsrooms.testing import connect_client, run

app = WsApp(shutdown_timeout=0.1)
heard = []

@app.on_message("join", "/*")
def join():
    for room in "abcdefgh":
        use_ws_rooms().join(room)

@app.on_message("say", "/*")
async def say():
    await asyncio.sleep(random.random())
    use_ws_rooms().broadcast("said", use_ws_message().data, room=random.choice("abcdefgh"))

@app.on_disconnect
async def bye():
    connection = use_ws_connection()
    heard.append(["bye", connection.id, list(connection.rooms)])
    await asyncio.sleep(random.random())
    use_ws_server().broadcast("left", "/", connection.id)

async def client(number):
    async with connect_client(app, f"/{number}") as me:
        await me.call("join", "/x")
        for n in range(20):
            me.send("say", "/x", [number, n])
        try:
            while True:
                heard.append([number, await me.receive()])
        except TimeoutError:
            pass

async def main():
    async with connect_client(app):
        await asyncio.gather(*map(client, range(5)))
    return heard

print(json.dumps(run(main(), seed=3)))
"""


def test_the_same_seed_gives_the_same_story_in_another_process() -> None:
    def told(hash_seed: str) -> Any:
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", STORY], env=environment, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    story = told("1")
    assert len(story) > 300
    assert told("2") == story


# The core on such a loop


def test_how_busy_the_machine_is_decides_nothing() -> None:
    app = WsApp()
    order: list[int] = []

    @app.on_message("work", "/")
    def work() -> None:
        time.sleep(0.001)  # six of these are over the slice of a turn, by a real clock
        order.append(asyncio.get_running_loop()._turn)  # type: ignore[attr-defined]  # see below

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop._turn = 0  # type: ignore[attr-defined]  # counts turns

        def count() -> None:
            loop._turn += 1  # type: ignore[attr-defined]  # counts turns
            if not done.is_set():
                loop.call_soon(count)

        done = asyncio.Event()
        loop.call_soon(count)
        async with connect_client(app) as ann:
            for _ in range(20):
                ann.send("work", "/")
            await ann.settle()
            done.set()

    run(main())
    assert len(set(order)) == 1, "all in one turn, however long they took"


def test_the_heartbeat_finds_a_dead_client_in_its_own_time() -> None:
    async def main() -> float:
        app = WsApp(heartbeat_interval=30, heartbeat_timeout=5)
        gone: list[float] = []
        loop = asyncio.get_running_loop()
        app.on_disconnect(lambda: gone.append(loop.time()))
        async with connect_client(app) as other, connect_client(app) as ann:
            ann.cut()
            await asyncio.sleep(120)
            assert other.close_code is None
        return gone[0]

    assert 5 <= run(main()) <= 36


def test_rooms_of_handlers_that_never_end_are_left_within_the_limits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "wsrooms")

    async def main() -> float:
        app = WsApp(shutdown_timeout=10)

        @app.on_message("stay", "/")
        async def stay() -> None:
            use_ws_rooms().join()
            assert use_ws_connection() in use_ws_server().connections()
            await asyncio.sleep(1e6)

        async with connect_client(app) as ann:
            ann.send("stay", "/")
        return asyncio.get_running_loop().time()

    assert run(main()) < 30


def test_a_loop_may_be_used_without_run() -> None:
    loop = VirtualTimeLoop()
    loop.run_until_complete(asyncio.sleep(1000))
    assert loop.time() == 1000
    loop.close()

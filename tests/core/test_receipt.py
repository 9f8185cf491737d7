"""A receipt can be awaited, waited for in a thread, or dropped, and no failure goes unseen."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt

ERROR = TransportUnavailable("down")


async def wait(receipt: Receipt) -> None:
    async with asyncio.timeout(DEADLINE):
        await receipt


async def waiting(receipt: Receipt) -> asyncio.Task[None]:
    """A task that awaits ``receipt`` by now."""
    task = asyncio.create_task(wait(receipt))
    await asyncio.sleep(0)
    assert not task.done()
    return task


# The outcome


def test_a_receipt_is_open_until_it_is_settled() -> None:
    receipt = Receipt()
    assert (receipt.done, receipt.error, receipt._seen) == (False, None, False)
    assert repr(receipt) == "<Receipt open>"
    receipt.settle()
    assert (receipt.done, receipt.error) == (True, None)
    assert repr(receipt) == "<Receipt confirmed>"


def test_the_first_outcome_stays() -> None:
    confirmed, failed = Receipt(), Receipt()
    confirmed.settle()
    confirmed.settle(ERROR)
    failed.settle(ERROR)
    failed.settle()
    assert (confirmed.error, failed.error) == (None, ERROR)
    assert repr(failed) == "<Receipt failed: TransportUnavailable('down')>"


def test_a_receipt_may_have_failed_from_the_start() -> None:
    receipt = Receipt.failed(ERROR)
    assert (receipt.done, receipt.error) == (True, ERROR)


def test_callbacks_are_called_in_order_once_the_outcome_is_known() -> None:
    receipt = Receipt()
    calls: list[tuple[str, Receipt]] = []
    receipt._when_done(lambda done: calls.append(("a", done)))
    receipt._when_done(lambda done: calls.append(("b", done)))
    assert calls == []
    receipt.settle()
    receipt._when_done(lambda done: calls.append(("c", done)))
    receipt.settle()
    assert calls == [("a", receipt), ("b", receipt), ("c", receipt)]


async def test_what_needs_no_waiting_is_one_shared_finished_receipt() -> None:
    assert FINISHED.done
    await FINISHED
    FINISHED.settle(ERROR)
    assert FINISHED.error is None


# Awaiting


async def test_awaiting_ends_when_it_is_settled() -> None:
    receipt = Receipt()
    task = await waiting(receipt)
    receipt.settle()
    await task
    assert receipt._seen


async def test_awaiting_raises_its_error_each_time() -> None:
    receipt = Receipt()
    task = await waiting(receipt)
    receipt.settle(ERROR)
    for awaitable in (task, receipt, receipt):
        with pytest.raises(TransportUnavailable) as caught:
            await awaitable
        assert caught.value is ERROR


async def test_many_may_await_one_receipt() -> None:
    receipt = Receipt()
    tasks = [await waiting(receipt) for _ in range(10)]
    receipt.settle()
    await asyncio.gather(*tasks)


async def test_awaiting_a_finished_receipt_does_not_give_the_turn_away() -> None:
    order: list[str] = []
    asyncio.get_running_loop().call_soon(order.append, "turn")
    await FINISHED
    order.append("went on")
    await asyncio.sleep(0)
    assert order == ["went on", "turn"]


async def test_until_it_is_awaited_a_receipt_has_neither_future_nor_task() -> None:
    before = asyncio.all_tasks()
    receipt = Receipt()
    assert receipt._callbacks == []
    assert asyncio.all_tasks() == before


# Cancelling


async def test_cancelling_the_await_takes_back_what_the_receipt_stands_for() -> None:
    cancelled: list[Receipt] = []
    receipt = Receipt(on_cancel=cancelled.append)
    task = await waiting(receipt)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [receipt]


async def test_a_timeout_is_a_cancelling() -> None:
    cancelled: list[Receipt] = []
    receipt = Receipt(on_cancel=cancelled.append)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await receipt
    assert cancelled == [receipt]


async def test_without_a_word_about_it_cancelling_only_ends_the_await() -> None:
    receipt = Receipt()
    task = await waiting(receipt)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    receipt.settle()
    await wait(receipt)


async def test_whoever_is_cancelled_in_the_turn_of_the_outcome_gives_up_what_was_confirmed() -> (
    None
):
    cancelled: list[Receipt] = []
    for error in (None, ValueError()):
        receipt = Receipt(on_cancel=cancelled.append)
        task = await waiting(receipt)
        receipt.settle(error)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [each.error for each in cancelled] == [None]  # a failure leaves nothing to give up


async def test_what_its_awaiter_has_been_told_is_not_taken_back() -> None:
    cancelled: list[Receipt] = []
    receipt = Receipt(on_cancel=cancelled.append)
    task = await waiting(receipt)
    receipt.settle()
    await task
    task.cancel()
    assert cancelled == []


async def test_one_that_is_cancelled_does_not_disturb_the_others() -> None:
    receipt = Receipt()
    first, second = await waiting(receipt), await waiting(receipt)
    first.cancel()
    await asyncio.sleep(0)
    receipt.settle()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first


# Failures that nobody looks at


def dropped(make: Callable[[Callable[[Exception], None]], None]) -> list[Exception]:
    """What is told when ``make`` has dropped its receipt."""
    told: list[Exception] = []
    make(told.append)
    gc.collect()
    return told


def test_a_failure_that_nobody_looked_at_is_told() -> None:
    def make(tell: Callable[[Exception], None]) -> None:
        Receipt.failed(ERROR, tell)
        Receipt(on_unseen=tell).settle(ERROR)

    assert dropped(make) == [ERROR, ERROR]


def test_dropping_an_open_or_a_confirmed_receipt_tells_nothing() -> None:
    def make(tell: Callable[[Exception], None]) -> None:
        Receipt(on_unseen=tell)
        Receipt(on_unseen=tell).settle()
        Receipt.failed(ERROR)

    assert dropped(make) == []


def test_a_failure_that_somebody_took_is_seen() -> None:
    def make(tell: Callable[[Exception], None]) -> None:
        receipt = Receipt.failed(ERROR, tell)
        assert receipt._take_error() is ERROR
        assert receipt._seen

    assert dropped(make) == []


def test_looking_at_the_attribute_is_not_enough() -> None:
    def make(tell: Callable[[Exception], None]) -> None:
        assert Receipt.failed(ERROR, tell).error is ERROR

    assert dropped(make) == [ERROR]


async def test_a_failure_that_was_awaited_is_seen() -> None:
    told: list[Exception] = []
    receipt = Receipt.failed(ERROR, told.append)
    with pytest.raises(TransportUnavailable):
        await receipt
    del receipt
    gc.collect()
    assert told == []


async def test_a_failure_whose_await_was_cancelled_is_not_seen() -> None:
    told: list[Exception] = []
    receipt = Receipt(on_unseen=told.append)
    task = await waiting(receipt)
    task.cancel()
    await asyncio.wait([task])
    receipt.settle(ERROR)
    del receipt, task
    gc.collect()
    assert told == [ERROR]


def test_a_dropped_receipt_is_freed_at_once() -> None:
    receipt = Receipt()
    gone = weakref.ref(receipt)
    del receipt
    assert gone() is None


# Following another


def test_a_receipt_that_follows_ends_as_the_other_does() -> None:
    inner, outer = Receipt(), Receipt()
    outer._follow(inner)
    assert not outer.done
    inner.settle(ERROR)
    assert (outer.done, outer.error) == (True, ERROR)
    late = Receipt()
    late._follow(inner)
    assert late.error is ERROR


def test_of_two_that_follow_each_other_the_failure_is_told_once_and_by_the_inner_one() -> None:
    told: list[str] = []

    def make(tell: Callable[[Exception], None]) -> None:
        inner = Receipt(on_unseen=lambda error: told.append("inner"))
        outer = Receipt(on_unseen=lambda error: told.append("outer"))
        outer._follow(inner)
        inner.settle(ERROR)

    dropped(make)
    assert told == ["inner"]


def test_whoever_looks_at_the_outer_one_has_looked_at_the_inner_one() -> None:
    def make(tell: Callable[[Exception], None]) -> None:
        inner, outer = Receipt(on_unseen=tell), Receipt(on_unseen=tell)
        outer._follow(inner)
        inner.settle(ERROR)
        with pytest.raises(TransportUnavailable):
            outer.result()

    assert dropped(make) == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_whoever_awaits_a_failure_keeps_nothing_until_garbage_is_collected(when: str) -> None:
    failing = Receipt()
    alive = weakref.ref(failing)
    error = TransportUnavailable("an own one: it gets a trace")
    if when == "before":
        failing.settle(error)
    else:
        asyncio.get_running_loop().call_soon(failing.settle, error)
    receipts = [failing]
    del failing, error
    gc.disable()
    try:
        with contextlib.suppress(TransportUnavailable):
            await receipts.pop()
        await asyncio.sleep(0)
        assert alive() is None
    finally:
        gc.enable()


# Threads


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_result_gives_the_outcome_in_a_thread_without_a_loop() -> None:
    FINISHED.result()
    with pytest.raises(TransportUnavailable):
        Receipt.failed(ERROR).result(0)


async def test_result_waits_for_what_the_loop_settles(threads: ThreadPoolExecutor) -> None:
    receipt = Receipt()
    loop = asyncio.get_running_loop()
    in_threads = [loop.run_in_executor(threads, receipt.result, DEADLINE) for _ in range(4)]
    await asyncio.sleep(0)
    receipt.settle()
    await asyncio.gather(*in_threads)


async def test_result_raises_the_error_and_has_seen_it(threads: ThreadPoolExecutor) -> None:
    told: list[Exception] = []
    receipt = Receipt(on_unseen=told.append)
    loop = asyncio.get_running_loop()
    in_thread = loop.run_in_executor(threads, receipt.result, DEADLINE)
    receipt.settle(ERROR)
    with pytest.raises(TransportUnavailable):
        await in_thread
    del receipt, in_thread
    gc.collect()
    assert told == []


def test_result_waits_no_longer_than_it_was_told() -> None:
    with pytest.raises(TimeoutError, match=r"no outcome within 0\.01 s"):
        Receipt().result(0.01)


async def test_result_on_a_thread_that_runs_a_loop_raises_instead_of_blocking_it() -> None:
    for receipt in (Receipt(), FINISHED):
        with pytest.raises(RuntimeError, match="await the receipt instead"):
            receipt.result()


def test_a_result_that_is_settled_while_it_is_asked_for_is_not_missed() -> None:
    class Hasty(Receipt):
        """Settled by another thread just before the waiting begins."""

        def _when_done(self, callback: Callable[[Receipt], None]) -> None:
            self.settle()
            self._callbacks.append(callback)  # to the list that nobody reads any more

    Hasty().result(DEADLINE)


async def test_an_await_that_is_settled_while_it_begins_is_not_missed() -> None:
    class Hasty(Receipt):
        def _when_done(self, callback: Callable[[Receipt], None]) -> None:
            self.settle()
            self._callbacks.append(callback)

    await wait(Hasty())


def test_threads_that_begin_to_wait_at_the_same_moment_all_wake() -> None:
    for _ in range(50):
        receipt = Receipt()
        start = threading.Barrier(5)
        results: list[str] = []

        def ask(
            receipt: Receipt = receipt,
            start: threading.Barrier = start,
            results: list[str] = results,
        ) -> None:
            start.wait(DEADLINE)
            receipt.result(DEADLINE)
            results.append("woke")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait(DEADLINE)
        receipt.settle()
        for thread in threads:
            thread.join(DEADLINE)
        assert results == ["woke"] * 4


def test_a_receipt_may_be_awaited_in_another_loop_than_the_one_that_settles_it() -> None:
    receipt = Receipt()
    awaiting = threading.Event()

    async def other_loop() -> None:
        asyncio.get_running_loop().call_soon(awaiting.set)
        await wait(receipt)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(asyncio.run, other_loop())
        assert awaiting.wait(DEADLINE)
        receipt.settle()
        other.result(DEADLINE)


def test_a_loop_that_closed_while_it_awaited_does_not_disturb_who_settles() -> None:
    receipt = Receipt()

    def abandoned() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(wait(receipt))
        loop.call_soon(loop.stop)
        loop.run_forever()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    calls: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(abandoned).result(DEADLINE)
    receipt._when_done(lambda _: calls.append("told"))
    receipt.settle()
    assert calls == ["told"]

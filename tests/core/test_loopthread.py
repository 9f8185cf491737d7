"""Other threads reach the loop: calls in order, questions answered, errors told."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import loopthread
from wsrooms.errors import InvalidRoom, NotRunning, TransportUnavailable
from wsrooms.loopthread import LoopThread
from wsrooms.receipt import FINISHED, Receipt

ERROR = TransportUnavailable("down")


class Home:
    """A loop in a thread of its own, and the :class:`LoopThread` that was made there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stopped, self.over = threading.Event(), threading.Event()
        made = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(made,), daemon=True)
        self.thread.start()
        assert made.wait(DEADLINE)

    def _run(self, made: threading.Event) -> None:
        self.home = LoopThread(self.loop)
        self.loop.call_soon(made.set)
        self.loop.run_forever()
        self.stopped.set()
        self.over.wait(DEADLINE)  # or a new thread might get the number of this one

    def stop(self) -> None:
        """Stop the loop; what is handed to it from now on never runs."""
        if not self.stopped.is_set():
            self.loop.call_soon_threadsafe(self.loop.stop)
            assert self.stopped.wait(DEADLINE)

    def close(self) -> None:
        self.stop()
        self.loop.close()
        self.over.set()
        self.thread.join(DEADLINE)


@pytest.fixture
def away() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


async def test_the_thread_that_made_it_is_home_and_no_other() -> None:
    home = LoopThread(asyncio.get_running_loop())
    inside = await asyncio.to_thread(lambda: home.inside)
    assert (home.inside, inside) == (True, False)


def test_calls_of_a_thread_run_on_the_loop_in_their_order(away: Home) -> None:
    ran: list[tuple[int, int | None]] = []
    for number in range(200):
        away.home.post(lambda number=number: ran.append((number, threading.get_ident())))  # type: ignore[misc]  # mypy knows no default of a lambda
    away.home.ask(lambda: None)
    assert ran == [(number, away.thread.ident) for number in range(200)]


def test_questions_are_answered_on_the_loop(away: Home) -> None:
    assert away.home.ask(threading.get_ident) == away.thread.ident


async def test_at_home_questions_are_answered_at_once() -> None:
    home = LoopThread(asyncio.get_running_loop())
    assert home.ask(threading.get_ident) == threading.get_ident()


@pytest.mark.parametrize("error", [InvalidRoom("", "it is empty"), TimeoutError("its own")])
def test_an_error_of_the_answer_is_raised_where_it_was_asked(away: Home, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        away.home.ask(fail)
    assert caught.value is error


def test_a_receipt_of_the_loop_is_a_receipt_of_the_thread(away: Home) -> None:
    inner = Receipt()
    receipt = away.home.post_receipt(lambda: inner)
    assert not receipt.done
    away.home.post(inner.settle)
    receipt.result(DEADLINE)
    away.home.post_receipt(lambda: FINISHED).result(DEADLINE)


def test_the_error_of_a_receipt_of_the_loop_is_raised_in_the_thread(away: Home) -> None:
    with pytest.raises(TransportUnavailable):
        away.home.post_receipt(lambda: Receipt.failed(ERROR)).result(DEADLINE)


def test_what_the_call_itself_raises_is_the_receipts_error(away: Home) -> None:
    def fail() -> Receipt:
        raise InvalidRoom("", "it is empty")

    with pytest.raises(InvalidRoom):
        away.home.post_receipt(fail).result(DEADLINE)


def test_a_failed_call_that_nobody_looks_at_is_told(away: Home) -> None:
    told: list[Exception] = []
    away.home.on_unseen = told.append

    def fail() -> Receipt:
        raise ERROR

    away.home.post_receipt(fail)
    away.home.post_receipt(lambda: Receipt.failed(ERROR, told.append))
    away.home.ask(gc.collect)
    gc.collect()
    assert told == [ERROR, ERROR]


def test_after_the_loop_has_closed_every_call_says_so(away: Home) -> None:
    away.close()
    for call in (
        lambda: away.home.post(lambda: None),
        lambda: away.home.post_receipt(lambda: FINISHED),
        lambda: away.home.ask(lambda: None),
    ):
        with pytest.raises(NotRunning, match="event loop has closed"):
            call()


def test_whoever_gives_up_a_call_of_a_loop_that_has_closed_is_only_cancelled(away: Home) -> None:
    receipt = away.home.post_receipt(Receipt)
    away.close()

    async def main() -> None:
        async with asyncio.timeout(0.01):
            await receipt

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_a_question_that_the_loop_did_not_live_to_answer_is_not_waited_for(
    away: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopthread, "ASK_AGAIN", 0.01)
    away.stop()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(away.home.ask, lambda: None)
        with pytest.raises(TimeoutError):
            asked.result(0.05)
        away.loop.close()
        with pytest.raises(NotRunning, match="event loop has closed"):
            asked.result(DEADLINE)


def test_an_answer_that_comes_in_the_last_moment_is_the_answer(
    away: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopthread, "ASK_AGAIN", 0.001)
    go = threading.Event()

    def slow() -> Any:
        go.wait(DEADLINE)
        return 7

    threading.Timer(0.05, go.set).start()
    assert away.home.ask(slow) == 7


async def test_a_loop_does_not_wait_for_ever_for_one_that_waits_for_it(
    away: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopthread, "ASK_AGAIN", 0.01)
    go = threading.Event()
    try:
        with pytest.raises(RuntimeError, match="to_thread"):
            away.home.ask(lambda: go.wait(DEADLINE))
    finally:
        go.set()
    assert await asyncio.to_thread(away.home.ask, lambda: 7) == 7

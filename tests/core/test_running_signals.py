"""``run_app`` with an app that does nothing, in this process: signals, logging, failures."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import ServerNotStarted, TransportUnavailable, WsAddress, WsApp, running

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="a process of Windows cannot be sent these signals"
)


class FakeApp:
    """Does what a test says when it should listen, and notes that it was closed."""

    def __init__(self, listening: Callable[[], None] = lambda: None) -> None:
        self._listening = listening
        self.closed = False

    async def listen(self, port: int, host: str = "127.0.0.1", **options: Any) -> WsAddress:
        self._listening()
        return WsAddress(host, port, f"ws://{host}:{port}")

    async def close(self) -> None:
        self.closed = True


def run(app: FakeApp) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    logger = logging.getLogger("wsrooms")
    running.run_app(app, "127.0.0.1", 8000, {}, logger, debug=False, until_closed=never)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_it_begins_to_listen_counts(number: int) -> None:
    app = FakeApp(lambda: signal.raise_signal(number))
    before = signal.getsignal(number)
    run(app)
    assert app.closed
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    "error", [ServerNotStarted("do this"), TransportUnavailable("do this")], ids=repr
)
def test_what_cannot_start_is_a_system_exit_with_its_cause(error: Exception) -> None:
    def fail() -> None:
        raise error

    app = FakeApp(fail)
    with pytest.raises(SystemExit) as caught:
        run(app)
    assert caught.value.code == "wsrooms: do this"
    assert caught.value.__cause__ is error
    assert app.closed


async def test_a_running_loop_is_told_before_anything_is_done() -> None:
    app = FakeApp(lambda: pytest.fail("it listened"))
    with pytest.raises(SystemExit, match=r"await app\.listen"):
        run(app)


def test_it_runs_in_a_thread_where_signals_are_somebody_elses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot catch them there; here it ends with an error, for want of a better end."""
    ended: list[BaseException | None] = []

    def serve() -> None:
        def fail() -> None:
            raise ServerNotStarted("enough")

        try:
            run(FakeApp(fail))
        except SystemExit as error:
            ended.append(error.__cause__)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(DEADLINE)
    assert [str(error) for error in ended] == ["enough"]
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_a_handler_that_python_did_not_set_is_restored_as_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[int, object]] = []

    def set_handler(number: int, handler: object) -> None:
        given.append((number, handler))

    monkeypatch.setattr(signal, "signal", set_handler)
    with running._EndSignals(logging.getLogger("wsrooms")):
        wanted = [number for number, _ in given]
    assert {signal.SIGINT, signal.SIGTERM} <= set(wanted)
    assert given[len(wanted) :] == [(number, signal.SIG_DFL) for number in wanted]


def test_ctrl_break_of_windows_is_caught_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(signal, "SIGBREAK", "SIGBREAK", raising=False)
    monkeypatch.setattr(signal, "signal", lambda number, handler: given.append(number))
    with running._EndSignals(logging.getLogger("wsrooms")):
        assert given == [signal.SIGINT, signal.SIGTERM, "SIGBREAK"]


@posix
def test_a_signal_before_there_is_a_loop_is_remembered() -> None:
    with running._EndSignals(logging.getLogger("wsrooms")) as signals:
        signal.raise_signal(signal.SIGTERM)

        async def wait() -> None:
            async with asyncio.timeout(DEADLINE):
                await signals.wait()

        asyncio.run(wait())


@posix
def test_the_second_signal_ends_the_process_with_its_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    with running._EndSignals(logging.getLogger("wsrooms")):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == 128 + signal.SIGINT
    assert [record.message for record in caplog.records] == ["SIGINT again: ending at once"]


@posix
def test_a_signal_after_the_loop_has_closed_is_no_failure() -> None:
    async def begin() -> None:
        signals.wait()

    with running._EndSignals(logging.getLogger("wsrooms")) as signals:
        asyncio.run(begin())
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("configured", [False, True])
def test_a_handler_is_set_only_where_there_is_none(
    configured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.Logger("alone")
    mine = logging.NullHandler()
    if configured:
        logger.addHandler(mine)
    running._set_up_logging(logger, debug=False)
    running._set_up_logging(logger, debug=False)
    assert len(logger.handlers) == 1
    assert (logger.handlers[0] is mine) is configured
    assert logger.level == (logging.NOTSET if configured else logging.INFO)


def test_a_context_for_tls_reaches_the_app() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(SystemExit, match="load_cert_chain"):
        WsApp().run(port=0, ssl=context)


@posix
async def test_a_signal_that_comes_just_as_the_loop_begins_to_wait_counts_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Late(running._EndSignals):
        """A signal comes before the first look at whether one came."""

        came = False
        first = True

        @property
        def _came(self) -> bool:
            if self.first:
                self.first = False
                self._handle(signal.SIGTERM, None)
            return self.came

        @_came.setter
        def _came(self, came: bool) -> None:
            self.came = came

    asked = Late(logging.getLogger("wsrooms")).wait()
    await asked
    await asyncio.sleep(0)  # the word of the handler comes after that
    assert caplog.records == []

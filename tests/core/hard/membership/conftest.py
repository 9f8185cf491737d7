"""What several of the hard tests need; each fixture's docstring says what it gives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import pytest

from wsrooms import ConnectionGone, PermissionDenied, Receipt, TransportUnavailable, WsConnection

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still until it is told: no deadline has to be waited for.

    It turns only when told, too, so a test decides what happens between two turns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.complaints: list[str] = []
        """What went wrong where nobody could be told: it should stay empty."""
        self.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))

    def time(self) -> float:
        return self.now

    def turn(self, count: int = 10) -> None:
        """Run what is ready, then what that has made ready, and so on."""
        for _ in range(count):
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what is due by then."""
        self.now += seconds
        self.turn()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Do something as a callback of this loop would, between two of its turns."""
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def finish(self, coro: Coroutine[Any, Any, T], *, within: float, step: float = 0.5) -> T:
        """Run ``coro`` to its end, which must come within so many seconds of virtual time."""
        task = self.create_task(coro)
        until = self.now + within
        self.turn()
        while not task.done() and self.now < until:
            self.advance(step)
        assert task.done(), f"it did not end within {within} s"
        return task.result()

    def close(self) -> None:
        """Close; what still runs is cancelled."""
        if not self.is_closed():
            for task in asyncio.all_tasks(self):
                task.cancel()
            self.turn()
        super().close()


class Answer(NamedTuple):
    """What the broker does with a call: at once, or later in one of four kinds of awaitable.

    ``ghost``: it takes effect although it raises, or is given up by whoever called.
    """

    how: Literal["now", "raise", "future", "receipt", "coroutine", "stubborn"] = "now"
    ghost: bool = False


class Call:
    """A subscribe or an unsubscribe that the broker has not answered."""

    def __init__(self, bus: PlainScript, method: str, channel: str, answer: Answer) -> None:
        self.bus = bus
        self.method = method
        self.channel = channel
        self.answer = answer
        self.handler: Callable[[str], None] | None = None
        self.outages = bus.outages
        self.ended = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nobody has to look at the outcome of a call that was given up.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.receipt = Receipt(on_cancel=self._receipt_given_up)

    @property
    def over(self) -> bool:
        """Whether a next call for its channel may be made."""
        return self.future.done() if self.answer.how == "future" else self.ended

    def awaitable(self) -> Awaitable[None]:
        if self.answer.how == "future":
            return self.future
        return self.receipt if self.answer.how == "receipt" else self._run()

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await asyncio.shield(self.future)
                except asyncio.CancelledError:
                    if self.future.done() or self.answer.how != "stubborn":
                        raise
                else:
                    return
        except asyncio.CancelledError:
            if self.answer.ghost and not self.future.done():
                self.take_effect()
            raise
        finally:
            self.ended = True

    def _receipt_given_up(self, receipt: Receipt) -> None:
        if self.answer.ghost:
            self.take_effect()
        self.ended = True

    def take_effect(self) -> None:
        """The broker has done it, for the line of now or for one that is lost."""
        if self.method == "unsubscribe":
            self.bus.heard.pop(self.channel, None)
        elif self.handler is not None and (self.bus.keeps_log or self.outages == self.bus.outages):
            self.bus.heard[self.channel] = self.handler

    def confirm(self) -> None:
        self.take_effect()
        if self.answer.how == "receipt":
            self.ended = True
            self.receipt.settle()
        else:
            self.future.set_result(None)

    def refuse(self) -> None:
        if self.answer.ghost:
            self.take_effect()
        error = self.bus.refusal(self, PermissionDenied(self.channel, "not yours"))
        if self.answer.how == "receipt":
            self.ended = True
            self.receipt.settle(error)
        else:
            self.future.set_exception(error)

    def give_up(self) -> None:
        """Cancel it, as a client library does with what waits on a lost line."""
        if self.answer.how == "receipt":
            self.refuse()
        else:
            self.bus.refused_at[self.channel] = asyncio.get_running_loop().time()
            self.bus.gave_up[self.channel] = self.outages
            self.future.cancel()


class PlainScript:
    """Three methods that do what the test says, and what the broker then really knows."""

    keeps_log = False
    skips_own = True
    started = True
    up = True

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], Answer] = {}
        """How a method answers for a channel; at once where nothing is said."""
        self.calls: list[tuple[str, str]] = []
        self.open: dict[str, Call] = {}
        self.heard: dict[str, Callable[[str], None]] = {}
        """Who hears which channel: the truth, whatever was told."""
        self.refusals: list[tuple[Exception, int]] = []
        """What it raised, and how many outages there had been when it was asked."""
        self.gave_up: dict[str, int] = {}
        self.refused_at: dict[str, float] = {}
        """When a subscribe was refused last."""
        self.faults: list[str] = []
        """What must never be asked of a transport, and was."""
        self.outages = 0
        self.on_call: Callable[[str, str], None] = lambda method, channel: None

    def publish(self, channel: str, payload: str) -> None: ...

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None] | None:
        return self._begin("subscribe", channel, handler)

    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        return self._begin("unsubscribe", channel, None)

    def _begin(
        self, method: str, channel: str, handler: Callable[[str], None] | None
    ) -> Awaitable[None] | None:
        if self.in_flight(channel):
            self.faults.append(f"{method} {channel} overlaps {self.open[channel].method}")
        self.calls.append((method, channel))
        self.on_call(method, channel)
        answer = self.script.get((method, channel), Answer())
        call = Call(self, method, channel, answer)
        call.handler = handler
        if answer.how == "now":
            call.take_effect()
            return None
        if answer.how == "raise":
            if answer.ghost:
                call.take_effect()
            raise self.refusal(call, OSError("no"))
        self.open[channel] = call
        return call.awaitable()

    def refusal(self, call: Call, error: Exception) -> Exception:
        # The trace of a failed unsubscribe holds the frames, and so receipts, of who made it.
        if call.method == "subscribe":
            self.refusals.append((error, call.outages))
            self.refused_at[call.channel] = asyncio.get_running_loop().time()
        return error

    def in_flight(self, channel: str) -> bool:
        return channel in self.open and not self.open[channel].over

    def waiting(self) -> list[Call]:
        """The calls that can still be answered."""
        return [call for call in self.open.values() if not call.over and not call.future.done()]

    def last_method(self, channel: str) -> str | None:
        methods = [method for method, called in self.calls if called == channel]
        return methods[-1] if methods else None


class Script(PlainScript):
    """The same, with a lifecycle and news of its broker."""

    def __init__(self, *, keeps_log: bool = False, there: bool = True) -> None:
        super().__init__()
        self.keeps_log = keeps_log
        self.there = there
        """Whether the broker runs, which ``start`` needs."""
        self.started = False
        self.up = True
        self._tell: Callable[[Any, str | None], None] = lambda state, error: None

    async def start(self) -> None:
        if not self.there:
            raise ConnectionRefusedError("nobody there")
        self.started = True

    async def close(self) -> None: ...

    def on_state(self, callback: Callable[[Any, str | None], None]) -> None:
        self._tell = callback

    def _begin(
        self, method: str, channel: str, handler: Callable[[str], None] | None
    ) -> Awaitable[None] | None:
        if not self.started:
            self.faults.append(f"{method} {channel} before the start")
        return super()._begin(method, channel, handler)

    def fall(self, state: Literal["down", "deaf"] = "down") -> None:
        """The broker is gone, and with it what it knew, if it keeps no log."""
        if self.up:
            self.up = False
            self.outages += 1
            if not self.keeps_log:
                self.heard.clear()
        self._tell(state, "reset")

    def rise(self) -> None:
        self.up = True
        self._tell("up", None)


class Claim:
    """One call of join, and all that may be said of its end."""

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.receipt: Receipt | None = None
        self.awaiters: list[asyncio.Task[None]] = []
        self.begun = 0  # how many of them have reached their await: only that can be cancelled
        self.cancelled = False  # an awaiter was told to give up
        self.seen = False
        self.why: Literal["confirmed", "left", "expired", "refused", "cancelled", "gone"] | None
        self.why = None

    async def awaiting(self, receipt: Receipt) -> None:
        """Await it as a handler does, which needs to hold nothing but the receipt."""
        self.begun += 1
        with contextlib.suppress(Exception):  # what it is was told to ``ended``
            await receipt
        self.seen = True


class Wait:
    """One member's unconfirmed joins of one room: they end together, or one by one if cancelled."""

    def __init__(self, member: WsConnection, room: str, deadline: float, *, added: bool) -> None:
        self.member = member
        self.room = room
        self.deadline = deadline
        self.added = added
        self.claims: list[Claim] = []
        self.over = False


class Membership:
    """Design §4 in small: who is in which room, how long a join may wait, why it may end."""

    def __init__(
        self, loop: VirtualLoop, bus: PlainScript, rooms: Iterable[str], join_timeout: float
    ) -> None:
        self.loop = loop
        self.bus = bus
        self.join_timeout = join_timeout
        self.in_room: dict[str, list[WsConnection]] = {room: [] for room in rooms}
        self.waits: list[Wait] = []
        self.claims: list[Claim] = []
        self.down_since: float | None = None
        self.told: set[str] = set()
        """Rooms of which somebody here was told that nothing is missed any more."""
        self.joins_failed = 0
        self.ending: WsConnection | None = None
        self.leaving: tuple[WsConnection, str] | None = None
        self.wrong: list[str] = []
        bus.on_call = self._called

    @property
    def live(self) -> bool:
        """Whether the transport says that it hears: a plain class always does."""
        return self.bus.started and self.bus.up

    @property
    def deadline(self) -> float:
        """Until when a join of now may wait."""
        since = self.loop.now if self.down_since is None else self.down_since
        return since + self.join_timeout

    def wait_of(self, member: WsConnection, room: str) -> Wait | None:
        found = [wait for wait in self.waits if (wait.member, wait.room) == (member, room)]
        return found[0] if found else None

    def claim(self, member: WsConnection, room: str) -> Claim:
        """A member joins: it is in the room at once."""
        added = member not in self.in_room[room]
        if added:
            self.in_room[room].append(member)
        wait = self.wait_of(member, room)
        if wait is None:
            wait = Wait(member, room, self.deadline, added=added)
            self.waits.append(wait)
        claim = Claim(wait)
        wait.claims.append(claim)
        self.claims.append(claim)
        return claim

    def ended(self, claim: Claim, receipt: Receipt) -> None:
        """A receipt is settled: is what it says true?"""
        wait, error = claim.wait, receipt.error
        if claim.why is not None:
            self.wrong.append(f"{receipt} was settled twice")
        if error is None:
            claim.why = "left" if self.leaving == (wait.member, wait.room) else "confirmed"
            if claim.why == "confirmed":
                if not self._hears(wait.room):
                    self.wrong.append(f"a join of {wait.room!r} was confirmed and misses messages")
                self.told.add(wait.room)
        elif isinstance(error, ConnectionGone):
            claim.why = "gone"
            if self.ending is not wait.member:
                self.wrong.append(f"{wait.member} is told that it has gone")
        elif (asked := self._asked_before_the_refusal(error, wait.room)) is not None:
            claim.why = "refused"
            if not self.live or asked != self.bus.outages:
                self.wrong.append("a join was refused while it had to wait for the transport")
        elif type(error) is not TransportUnavailable:
            self.wrong.append(f"nobody raised {error!r}")
        elif "cancelled" in str(error):
            claim.why = "cancelled"
            if not claim.cancelled:
                self.wrong.append("a join was undone that nobody had cancelled")
        else:
            claim.why = "expired"
            if self.loop.now < wait.deadline:
                self.wrong.append(f"a join ended at {self.loop.now}, not at {wait.deadline}")
        self._conclude(claim)

    def _hears(self, room: str) -> bool:
        """Whether a member that is told so now really misses nothing in ``room``."""
        if f"ws:room:{room}" not in self.bus.heard:
            return False
        return self.live or (self.bus.started and self.bus.keeps_log)

    def _asked_before_the_refusal(self, error: Exception, room: str) -> int | None:
        """If the transport refused with ``error``: the outages until it had been asked."""
        if "gave the call up" in str(error):
            return self.bus.gave_up.get(f"ws:room:{room}")
        for told, outages in self.bus.refusals:
            if error is told or error.__cause__ is told:
                return outages
        return None

    def _conclude(self, claim: Claim) -> None:
        """What the end of ``claim`` means for the membership."""
        wait = claim.wait
        wait.claims.remove(claim)
        if claim.why == "cancelled":
            claim.seen = True  # whoever cancelled it knows
            undone = not wait.claims
            wait.over = undone or wait.over
        else:
            undone = claim.why in ("expired", "refused") and not wait.over
            self.joins_failed += undone
            wait.over = True
        if undone and wait.added and wait.member in self.in_room[wait.room]:
            self.in_room[wait.room].remove(wait.member)

    def _called(self, method: str, channel: str) -> None:
        """The transport is asked for something."""
        room = channel.removeprefix("ws:room:")
        if method == "unsubscribe":
            if room in self.told and self._stays_wanted(room):
                self.wrong.append(f"{room!r} is given up while its members were told to be in it")
            self.told.discard(room)

    def _stays_wanted(self, room: str) -> bool:
        """Whether anybody is in it but who leaves in this very call, noted only after it."""
        gone = [self.ending]
        if self.leaving is not None and self.leaving[1] == room:
            gone.append(self.leaving[0])
        return any(member not in gone for member in self.in_room[room])


@pytest.fixture(scope="session")
def virtual_loop() -> type[VirtualLoop]:
    """Give a class of loops with a clock that the test moves."""
    return VirtualLoop


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """Give a loop with a clock that the test moves."""
    loop = VirtualLoop()
    yield loop
    loop.close()
    assert loop.complaints == []


@pytest.fixture(scope="session")
def plain_script() -> type[PlainScript]:
    """Give a class of three methods that answer as, and when, the test says."""
    return PlainScript


@pytest.fixture(scope="session")
def script() -> type[Script]:
    """Give the same with a lifecycle and news of its broker."""
    return Script


@pytest.fixture(scope="session")
def answer() -> type[Answer]:
    """Give what tells such a class how to answer."""
    return Answer


@pytest.fixture(scope="session")
def membership() -> type[Membership]:
    """Give the model of who is in which room, and why a join may end."""
    return Membership

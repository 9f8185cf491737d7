"""Whatever order wishes, answers and lost links come in, the broker ends with what is wished."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wsrooms.errors import PermissionDenied, TransportUnavailable
from wsrooms.transports.wishes import Command, Wishes

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

CHANNELS = "abc"
channels = st.sampled_from(CHANNELS)


class Broker:
    """One link's end of a broker: it answers commands in their order, when it is told to.

    Like Redis it refuses a whole command if one of its channels is forbidden, and answers
    channel by channel otherwise.
    """

    def __init__(self, forbidden: set[str]) -> None:
        self.subscribed: set[str] = set()
        self._forbidden = forbidden
        self._inbox: deque[Command] = deque()
        self._answers: deque[tuple[Literal["done", "refused", "whole"], Sequence[str]]] = deque()

    @property
    def idle(self) -> bool:
        return not self._inbox and not self._answers

    def send(self, command: Command) -> None:
        self._inbox.append(command)

    def work(self) -> None:
        """Carry out the oldest command; its answer is on its way then."""
        if not self._inbox:
            return
        kind, names = self._inbox.popleft()
        if kind == "unsubscribe":
            self.subscribed -= set(names)
        elif self._forbidden.intersection(names):
            self._answers.append(("refused" if len(names) == 1 else "whole", names))
            return
        else:
            self.subscribed |= set(names)
        self._answers.extend(("done", [name]) for name in names)

    def answer(self, wishes: Wishes) -> None:
        """Deliver the oldest answer."""
        if not self._answers:
            return
        kind, names = self._answers.popleft()
        for name in names:
            match kind:
                case "done":
                    wishes.answered(name)
                case "refused":
                    wishes.refused(name, PermissionDenied(name, "forbidden"))
                case "whole":
                    wishes.ask_alone(name)


class Waiting:
    """A receipt, with what the model knows of it."""

    def __init__(self, wishes: Wishes, channel: str, receipt: Receipt) -> None:
        self.channel = channel
        self.receipt = receipt
        self.unwished = False
        self.settled = 0
        self.rightly = False
        self._wishes = wishes
        receipt._when_done(self._done)

    def _done(self, receipt: Receipt) -> None:
        self.settled += 1
        self.rightly = (receipt.error is None) == self._wishes.confirmed(self.channel)


class WishesMachine(RuleBasedStateMachine):
    """Wishes beside a broker that takes its time, forbids some channels, and may vanish."""

    def __init__(self) -> None:
        super().__init__()
        self.wishes = Wishes(linger=2, chunk=2)
        self.forbidden: set[str] = set()
        self.broker: Broker | None = Broker(self.forbidden)
        self.now = 0.0
        self.heard: list[tuple[str, str]] = []
        self.wished: set[str] = set()
        self.lost_wishes: set[str] = set()
        self.waiting: list[Waiting] = []
        self.handler_of: dict[str, object] = {}

    # What the owner wishes

    @rule(channel=channels)
    def want(self, channel: str) -> None:
        def handler(payload: str) -> None:
            self.heard.append((channel, payload))

        receipt = self.wishes.want(channel, handler)
        self.wished.add(channel)
        self.handler_of[channel] = handler
        if receipt.done:
            # At once only where the broker has it and is not asked to give it up.
            assert self.broker is not None
            assert channel in self.broker.subscribed
        else:
            self.waiting.append(Waiting(self.wishes, channel, receipt))

    @rule(channel=channels)
    def unwant(self, channel: str) -> None:
        open_ones = [
            each for each in self.waiting if each.channel == channel and not each.receipt.done
        ]
        self.wishes.unwant(channel, self.now)
        self.wished.discard(channel)
        self.lost_wishes.discard(channel)
        assert self.wishes.handler(channel) is None
        for each in open_ones:
            each.unwished = True
            assert isinstance(each.receipt.error, TransportUnavailable)

    @rule(channel=channels, wishes=st.lists(st.booleans(), min_size=2, max_size=4))
    def flap(self, channel: str, wishes: list[bool]) -> None:
        """Change one's mind so slowly that each wish is sent, and nothing is answered yet."""
        for wished in wishes:
            if wished:
                self.want(channel)
            else:
                self.unwant(channel)
            self.now += 2
            self.send()

    # What the link does

    @rule()
    def send(self) -> None:
        """Send what there is to send, to which the broker has not come yet."""
        if self.broker is not None:
            for command in self.wishes.commands(self.now):
                assert 1 <= len(command.channels) <= 2
                self.broker.send(command)

    @rule(answers=st.integers(0, 3))
    def work(self, answers: int) -> None:
        if self.broker is None:
            return
        self.broker.work()
        for _ in range(answers):
            self.broker.answer(self.wishes)
        self._after_answers()

    @precondition(lambda self: self.broker is not None)
    @rule()
    def lose(self) -> None:
        confirmed = {name for name in self.wished if self.wishes.confirmed(name)}
        self.broker = None
        assert self.wishes.lost() == len(confirmed)
        self.lost_wishes = set(self.wished)
        assert self.wishes.restored == (not self.lost_wishes)

    @precondition(lambda self: self.broker is None)
    @rule()
    def connect(self) -> None:
        self.broker = Broker(self.forbidden)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(channel=channels, allowed=st.booleans())
    def permit(self, channel: str, allowed: bool) -> None:
        if allowed:
            self.forbidden.discard(channel)
        else:
            self.forbidden.add(channel)

    def _after_answers(self) -> None:
        # Whoever was told a refusal has no wish any more, nor has anybody else of that channel.
        for each in self.waiting:
            refused = isinstance(each.receipt.error, PermissionDenied)
            if refused and each.settled == 1:
                each.settled = -1  # seen
                assert self.wishes.handler(each.channel) is None
        gone = {name for name in self.wished if self.wishes.handler(name) is None}
        self.wished -= gone
        self.lost_wishes -= gone
        self.lost_wishes -= {name for name in self.wished if self.wishes.confirmed(name)}

    # What holds at any time

    @invariant()
    def it_knows_what_is_wished(self) -> None:
        assert set(self.wishes) == self.wished
        assert len(self.wishes) == len(self.wished)
        for name in self.wished:
            assert self.wishes.handler(name) is self.handler_of[name]

    @invariant()
    def what_it_calls_confirmed_is_subscribed(self) -> None:
        for name in CHANNELS:
            if self.wishes.confirmed(name):
                assert self.broker is not None
                assert name in self.broker.subscribed
                assert name in self.wished

    @invariant()
    def nobody_who_waits_for_something_confirmed_is_left_waiting(self) -> None:
        for each in self.waiting:
            if self.wishes.confirmed(each.channel):
                assert each.receipt.done
            assert each.settled in (-1, 0, 1)
            assert each.rightly == each.receipt.done
            assert each.receipt.done or each.channel in self.wished

    @invariant()
    def restored_says_whether_all_is_as_before_the_loss(self) -> None:
        assert self.wishes.restored == (not self.lost_wishes)

    @invariant()
    def what_lingers_is_told(self) -> None:
        due = self.wishes.due
        assert due is None or due <= self.now + 2

    # The end: the broker answers everything

    def teardown(self) -> None:
        if self.broker is None:
            self.broker = Broker(self.forbidden)
        broker = self.broker
        for _ in range(200):
            self.now += 2  # what lingers has lingered
            self.send()
            if broker.idle and self.wishes.due is None:
                break
            while not broker.idle:
                broker.work()
                broker.answer(self.wishes)
            self._after_answers()
        else:
            raise AssertionError("it never ends")
        self.it_knows_what_is_wished()
        assert broker.subscribed == self.wished
        assert all(self.wishes.confirmed(name) for name in self.wished)
        assert self.wishes.restored
        assert set(self.wishes._wishes) == self.wished  # no entry is left of the others
        for each in self.waiting:
            assert each.receipt.done
            assert each.settled in (-1, 1)
            if each.unwished:
                assert isinstance(each.receipt.error, TransportUnavailable)
            else:
                assert each.receipt.error is None or isinstance(
                    each.receipt.error, PermissionDenied
                )


TestAnyOrderOfWishesAndAnswers = WishesMachine.TestCase
TestAnyOrderOfWishesAndAnswers.settings = settings(
    derandomize=True, deadline=None, max_examples=120, stateful_step_count=50
)

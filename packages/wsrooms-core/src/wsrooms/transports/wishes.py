"""What is wished of the broker, and how far it has come: the state behind subscriptions.

Pure: it knows no broker, no loop and no clock. Whoever owns the connection asks for the
commands that bring the broker nearer to the wishes, sends them, and says what became of
each; whatever order wishes, answers and lost links come in, the broker's subscriptions
end as the wished ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "Wishes"]

Handler = Callable[[str], None]

LINGER = 1.0
"""Seconds that the broker's subscription outlives the wish: a quick rejoin then costs nothing."""

CHUNK = 500
"""Channels in one command."""


class Command(NamedTuple):
    """What to send to the broker; each of its channels is to be answered for."""

    kind: Literal["subscribe", "unsubscribe"]
    channels: Sequence[str]


class _Wish:
    """One channel.

    Attributes:
        handler: Who is called; None: it is wished away.
        held: Whether it was confirmed on a link that is gone, and is wished ever since.
        asked: Whether the last command of this link was to subscribe.
        unanswered: Commands of this link that are not answered yet.
        alone: Whether it is to be asked for in a command of its own.
        receipts: Of those who wait for the confirmation.
    """

    __slots__ = ("alone", "asked", "handler", "held", "receipts", "unanswered")

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.held = False
        self.asked = False
        self.unanswered = 0
        self.alone = False
        self.receipts: list[Receipt] = []

    @property
    def confirmed(self) -> bool:
        return self.handler is not None and self.asked and not self.unanswered


class Wishes:
    """Wished subscriptions, level-triggered: the broker is made to match them.

    The last wish for a channel counts. A link that is lost takes the broker's
    subscriptions with it; the wishes stay, and are asked for on the next one.
    """

    __slots__ = ("_chunk", "_count", "_dirty", "_linger", "_lingering", "_unrestored", "_wishes")

    def __init__(self, *, linger: float = LINGER, chunk: int = CHUNK) -> None:
        """Keep unwished subscriptions for ``linger`` seconds; ask for ``chunk`` in one command."""
        self._linger = linger
        self._chunk = chunk
        self._wishes: dict[str, _Wish] = {}
        self._count = 0
        self._dirty: dict[str, None] = {}  # in the order of the wishes
        # Until when, soonest first. A plain dict would look through all that went before.
        self._lingering: OrderedDict[str, float] = OrderedDict()
        self._unrestored: set[str] = set()

    def __len__(self) -> int:
        """How many channels are wished."""
        return self._count

    def __iter__(self) -> Iterator[str]:
        """The channels that are wished."""
        return (name for name, wish in self._wishes.items() if wish.handler is not None)

    # Wishes

    def handler(self, channel: str) -> Handler | None:
        """Who is to be called for a message of ``channel`` now; None if nobody."""
        wish = self._wishes.get(channel)
        return None if wish is None else wish.handler

    def confirmed(self, channel: str) -> bool:
        """Whether the broker has confirmed the subscription, on the link that there is now."""
        wish = self._wishes.get(channel)
        return wish is not None and wish.confirmed

    def held(self, channel: str) -> bool:
        """Whether it was confirmed before the last link was lost, and is wished ever since."""
        wish = self._wishes.get(channel)
        return wish is not None and wish.held

    def want(self, channel: str, handler: Handler) -> Receipt:
        """Wish for ``channel``; a second time replaces the handler.

        Returns:
            Done when the broker has confirmed; a failed one if the broker refuses, or if
            the channel is wished away before.
        """
        wish = self._wishes.get(channel)
        if wish is None:
            wish = self._wishes[channel] = _Wish()
        if wish.handler is None:
            self._count += 1
        wish.handler = handler
        self._lingering.pop(channel, None)
        if wish.confirmed:
            return FINISHED
        receipt = Receipt()
        wish.receipts.append(receipt)
        if not wish.asked:
            self._dirty[channel] = None
        return receipt

    def unwant(self, channel: str, now: float) -> None:
        """Wish ``channel`` away: from now on nobody is called. Harmless where it is not wished."""
        wish = self._wishes.get(channel)
        if wish is None or wish.handler is None:
            return
        wish.handler = None
        wish.held = False
        self._count -= 1
        self._unrestored.discard(channel)
        self._tell(wish, TransportUnavailable("unsubscribed before it was confirmed"))
        if wish.asked:
            self._lingering[channel] = now + self._linger
        else:
            self._dirty.pop(channel, None)
            self._forget_unused(channel, wish)

    # The link

    def lost(self) -> int:
        """The link is gone, and with it what the broker knew; unanswered commands with it.

        Returns:
            How many channels were subscribed that are wished: theirs may miss messages.
        """
        missed = sum(wish.confirmed for wish in self._wishes.values())
        self._lingering.clear()
        self._wishes = {
            name: wish for name, wish in self._wishes.items() if wish.handler is not None
        }
        for wish in self._wishes.values():
            wish.held = wish.held or wish.confirmed
            wish.asked = wish.alone = False
            wish.unanswered = 0
        self._dirty = dict.fromkeys(self._wishes)
        self._unrestored = set(self._wishes)
        return missed

    @property
    def restored(self) -> bool:
        """Whether all that was wished when the last link was lost is confirmed, or gone."""
        return not self._unrestored

    @property
    def due(self) -> float | None:
        """When :meth:`commands` has something to say although nothing happens; None: never."""
        return next(iter(self._lingering.values()), None)

    def commands(self, now: float) -> list[Command]:
        """What to send now; from then on it counts as sent."""
        while self._lingering:
            channel, until = next(iter(self._lingering.items()))
            if until > now:
                break
            self._lingering.popitem(last=False)
            self._dirty[channel] = None
        if not self._dirty:
            return []
        dirty, self._dirty = self._dirty, {}
        alone: list[str] = []
        subscribe: list[str] = []
        unsubscribe: list[str] = []
        for channel in dirty:
            wish = self._wishes[channel]
            wanted = wish.handler is not None
            if wanted == wish.asked:
                continue
            wish.asked = wanted
            wish.unanswered += 1
            names = unsubscribe if not wanted else alone if wish.alone else subscribe
            names.append(channel)
        return [
            *(Command("subscribe", [name]) for name in alone),
            *(Command("subscribe", names) for names in self._chunks(subscribe)),
            *(Command("unsubscribe", names) for names in self._chunks(unsubscribe)),
        ]

    def _chunks(self, names: list[str]) -> Iterator[list[str]]:
        return (names[at : at + self._chunk] for at in range(0, len(names), self._chunk))

    def answered(self, channel: str) -> None:
        """The broker has done what one command asked for ``channel``."""
        wish = self._answer(channel)
        if wish is None or wish.unanswered:
            return
        if wish.handler is None:
            self._forget_unused(channel, wish)
        elif wish.asked:
            wish.alone = False
            self._unrestored.discard(channel)
            self._tell(wish, None)

    def refused(self, channel: str, error: TransportError) -> None:
        """The broker will not subscribe ``channel``: the wish is gone, who waits is told."""
        wish = self._answer(channel)
        if wish is None or wish.unanswered:
            return  # the answer to a later command decides
        wish.asked = False
        if wish.handler is not None:
            wish.handler = None
            self._count -= 1
        self._lingering.pop(channel, None)
        self._dirty.pop(channel, None)
        self._unrestored.discard(channel)
        self._tell(wish, error)
        self._forget_unused(channel, wish)

    def ask_alone(self, channel: str) -> None:
        """A command for several channels failed as a whole: ask for this one by itself."""
        wish = self._answer(channel)
        if wish is None or wish.unanswered:
            return
        wish.asked = False
        wish.alone = True
        self._lingering.pop(channel, None)
        if wish.handler is not None:
            self._dirty[channel] = None
        else:
            self._forget_unused(channel, wish)

    def fail_all(self, error: TransportError) -> None:
        """Give up every wish; who waits is told ``error``."""
        wishes, self._wishes = self._wishes, {}
        self._count = 0
        self._dirty.clear()
        self._lingering.clear()
        self._unrestored.clear()
        for wish in wishes.values():
            self._tell(wish, error)

    def _answer(self, channel: str) -> _Wish | None:
        wish = self._wishes.get(channel)
        if wish is None or not wish.unanswered:
            return None  # of a link that is gone, or of nothing that was asked
        wish.unanswered -= 1
        return wish

    def _forget_unused(self, channel: str, wish: _Wish) -> None:
        if not wish.asked and not wish.unanswered:
            del self._wishes[channel]

    def _tell(self, wish: _Wish, error: TransportError | None) -> None:
        receipts, wish.receipts = wish.receipts, []
        for receipt in receipts:
            receipt.settle(error)

"""What one connection has asked of a NATS server, and what became of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Protocol

from wsrooms.errors import (
    AuthenticationFailed,
    LimitTooLow,
    PayloadTooLarge,
    TransportError,
    TransportUnavailable,
)
from wsrooms_nats.asked import Asked, denied, too_long
from wsrooms_nats.login import (
    CONTROL_LINE,
    LoggedIn,
    check_payload,
    is_about_login,
    servers_in,
)
from wsrooms_nats.routes import TRACES, Question, Routes
from wsrooms_nats.wire import NatsWire

if TYPE_CHECKING:
    from wsrooms.transports import BrokerTransport
    from wsrooms_nats.target import Target

__all__ = ["ANSWER", "SETTLE", "Conversation", "Owner"]

SETTLE = 0.05
"""Seconds that other servers of a cluster get to learn of a subscription if they cannot say."""

ANSWER = 1.0
"""Seconds in which they have to say so; then they get no more."""

_DENIED = re.compile(r'permissions violation for (subscription|publish) to "([^"]*)"', re.I)


class Owner(Protocol):
    """Who holds a conversation, and does what it cannot do by itself."""

    def wake(self) -> None:
        """Send what there is to send."""

    def leave(self, talk: Conversation) -> None:
        """The server of ``talk`` is about to stop: move to another one."""

    def resized(self, talk: Conversation) -> None:
        """The server of ``talk`` takes messages of another size from now on."""


class Conversation:
    """One connection: its subscriptions, its open questions, its answers.

    Attributes:
        wire: The connection.
        limit: Bytes of a message that its server takes.
        server: What that is called in its cluster.
        is_leaving: Whether that is about to stop.
    """

    def __init__(
        self, transport: BrokerTransport, target: Target, owner: Owner, *, live: bool
    ) -> None:
        """Prepare a connection of ``owner``; what comes is handed on if it is ``live``."""
        self.wire: NatsWire = NatsWire(self)
        self.wire.where = transport.where
        self.limit: int = 0
        self.server: str = ""
        self.is_leaving: bool = False
        self._transport = transport
        self._target = target
        self._exchange = transport.exchange
        self._owner = owner
        self._live = live
        self._asked: deque[Asked] = deque()
        self._waiting: set[asyncio.Future[bool]] = set()
        self._batches = 0
        self._sids: dict[str, bytes] = {}
        self._channels: dict[bytes, str] = {}
        self._last_sid = 0
        self._clustered = False
        self._routes: Routes | None = None
        self._traces = False
        self._warned = False
        self._settling: dict[Question | Asked, tuple[Asked, asyncio.TimerHandle]] = {}

    # Life

    def begin(self, found: LoggedIn) -> None:
        """Take over the connection that nats-py has made."""
        self.limit = found.max_payload
        self.server = found.server
        self.wire.where = found.where
        self._clustered = found.clustered
        self._traces = found.traces
        if found.servers:
            self._target.learn(found.servers)
        self.wire.keeps = found.stream
        self.wire.take_over(found.transport, found.unread)

    async def introduce(self) -> None:
        """Let other servers know that there is an instance here, if they can be asked.

        They have to before the first question: of two instances that start at once at two
        servers neither would be asked about the other's subscriptions. So this returns
        :data:`SETTLE` seconds after its own server knows, unless ``join_settle`` is given.

        Raises:
            TransportError: The connection has ended meanwhile.
        """
        if not self.can_ask:
            return
        self._routes = Routes(self._target.subjects.prefix, token_hex(8))
        if self._target.options.join_settle is not None:
            self.wire.write(self._routes.subscribed())
            return
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.add(answered)
        self._ask(self._routes.subscribed(), Asked(answered=answered))
        if self.is_open:
            await answered
        if not self.is_open:
            told = TransportUnavailable(f"{self.wire.where} has closed the connection")
            raise await self.wire.lost() or told

    @property
    def can_ask(self) -> bool:
        """Whether other servers can be asked what they know."""
        return self._clustered and self._traces

    @property
    def is_open(self) -> bool:
        """Whether the connection is not at its end."""
        return not self.wire.ended

    async def close(self) -> None:
        """Leave nothing, also of what was about to be confirmed."""
        for _, timer in self._settling.values():
            timer.cancel()
        self._settling.clear()
        await self.wire.close()

    def on_end(self) -> None:
        """Nobody is to wait any longer."""
        for answered in self._waiting:
            if not answered.done():
                answered.set_result(False)
        self._waiting.clear()

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._ask(b"", Asked())

    @property
    def unconfirmed(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._asked)

    def _ask(self, data: bytes, asked: Asked) -> None:
        if not self._asked:
            self.wire.written_at = self.wire.now
        self._asked.append(asked)
        self.wire.write(data + b"PING\r\n")

    # Out

    def send(self) -> None:
        """Send commands, and the next batch once the last one is confirmed."""
        now = self.wire.now
        for command in self._exchange.wishes.commands(now):
            asked = Asked(command)
            if command.kind == "unsubscribe":
                self._ask(self._unsubscribed(command.channels), asked)
            else:
                lines = self._subscribed(command.channels)
                asked.last = self._last_sid
                self._ask(lines + self._asked_of_routes(asked), asked)
        if self._batches or not self._transport.may_publish:
            return
        batch = self._exchange.outbox.batch(now)
        if batch:
            self._batches += 1
            asked = Asked(batch=batch)
            self._ask(b"".join(self._published(asked)), asked)

    def _subscribed(self, channels: Sequence[str]) -> bytes:
        lines: list[bytes] = []
        for channel in channels:
            subject = self._target.subjects.of(channel)
            if len(subject) > self._target.longest:
                continue
            self._last_sid += 1
            sid = self._sids[channel] = b"%d" % self._last_sid
            self._channels[sid] = channel
            lines.append(b"SUB %b %b\r\n" % (subject, sid))
        return b"".join(lines)

    def _asked_of_routes(self, asked: Asked) -> bytes:
        """What to write so that the cluster's other servers tell when they know."""
        if self._target.options.join_settle is not None:
            return b""
        return self._question(asked)

    def _question(
        self,
        asked: Asked,
        who: frozenset[str] | None = None,
        excused: frozenset[str] = frozenset(),
    ) -> bytes:
        """A question to them about all that is written before it, if they can answer."""
        if not self.can_ask:
            return b""
        lines = b""
        if self._routes is None:
            self._routes = Routes(self._target.subjects.prefix, token_hex(8))
            lines = self._routes.subscribed()
        asked.question, line = self._routes.asked(who, excused)
        return lines + line

    def _unsubscribed(self, channels: Iterable[str]) -> bytes:
        sids = [self._sids.pop(channel) for channel in channels if channel in self._sids]
        for sid in sids:
            del self._channels[sid]
        return b"".join(b"UNSUB %b\r\n" % sid for sid in sids)

    def _taken_back(self, asked: Asked, channels: Iterable[str]) -> bytes:
        """Unsubscribe what ``asked`` has subscribed, not what has been once more since."""
        return self._unsubscribed(
            channel for channel in channels if int(self._sids.get(channel, 0)) <= asked.last
        )

    def _published(self, asked: Asked) -> Iterator[bytes]:
        subject_of, longest = self._target.subjects.of, self._target.longest
        for place, message in enumerate(asked.batch):
            subject = subject_of(message.channel)
            if message.size <= self.limit and len(subject) <= longest:
                yield b"PUB %b %d\r\n%b\r\n" % (subject, message.size, message.payload)
                continue
            asked.unfit = asked.unfit or {}  # another server could have taken it
            if message.size > self.limit:
                asked.unfit[place] = PayloadTooLarge(message.size, self.limit)
            else:
                asked.unfit[place] = too_long(message.channel, longest)

    # In

    def on_message(self, sid: bytes, data: bytes, now: float) -> None:
        """Hand a message on, if its subscription is still there."""
        channel = self._channels.get(sid)
        if channel is not None:
            if self._live:
                self._exchange.received(channel, data, now)
            else:
                self._on_early(channel, data)
        elif sid == TRACES and self._routes is not None:
            question = self._routes.received(data)
            if question is not None and question.done:
                self._on_routes_know(question)
        else:
            self._on_other(sid)

    def _on_early(self, channel: str, data: bytes) -> None:
        """A message has come before this connection is the one that counts."""

    def _on_other(self, sid: bytes) -> None:
        """A message has come for no channel, or for one that was unsubscribed."""

    def on_info(self, info: dict[str, Any]) -> None:
        """Learn of other servers and of another limit, and leave one that is about to stop."""
        most = info.get("max_payload")
        if type(most) is int and most > 0 and most != self.limit:
            check_payload(most, self.wire.where)
            self.limit = most
            self._owner.resized(self)
        servers = servers_in(info)
        if servers:
            self._target.learn(servers)
            self._clustered = True
        if info.get("ldm"):
            self.is_leaving = True
            self._owner.leave(self)

    def on_error(self, text: str) -> None:
        """Note what was refused; end the connection where that is not all."""
        asked = self._asked[0] if self._asked else Asked()
        where = self.wire.where
        refusal = _DENIED.search(text)
        if refusal is not None:
            subject = refusal[2]
            if self._routes is not None and self._routes.concerns(subject):
                self._traces = False
                asked.question = None
                self._warn(
                    f"denies {subject}, where other servers of its cluster say that they know of a "
                    f"subscription: it waits {SETTLE:g} s for them instead"
                )
            elif subject not in self._subjects_of(asked, refusal[1].lower()):
                # It was allowed before: the server has dropped a live subscription.
                raise denied(self._target.subjects.channel(subject), where, text)
            else:
                asked.refused = asked.refused or {}
                asked.refused.setdefault(subject, []).append(text)
        elif "maximum subscriptions exceeded" in text.lower() and asked.command is not None:
            asked.exceeded = True
        else:
            if CONTROL_LINE in text.lower():
                self._learn_limit()
            kind = AuthenticationFailed if is_about_login(text) else TransportUnavailable
            raise kind(f"{where} answered: {text}")

    def _subjects_of(self, asked: Asked, kind: str) -> set[str]:
        if kind == "publish":
            channels = [message.channel for message in asked.batch]
        elif asked.command is not None and asked.command.kind == "subscribe":
            channels = list(asked.command.channels)
        else:
            channels = []
        if asked.subjects is None:
            asked.subjects = {self._target.subjects.of(channel).decode() for channel in channels}
        return asked.subjects

    def _learn_limit(self) -> None:
        """The longest of what is not confirmed was too long, whatever else was.

        Raises:
            LimitTooLow: It was no longer than what every instance needs.
        """
        channels = [message.channel for asked in self._asked for message in asked.batch]
        for asked in self._asked:
            channels += asked.command.channels if asked.command is not None else ()
        target = self._target
        sizes = (len(target.subjects.of(channel)) for channel in channels)
        written = max((size for size in sizes if size <= target.longest), default=None)
        if written is None:
            return
        if written <= target.probe:
            raise LimitTooLow(self.wire.where, "max_control_line", None, target.least_line)
        target.longest = written - 1

    def on_pong(self) -> None:
        """Tell what became of the oldest that was asked."""
        if not self._asked:
            raise TransportUnavailable(f"{self.wire.where} answered what it was not asked")
        asked = self._asked.popleft()
        self.wire.written_at = self.wire.now
        if asked.batch:
            self._batches -= 1
            self._on_published(asked)
            if len(self._exchange.outbox):
                self._owner.wake()
        elif asked.command is None and asked.answered is None:
            return  # a ping
        elif asked.command is not None and asked.command.kind == "unsubscribe":
            self._on_answered(asked)
        elif asked.exceeded and asked.command is not None and len(asked.command.channels) > 1:
            self._forget(asked)
            self.wire.write(self._taken_back(asked, asked.command.channels))
            for channel in asked.command.channels:
                self._exchange.wishes.ask_alone(channel)
            self._owner.wake()
        elif settle := self._settle(asked):
            self._let_settle(asked, settle)
        else:
            self._on_answered(asked)

    def _settle(self, asked: Asked) -> float:
        """Seconds from the server's confirmation until ``asked`` counts as confirmed, at most."""
        given = self._target.options.join_settle
        if given is not None and asked.command is not None:
            return given
        if not self._clustered:
            return 0.0
        question = asked.question
        if question is None or question.silent or not self._traces:
            return SETTLE
        if question.asked is None and self._routes and self._routes.is_mute(self.server):
            return SETTLE
        return 0.0 if question.done else ANSWER

    def _let_settle(self, asked: Asked, seconds: float) -> None:
        key = asked.question or asked
        timer = asyncio.get_running_loop().call_later(seconds, self._on_settled, key)
        self._settling[key] = asked, timer

    def _on_routes_know(self, question: Question) -> None:
        if question in self._settling:
            asked, timer = self._settling[question]
            timer.cancel()
            if question.silent:
                self._let_settle(asked, min(SETTLE, timer.when() - self.wire.now))
            else:
                self._on_settled(question)

    def _on_settled(self, key: Question | Asked) -> None:
        """Confirm what has had its time."""
        asked, _ = self._settling.pop(key)
        question = asked.question
        if question is not None and not question.done and not question.silent:
            missing = ", ".join(sorted(question.missing)) or "its own server"
            self._warn(
                f"has told other servers of its cluster of a subscription, and {missing} did not "
                f"say within {ANSWER:g} s that it knows: what is published there may be missed"
            )
            if self._routes is not None:
                self._routes.give_up(question, self.server)
        self._on_answered(asked)

    def _forget(self, asked: Asked) -> None:
        if asked.question is not None and self._routes is not None:
            self._routes.forget(asked.question)

    def _warn(self, what: str) -> None:
        """Tell the log, once for each connection."""
        if not self._warned:
            self._warned = True
            self._transport.logger.warning("%s %s", self.wire.where, what)

    def _on_answered(self, asked: Asked) -> None:
        """Tell the wishes what became of a command, or whoever waits."""
        self._forget(asked)
        if asked.answered is not None:
            self._waiting.discard(asked.answered)
            if not asked.answered.done():
                asked.answered.set_result(asked.question is not None and asked.question.done)
        if asked.command is None:
            return
        target, where = self._target, self.wire.where
        for channel in asked.command.channels:
            error: TransportError | None = None
            if asked.command.kind == "subscribe":
                subject = target.subjects.of(channel)
                if asked.refused and subject.decode() in asked.refused:
                    error = denied(channel, where, asked.refused[subject.decode()][-1])
                elif asked.exceeded:
                    error = TransportUnavailable(f"{where}: maximum subscriptions exceeded")
                elif len(subject) > target.longest:
                    error = too_long(channel, target.longest)
            if error is None:
                self._exchange.wishes.answered(channel)
            else:
                self._taken_back(asked, [channel])
                self._exchange.subscribe_refused(channel, error)
        self._transport.answered()

    def _on_published(self, asked: Asked) -> None:
        """Tell senders what became of a batch, in its order."""
        confirm = self._exchange.outbox.confirm
        if asked.refused is None and asked.unfit is None:
            for _ in asked.batch:
                confirm()
            return
        unfit, refused = asked.unfit or {}, asked.refused or {}
        written = [each for place, each in enumerate(asked.batch) if place not in unfit]
        left = Counter(message.channel for message in written)
        for place, message in enumerate(asked.batch):
            error = unfit.get(place)
            if error is None:
                # What a change of permissions hits first is refused, and all after it.
                subject = self._target.subjects.of(message.channel).decode()
                words = refused.get(subject, [])
                if left[message.channel] <= len(words):
                    error = denied(message.channel, self.wire.where, words[-1])
                left[message.channel] -= 1
            if error is None:
                confirm()
            else:
                self._exchange.publish_refused(error)

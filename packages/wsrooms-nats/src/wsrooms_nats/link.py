"""The connection to NATS: what it has asked, and what became of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from wsrooms.errors import (
    AuthenticationFailed,
    InvalidChannel,
    PayloadTooLarge,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import Address, Command, Outgoing, WireLink
from wsrooms_nats.login import PORT, LoggedIn, is_about_login, log_in
from wsrooms_nats.routes import TRACES, Question, Routes
from wsrooms_nats.wire import NatsWire

if TYPE_CHECKING:
    from wsrooms_nats.transport import NatsTransport

__all__ = ["NatsLink", "too_long"]

BATCH_MESSAGES = 512
BATCH_BYTES = 256 * 1024

ENVELOPE = 64
"""Bytes that wsrooms adds to a payload, at most."""

SETTLE = 0.05
"""Seconds that other servers of a cluster get to learn of a subscription if they cannot say."""

ANSWER = 1.0
"""Seconds in which they have to say so; then they get no more."""

_DENIED = re.compile(r'permissions violation for (subscription|publish) to "([^"]*)"', re.I)


class _Asked:
    """What the next PONG is about: a command, a batch of messages, or neither: a ping."""

    __slots__ = ("batch", "command", "exceeded", "question", "refused", "unfit")

    def __init__(
        self, command: Command | None = None, batch: Sequence[Outgoing[bytes]] = ()
    ) -> None:
        self.command = command
        self.batch = batch
        self.refused: dict[str, list[str]] | None = None  # the words, by subject
        self.exceeded = False
        self.unfit: dict[int, TransportError] | None = None  # what was not written, by its place
        self.question: Question | None = None  # to the other servers of a cluster


class NatsLink(WireLink[NatsWire]):
    """The connection: what it has asked, and what became of it."""

    def __init__(self, transport: NatsTransport) -> None:
        tls = transport.login.scheme == "tls"
        hint = "; is it NATS, and does it speak TLS first (tls_first)?" if tls else ""
        super().__init__(transport, transport.addresses, hint=hint)
        self._transport = transport
        self._asked: deque[_Asked] = deque()
        self._batches = 0
        self._sids: dict[str, bytes] = {}
        self._channels: dict[bytes, str] = {}
        self._last_sid = 0
        self._limit = 0
        self._clustered = False
        self._routes: Routes | None = None
        self._traces = False
        self._warned = False
        self._settling: dict[_Asked, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    # Life

    async def connect(self) -> None:
        """Connect, with nothing asked yet."""
        self._asked.clear()
        self._batches = 0
        self._sids.clear()
        self._channels.clear()
        self._routes = None
        self._warned = False
        await super().connect()

    def _made(self) -> NatsWire:
        return NatsWire(self)

    def _where(self, address: Address) -> str:
        return f"{self._transport.login.scheme}://{address}"

    async def _open(self, wire: NatsWire, address: Address) -> None:
        transport = self._transport

        def take(found: LoggedIn) -> None:
            self._clustered = found.clustered
            self._traces = found.traces
            self._limit = found.max_payload
            self._exchange.max_payload = min(
                transport.options.max_payload, found.max_payload - ENVELOPE
            )
            transport.learn(found.servers)
            wire.keeps = found.stream
            wire.take_over(found.transport, found.unread)

        name = transport.name_of(address)
        await log_in(address, name, transport.login, transport.options, take)

    async def lost(self) -> TransportError:
        """Wait for the end; whatever it was, the next server is tried first."""
        error = await super().lost()
        self._addresses.rotate(-1)
        return error

    async def close(self) -> None:
        """Leave nothing, also of what was about to be confirmed."""
        self._settling.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super().close()

    def _ping(self, wire: NatsWire) -> None:
        self._ask(wire, b"", _Asked())

    @property
    def _unconfirmed(self) -> bool:
        return bool(self._asked)

    def _ask(self, wire: NatsWire, data: bytes, asked: _Asked) -> None:
        if not self._asked:
            self._written_at = wire.now
        self._asked.append(asked)
        wire.write(data + b"PING\r\n")

    # Out

    def wake(self) -> None:
        """Send commands, and the next batch once the last one is confirmed."""
        wire = self._wire
        if wire is None:
            return
        now = wire.now
        for command in self._exchange.wishes.commands(now):
            asked = _Asked(command)
            if command.kind == "unsubscribe":
                self._ask(wire, self._unsubscribed(command.channels), asked)
            else:
                lines = self._subscribed(command.channels)
                self._ask(wire, lines + self._asked_of_routes(asked), asked)
        if self._batches or not self._transport.may_publish:
            return
        batch = self._exchange.outbox.batch(now, messages=BATCH_MESSAGES, size=BATCH_BYTES)
        if batch:
            self._batches += 1
            asked = _Asked(batch=batch)
            self._ask(wire, b"".join(self._published(asked)), asked)

    def _subscribed(self, channels: Sequence[str]) -> bytes:
        lines: list[bytes] = []
        for channel in channels:
            subject = self._transport.subject(channel)
            if len(subject) > self._transport.longest:
                continue
            self._last_sid += 1
            sid = self._sids[channel] = b"%d" % self._last_sid
            self._channels[sid] = channel
            lines.append(b"SUB %b %b\r\n" % (subject, sid))
        return b"".join(lines)

    def _asked_of_routes(self, asked: _Asked) -> bytes:
        """What to write so that the cluster's other servers tell when they know, if they can."""
        may = self._clustered and self._traces and self._transport.options.join_settle is None
        if not may:
            return b""
        lines = b""
        if self._routes is None:
            self._routes = Routes(self._transport.subjects.prefix, token_hex(8))
            lines = self._routes.subscribed()
        asked.question, line = self._routes.asked()
        return lines + line

    def _unsubscribed(self, channels: Iterable[str]) -> bytes:
        sids = [self._sids.pop(channel) for channel in channels if channel in self._sids]
        for sid in sids:
            del self._channels[sid]
        return b"".join(b"UNSUB %b\r\n" % sid for sid in sids)

    def _published(self, asked: _Asked) -> Iterator[bytes]:
        subject_of, longest = self._transport.subject, self._transport.longest
        for place, message in enumerate(asked.batch):
            subject = subject_of(message.channel)
            if message.size <= self._limit and len(subject) <= longest:
                yield b"PUB %b %d\r\n%b\r\n" % (subject, message.size, message.payload)
                continue
            asked.unfit = asked.unfit or {}  # another server could have taken it
            if message.size > self._limit:
                asked.unfit[place] = PayloadTooLarge(message.size, self._limit)
            else:
                asked.unfit[place] = too_long(message.channel, longest)

    # In

    def on_message(self, sid: bytes, data: bytes, now: float) -> None:
        """Hand a message on, if its subscription is still there."""
        channel = self._channels.get(sid)
        if channel is not None:
            self._exchange.received(channel, data, now)
        elif sid == TRACES and self._routes is not None:
            question = self._routes.received(data)
            if question is not None and question.done:
                self._on_routes_know(question)

    def on_info(self, info: dict[str, Any]) -> None:
        """Learn of other servers, and leave one that is about to stop."""
        urls = info.get("connect_urls")
        if isinstance(urls, list) and urls:
            found = (Address.read(str(url), PORT) for url in urls)
            self._transport.learn(address for address in found if address is not None)
            self._clustered = True
        if info.get("ldm") and len(self._addresses) > 1:
            raise TransportUnavailable(f"{self._base.where} is about to stop (lame duck mode)")

    def on_error(self, text: str) -> None:
        """Note what was refused; end the connection where that is not all."""
        asked = self._asked[0] if self._asked else _Asked()
        where = self._base.where
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
                raise denied(self._transport.channel(subject), where, text)
            else:
                asked.refused = asked.refused or {}
                asked.refused.setdefault(subject, []).append(text)
        elif "maximum subscriptions exceeded" in text.lower() and asked.command is not None:
            asked.exceeded = True
        else:
            if "maximum control line" in text.lower():
                self._learn_limit()
            kind = AuthenticationFailed if is_about_login(text) else TransportUnavailable
            raise kind(f"{where} answered: {text}")

    def _subjects_of(self, asked: _Asked, kind: str) -> set[str]:
        if kind == "publish":
            channels = [message.channel for message in asked.batch]
        elif asked.command is not None and asked.command.kind == "subscribe":
            channels = list(asked.command.channels)
        else:
            channels = []
        return {self._transport.subject(channel).decode() for channel in channels}

    def _learn_limit(self) -> None:
        """The longest of what is not confirmed was too long, whatever else was."""
        channels = [message.channel for asked in self._asked for message in asked.batch]
        for asked in self._asked:
            channels += asked.command.channels if asked.command is not None else ()
        longest = max((len(self._transport.subject(channel)) for channel in channels), default=0)
        if longest:
            self._transport.longest = min(self._transport.longest, longest - 1)

    def on_pong(self) -> None:
        """Tell what became of the oldest that was asked."""
        if not self._asked:
            raise TransportUnavailable(f"{self._base.where} answered what it was not asked")
        asked = self._asked.popleft()
        assert self._wire is not None
        self._written_at = self._wire.now
        if asked.batch:
            self._batches -= 1
            self._on_published(asked)
            if len(self._exchange.outbox):
                self.wake()
        elif asked.command is None:
            return
        elif asked.command.kind == "unsubscribe":
            self._on_answered(asked)
        elif asked.exceeded and len(asked.command.channels) > 1:
            self._wire.write(self._unsubscribed(asked.command.channels))
            for channel in asked.command.channels:
                self._exchange.wishes.ask_alone(channel)
            self.wake()
        elif settle := self._settle(asked):
            self._settling[asked] = self._wire.now + settle
            self._on_settled()
        else:
            self._on_answered(asked)

    def _settle(self, asked: _Asked) -> float:
        """Seconds from the server's confirmation until ``asked`` counts as confirmed, at most."""
        given = self._transport.options.join_settle
        if given is not None:
            return given
        if not self._clustered:
            return 0.0
        if asked.question is None or asked.question.silent or not self._traces:
            return SETTLE
        return 0.0 if asked.question.done else ANSWER

    def _on_routes_know(self, question: Question) -> None:
        for asked, until in self._settling.items():
            if asked.question is question:
                assert self._wire is not None
                self._settling[asked] = min(until, self._wire.now + SETTLE * question.silent)
                self._on_settled()
                return

    def _on_settled(self) -> None:
        """Confirm what has had its time, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for asked in [asked for asked, until in self._settling.items() if until <= now]:
            del self._settling[asked]
            question = asked.question
            if question is not None and not question.done and not question.silent:
                self._warn(
                    f"has told other servers of its cluster of a subscription, and one did not "
                    f"say within {ANSWER:g} s that it knows: messages published there may be missed"
                )
            self._on_answered(asked)
        if self._settling:
            self._timer = loop.call_at(min(self._settling.values()), self._on_settled)

    def _warn(self, what: str) -> None:
        """Tell the log, once for each connection."""
        if not self._warned:
            self._warned = True
            self._transport.logger.warning("%s %s", self._base.where, what)

    def _on_answered(self, asked: _Asked) -> None:
        """Tell the wishes what became of a command."""
        assert asked.command is not None
        if asked.question is not None and self._routes is not None:
            self._routes.forget(asked.question)
        transport = self._transport
        for channel in asked.command.channels:
            error: TransportError | None = None
            if asked.command.kind == "subscribe":
                subject = transport.subject(channel)
                if asked.refused and subject.decode() in asked.refused:
                    error = denied(channel, transport.where, asked.refused[subject.decode()][-1])
                elif asked.exceeded:
                    error = TransportUnavailable(
                        f"{transport.where}: maximum subscriptions exceeded"
                    )
                elif len(subject) > transport.longest:
                    error = too_long(channel, transport.longest)
            if error is None:
                self._exchange.wishes.answered(channel)
            else:
                self._unsubscribed([channel])
                self._exchange.subscribe_refused(channel, error)
        transport.answered()

    def _on_published(self, asked: _Asked) -> None:
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
                subject = self._transport.subject(message.channel).decode()
                words = refused.get(subject, [])
                if left[message.channel] <= len(words):
                    error = denied(message.channel, self._base.where, words[-1])
                left[message.channel] -= 1
            if error is None:
                confirm()
            else:
                self._exchange.publish_refused(error)


def denied(channel: str, where: str, words: str) -> PermissionDenied:
    """The error of a channel that this login may not use so, in the server's words."""
    return PermissionDenied(channel, f"{where} denies {channel}: {words}")


def too_long(channel: str, longest: int) -> InvalidChannel:
    """The error of a channel whose subject the server would not read."""
    return InvalidChannel(
        channel, f"at NATS it would have more than {longest} bytes: see option max_control_line"
    )

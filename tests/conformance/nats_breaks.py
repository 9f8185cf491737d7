"""NATS transports that break a promise as only one of NATS can, and who has to notice it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch
from urllib.parse import quote

from tests.conformance.server_rig import PROBES
from wsrooms_nats import NatsTransport
from wsrooms_nats.dialogue import Dialogue
from wsrooms_nats.link import NatsLink

if TYPE_CHECKING:
    from wsrooms.transports import BrokerLink
    from wsrooms_nats.asked import Asked
    from wsrooms_nats.wire import NatsWire

T = TypeVar("T")

BREAKS: list[tuple[str, type[NatsTransport]]] = []


LATE = 0.02
"""Seconds by which a command is sent too late."""


def noticed_by(*names: str) -> Callable[[type[T]], type[T]]:
    """Register a transport that is broken, or whose link or dialogue is."""

    def register(broken: type[T]) -> type[T]:
        kind = broken if issubclass(broken, NatsTransport) else _with(broken)
        BREAKS.extend((name, kind) for name in names)
        return broken

    return register


def _with(broken: type[Any]) -> type[NatsTransport]:
    link = broken if issubclass(broken, NatsLink) else _link_with(broken)

    class WithLink(NatsTransport):
        def _make_links(self) -> Sequence[BrokerLink]:
            return (link(self, self.target),)

    WithLink.__name__ = broken.__name__
    return WithLink


def _link_with(dialogue: type[Dialogue]) -> type[NatsLink]:
    class WithDialogue(NatsLink):
        def _made(self) -> NatsWire:
            self._talk = dialogue(self._transport, self._target, self, live=True)
            return self._talk.wire

    return WithDialogue


# Confirmations


@noticed_by("confirmed_subscribe_misses_nothing")
class ConfirmsWhatItHasNotAsked(Dialogue):
    """As nats-py does: its SUB waits for another task, and nothing is the answer to it."""

    def _ask(self, data: bytes, asked: Asked) -> None:
        if asked.command is None:
            super()._ask(data, asked)
            return
        asyncio.get_running_loop().call_later(LATE, self.wire.write, data)
        self._on_answered(asked)


@noticed_by("tcp_cut_of_the_publisher")
class ConfirmsWhatItHasWritten(Dialogue):
    def _ask(self, data: bytes, asked: Asked) -> None:
        super()._ask(data, asked)
        if asked.batch:
            self._on_published(asked)
            asked.batch = ()
            self._batches -= 1


@noticed_by("a_burst_is_batched")
class AsksForEachMessage(Dialogue):
    def send(self) -> None:
        kind: Any = type(self._exchange.outbox)
        batch = kind.batch

        def one(outbox: Any, now: float, *, messages: int, size: int) -> Any:
            return batch(outbox, now, messages=1, size=size)

        with patch.object(kind, "batch", one):
            super().send()


# What the server holds


@noticed_by("flapping_one_channel")
class ForgetsToUnsubscribe(Dialogue):
    def _unsubscribed(self, channels: Iterable[str]) -> bytes:
        super()._unsubscribed(channels)
        return b""


# Refusals


@noticed_by("permission_denied_subscribe", "permission_denied_publish")
class GivesUpAtAnyError(Dialogue):
    def on_error(self, text: str) -> None:
        raise ConnectionResetError(text)


@noticed_by("permission_denied_subscribe", "permission_denied_publish")
class DoesNotHearOfRefusals(Dialogue):
    def on_error(self, text: str) -> None:
        """Nobody said anything."""


@noticed_by("permission_denied_subscribe")
class RefusesAllOfACommand(Dialogue):
    def _on_answered(self, asked: Asked) -> None:
        if asked.refused and asked.command is not None:
            for channel in asked.command.channels:
                asked.refused[self._target.subjects.of(channel).decode()] = ["refused"]
        super()._on_answered(asked)


@noticed_by("permission_denied_publish")
class RefusesAllOfABatch(Dialogue):
    def _on_published(self, asked: Asked) -> None:
        if asked.refused:
            for message in asked.batch:
                subject = self._target.subjects.of(message.channel).decode()
                asked.refused[subject] = ["refused"] * len(asked.batch)
        super()._on_published(asked)


# Silence


@noticed_by("half_open_idle", "half_open_with_unsent_bytes")
class DoesNotMindSilence(NatsLink):
    """As nats-py does with unsent bytes."""

    def tick(self, now: float, late: float) -> None:
        """Wait."""


# Names and sizes


class Named(NatsTransport):
    """One whose rooms are not called as they should be."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        right = self.target.subjects.of

        def subject(channel: str) -> bytes:
            return right(channel) if channel.startswith(PROBES) else self.named(channel).encode()

        self.target.subjects.of = subject

    @abstractmethod
    def named(self, channel: str) -> str: ...


@noticed_by("a_room_named_star_is_not_a_wildcard")
class LetsWildcardsBe(Named):
    def named(self, channel: str) -> str:
        name = channel.removeprefix("ws:room:")
        return f"wsrooms.{name if name in '*>' else quote(channel, safe='')}"


@noticed_by("odd_room_names")
class ForgetsToQuoteItsQuotes(Named):
    def named(self, channel: str) -> str:
        return f"wsrooms.{quote(channel, safe='/:%').replace('.', '%2E')}"


@noticed_by("name_over_the_limit")
class SendsAnyName(NatsTransport):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.target.longest = 1_000_000


@noticed_by("name_over_the_limit")
class RefusesNamesThatFit(NatsTransport):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.target.longest -= 1


@noticed_by("payloads")
class DoesNotAskForTheServersLimit(NatsLink):
    async def connect(self) -> None:
        await super().connect()
        self._exchange.max_payload = self._target.options.max_payload


# TLS


@noticed_by("tls_to_plain_port")
class DoesWithoutTls(NatsTransport):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url.replace("tls://", "nats://"), **options)


@noticed_by("tls_untrusted")
class TrustsAnybody(NatsTransport):
    def __init__(self, url: str, **options: Any) -> None:
        if url.startswith("tls://"):
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        super().__init__(url, **options)

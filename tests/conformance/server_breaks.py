"""How a transport of any server breaks a promise about bounds or logins, and who notices it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from wsrooms.errors import AuthenticationFailed, PermissionDenied, TransportUnavailable
from wsrooms.receipt import Receipt
from wsrooms.transports import BrokerTransport

if TYPE_CHECKING:
    from wsrooms.transports import Gap

T = TypeVar("T", bound=BrokerTransport)

FAULTS: list[tuple[str, type[BrokerTransport]]] = []


def noticed_by(*names: str) -> Callable[[type[T]], type[T]]:
    """Register a fault under the cases that notice it."""

    def register(fault: type[T]) -> type[T]:
        FAULTS.extend((name, fault) for name in names)
        return fault

    return register


def planted_in(kind: type[T]) -> list[tuple[str, type[T]]]:
    """Transports of that kind, each with one of the faults, and the case that notices it."""
    return [(name, _planted(fault, kind)) for name, fault in FAULTS]


def _planted(fault: type[BrokerTransport], kind: type[T]) -> type[T]:
    planted: type[T] = types.new_class(fault.__name__, (fault, kind))
    return planted


class Disobedient(BrokerTransport):
    """One that has other options than it was told."""

    instead: ClassVar[dict[str, Any]]

    def __init__(self, url: str, **options: Any) -> None:
        init: Any = super().__init__  # of the kind in which this is planted
        init(url, **{**options, **self.instead})


@noticed_by("outbox_is_bounded")
class TakesAnyNumber(Disobedient):
    instead: ClassVar[dict[str, Any]] = {"outbox_messages": 10_000}


@noticed_by("outbox_is_bounded")
class TakesAnySize(Disobedient):
    instead: ClassVar[dict[str, Any]] = {"outbox_bytes": 100_000_000}


@noticed_by("outbox_is_bounded")
class NeverDropsTheOldest(Disobedient):
    instead: ClassVar[dict[str, Any]] = {"outbox_policy": "reject"}


@noticed_by("outbox_ages_out")
class WaitsForEver(Disobedient):
    instead: ClassVar[dict[str, Any]] = {"outbox_age": 1000.0}


@noticed_by("outbox_ages_out")
class IsNeverUnsure(BrokerTransport):
    """What was written and not confirmed is said not to have been published."""

    def publish(self, channel: str, payload: str) -> Receipt:
        inner, outer = super().publish(channel, payload), Receipt()
        inner._when_done(lambda one: outer.settle(sure(one._take_error())))
        return outer


def sure(error: Exception | None) -> Exception | None:
    return None if error is None else TransportUnavailable("it was not published")


@noticed_by("slow_subscriber")
class TellsNoLoss(BrokerTransport):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Tell nobody."""


@noticed_by("wrong_password")
class ShowsThePassword(BrokerTransport):
    _url: str

    async def start(self) -> None:
        try:
            await super().start()
        except AuthenticationFailed as error:
            raise AuthenticationFailed(f"{self._url}: {error}") from None


@noticed_by("missing_password", "tls_untrusted")
class IsNotToldApart(BrokerTransport):
    async def start(self) -> None:
        try:
            await super().start()
        except AuthenticationFailed as error:
            raise TransportUnavailable(str(error)) from None


@noticed_by("tls_to_plain_port")
class IsTriedForLong(BrokerTransport):
    async def start(self) -> None:
        try:
            await super().start()
        finally:
            await asyncio.sleep(4.0)


@noticed_by("permission_denied_subscribe", "permission_denied_publish")
class KeepsRefusalsToItself(BrokerTransport):
    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        return silent(super().subscribe(channel, handler))

    def publish(self, channel: str, payload: str) -> Receipt:
        return silent(super().publish(channel, payload))


def silent(inner: Receipt) -> Receipt:
    outer = Receipt()

    def done(one: Receipt) -> None:
        error = one._take_error()
        outer.settle(None if isinstance(error, PermissionDenied) else error)

    inner._when_done(done)
    return outer


@noticed_by("credentials_revoked_at_reconnect")
class DoesNotSayWhy(BrokerTransport):
    def _set_state(self, state: Any, error: str | None = None, *, tell: bool = True) -> None:
        super()._set_state(state, error and "something is wrong", tell=tell)

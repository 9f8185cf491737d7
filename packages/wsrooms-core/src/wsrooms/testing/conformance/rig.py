"""What the author of a transport provides: the transport, and what a case may do to its broker.

Only :meth:`Rig.transport` must be written. Each of the rest opens more cases, and where it
is missing the cases that need it are not applicable, with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from wsrooms.transports import BrokerTransport, TaggedTransport, WsBroadcastTransport, wrap

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "BrokerControl",
    "Login",
    "Misfit",
    "NotApplicable",
    "ProxyControl",
    "Rig",
    "Stranger",
]

Misfit = Literal["wrong_password", "missing_password", "tls_untrusted", "tls_to_plain_port"]
"""Why a broker and a transport do not come together."""


class NotApplicable(Exception):
    """The case says nothing about this transport, or the rig cannot bring about what it needs.

    Attributes:
        reason: Why, for whoever reads that it was skipped.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class BrokerControl(Protocol):
    """What a case may do to the broker."""

    async def kill(self) -> None:
        """End it without a warning, as SIGKILL does."""
        ...

    async def start(self) -> None:
        """Start it again on the same address with the same settings; done when it serves."""
        ...

    async def restart(self) -> None:
        """Kill it and start it again."""
        ...

    async def stop(self) -> None:
        """Let it stand still, as SIGSTOP does: connections stay open, nothing answers."""
        ...

    async def cont(self) -> None:
        """Let it go on."""
        ...


class ProxyControl(Protocol):
    """What a case may do to the links that go through a proxy; a ``TcpProxy`` can do it."""

    def cut(self) -> None:
        """Break every connection, in a way that both sides notice; new ones are served."""
        ...

    def hole(self, *, new_ones_work: bool = False) -> None:
        """Keep every connection open and forward nothing, so that nobody notices.

        Args:
            new_ones_work: Whether connections made from now on are served; else they are
                accepted and as silent.
        """
        ...

    def refuse(self) -> None:
        """Serve no new connection; those that exist go on."""
        ...

    def heal(self) -> None:
        """Serve as at first; what a hole has held back may still be delivered."""
        ...


class Login(Protocol):
    """A login of its own at the broker, and what may be done to it.

    Attributes:
        refusal: What is among the broker's words when it refuses the login.
    """

    refusal: str

    def transport(self, **options: Any) -> WsBroadcastTransport:
        """A new transport with this login, not started."""
        ...

    async def revoke(self) -> None:
        """Let the login work no more, and end its connections; done when they have ended."""
        ...

    async def grant(self) -> None:
        """Let it work again."""
        ...


class Stranger(NamedTuple):
    """A transport that its broker will not serve.

    Attributes:
        transport: Not started.
        secrets: What must not be seen in any error or ``repr``, such as its password.
    """

    transport: WsBroadcastTransport
    secrets: tuple[str, ...] = ()


class Rig(ABC):
    """One broker under test, and what makes transports to it.

    A rig is used by one case at a time, and by many after one another: cases use channels of
    their own. Tasks whose name begins with "rig" are the rig's own, and may outlive a case.

    Attributes:
        name: What is tested, for whoever reads a report.
        keeps_log: A broken link is read on from where it broke, so nothing is lost.
        restart_keeps_log: So it is when the broker is killed and started again.
        patience: Seconds within which everything must have happened that no fault delays.
        slowdown: How many times longer everything may take than the contract says, for a machine
            on which other things run: it multiplies every limit of a case.
        options: The names of the options that :meth:`transport` knows.
        counters: For how many channels a transport counts what it publishes, if that is few
            enough to be tried (some thousands); None: it is not.
        max_channel: The most bytes of UTF-8 that a channel's name may have, if there is a limit.
        address: Where the broker is, as an error about it has to say: ``"127.0.0.1:6379"``.
        proxy: What breaks the links of transports made with ``through_proxy=True``.
        broker: What ends and starts the broker.
    """

    name: str = "a transport"
    keeps_log: bool = False
    restart_keeps_log: bool = False
    patience: float = 5.0
    slowdown: float = 1.0
    options: frozenset[str] = frozenset()
    counters: int | None = None
    max_channel: int | None = None
    address: str | None = None
    proxy: ProxyControl | None = None
    broker: BrokerControl | None = None

    @abstractmethod
    def transport(self, **options: Any) -> WsBroadcastTransport:
        """A new transport, not started, straight to the broker.

        Args:
            options: Those named in ``options``, and ``through_proxy=True`` where there
                is a ``proxy``.
        """

    def instance_id(self, transport: WsBroadcastTransport) -> str | None:
        """The id under which a started transport publishes; None where nobody can tell."""
        if isinstance(transport, TaggedTransport):
            return transport._instance
        if isinstance(transport, BrokerTransport):
            return transport.exchange.instance
        return getattr(transport, "instance", None)

    async def publish_raw(self, channel: str, data: bytes) -> None:
        """Publish bytes as a foreign client; done when the broker has taken them."""
        raise NotApplicable(f"{self.name}: the rig has no foreign client")

    async def publish_frame(
        self, channel: str, instance: str, epoch: int, seq: int, payload: str
    ) -> None:
        """Publish as a transport of the instance ``instance`` would; by :meth:`publish_raw`."""
        await self.publish_raw(channel, wrap(instance, epoch, seq, payload).encode())

    async def subscriptions(self) -> set[str]:
        """The channels that the broker itself says are subscribed by anybody."""
        raise NotApplicable(f"{self.name}: the rig cannot ask the broker for its subscriptions")

    async def forget(self) -> None:
        """Let the broker lose all it has stored, while it runs."""
        raise NotApplicable(f"{self.name}: the rig cannot make the broker forget")

    def login(self, channels: Collection[str] | None = None) -> AbstractAsyncContextManager[Login]:
        """A login that lasts for a block, and may do what a transport needs to start.

        Args:
            channels: The only channels on which it may publish and subscribe; None: all.
        """
        raise NotApplicable(f"{self.name}: the rig has no logins")

    def misfit(self, why: Misfit) -> AbstractAsyncContextManager[Stranger]:
        """For a block, a transport and a broker that do not come together.

        "wrong_password" and "missing_password" are about a broker that wants another one;
        "tls_untrusted" about one whose certificate nobody trusts; with "tls_to_plain_port" the
        transport speaks TLS and the broker does not.

        Raises:
            NotApplicable: There is no such thing here.
        """
        raise NotApplicable(f"{self.name}: the rig has no broker that refuses")

    def small_buffers(self) -> AbstractAsyncContextManager[Rig]:
        """For a block, a rig whose broker soon gives up a subscriber that does not read.

        What the broker holds for one subscriber is to be some megabytes: more than a reader
        that keeps up ever needs, and much less than 50 MB. The transports of this rig are used
        on more than one event loop.
        """
        raise NotApplicable(f"{self.name}: the rig cannot make the broker's buffers small")

    async def repair(self) -> None:
        """Undo what a case may have broken; called after every case."""
        if self.proxy is not None:
            self.proxy.heal()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

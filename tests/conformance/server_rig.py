"""What the rigs of real brokers share: transports, a proxy before them, control of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tests.deadlines import promised
from wsrooms.testing.conformance import Rig
from wsrooms.transports import BrokerOptions, BrokerTransport, Sequencer

if TYPE_CHECKING:
    from tests.brokers import Server
    from wsrooms.testing import TcpProxy

COUNTERS = 1000
"""Fewer than a transport has, so that all of them can be used up in a case."""

PROBES = "ws:probe:"
"""What the channels begin with on which transports hear themselves."""

WRONG = "a-wrong-password"

PATIENCE = ("start_timeout", "connect_timeout", "confirm_timeout", "close_timeout")
"""Options that say how long a broker may take; what is in order takes none of it."""

S = TypeVar("S", bound="Server")
T = TypeVar("T", bound=BrokerTransport)


class ServerRig(Rig, Generic[S, T]):
    """Everything that a case may do to a server, which many cases use one after another.

    Attributes:
        scheme: Of a URL without TLS.
        all_options: Those of the transport.
        server: The broker; its methods are ``control``'s, who can undo them.
        image: What kind of server it is, for a case that needs another one.
        kind: The transport under test, or one that breaks its promises.
    """

    scheme: ClassVar[str]
    all_options: ClassVar[type[BrokerOptions]]
    slowdown = promised(1.0)

    def __init__(self, server: S, proxy: TcpProxy, image: str | None, kind: type[T]) -> None:
        self.server = server
        self.tcp_proxy = proxy
        self.proxy = proxy
        self.control = Control(server)
        self.broker = self.control
        self.name = server.name
        self.image = image
        self.kind = kind
        self.address = f"{server.host}:{server.port}"
        self.counters = COUNTERS

    def transport(self, **options: Any) -> T:
        where = self.tcp_proxy if options.pop("through_proxy", False) else self.server
        made = self.made(f"{self.scheme}://{where.host}:{where.port}", **options)
        made.exchange._sequencer = Sequencer(COUNTERS)
        return made

    def made(self, url: str, **options: Any) -> T:
        """A transport of the kind under test, which each kind makes of a URL.

        What it waits for takes as much longer here as everything does.
        """
        make: Any = self.kind
        patience = {name: promised(getattr(self.all_options, name)) for name in PATIENCE}
        transport: T = make(url, **{**patience, **options})
        return transport

    async def repair(self) -> None:
        self.tcp_proxy.heal()
        await self.control.repair()


class Control:
    """The server's methods, and what is to be undone of them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._killed = False
        self._stopped = False

    async def kill(self) -> None:
        self._killed, self._stopped = True, False  # also where the case ends meanwhile
        await self._server.kill()

    async def start(self) -> None:
        if self._killed:
            await self._server.start()
            self._killed = False

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        self._stopped = True
        await self._server.stop()

    async def cont(self) -> None:
        await self._server.cont()
        self._stopped = False

    async def repair(self) -> None:
        if self._stopped:
            await self.cont()
        if self._killed:
            await self._server.restart()  # a kill, or a start, may have been given up halfway
            self._killed = False

"""What a test asks of a broker and its transport, whatever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tests.deadlines import PATIENT
from wsrooms.testing import TcpProxy

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.brokers import Server
    from wsrooms.transports import BrokerOptions, BrokerTransport

__all__ = ["DEFAULTS", "PROBES", "Conversation", "Kind", "RefusingKind", "TextConversation"]

PROBES = "ws:probe:"
"""How the channels begin on which a transport speaks to itself."""

DEFAULTS: dict[str, object] = {
    "namespace": "",
    "start_timeout": 5.0,
    "close_timeout": 5.0,
    "connect_timeout": 2.0,
    "confirm_timeout": 3.0,
    "ping_interval": 2.0,
    "probe_interval": 5.0,
    "outbox_messages": 10_000,
    "outbox_bytes": 16_777_216,
    "outbox_age": 15.0,
    "outbox_policy": "reject",
    "client_name": "wsrooms",
    "max_payload": 8_388_608,
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_cert_reqs": "required",
    "ssl_check_hostname": True,
    "logger": None,
}
"""The options of all of them, as the documentation says: seconds, bytes, counts."""


class Conversation(Protocol):
    """What passes over one connection, for somebody in the middle who leaves messages out."""

    def sent(self, data: bytes) -> None:
        """What the client said, as it is passed on."""

    def came(self, data: bytes, *, muted: bool) -> bytes:
        """What to pass on of what the broker said: no messages while ``muted``."""
        ...


class TextConversation:
    """That of a broker which sends each message by itself.

    Args:
        message: What it sends for one, whose text has no line end.
    """

    def __init__(self, message: re.Pattern[bytes]) -> None:
        self._message = message

    def sent(self, data: bytes) -> None:
        """It makes no difference."""

    def came(self, data: bytes, *, muted: bool) -> bytes:
        """All but the messages."""
        return self._message.sub(b"", data) if muted else data


class Kind(ABC):
    """One transport and its broker.

    Attributes:
        name: Also a word that is in what the transport is called.
        options: Its class of options.
        keywords: The same as a TypedDict.
        place: A URL at which nobody listens, without options.
        tls_place: Likewise, with TLS.
        ports: Those of a URL that names none, without and with TLS.
        defaults: Each option with its default.
        needs: What an option makes no sense without: keywords.
        may_be_zero: The options for which 0 makes sense.
        keyword_only: The options that a URL cannot have.
        broken: URLs that are none, with a password at ``{}``.
        closes: How many transports to close at random moments.
        started_in: Seconds within which most of them have started.
    """

    name: str
    options: type[BrokerOptions]
    keywords: type
    place: str
    tls_place: str
    ports: ClassVar[tuple[int, int]]
    defaults: ClassVar[Mapping[str, object]]
    needs: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    may_be_zero: ClassVar[frozenset[str]] = frozenset()
    keyword_only: ClassVar[frozenset[str]]
    broken: ClassVar[Sequence[str]]
    closes: ClassVar[int] = 400
    started_in: ClassVar[float] = 0.02

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def transport(self, url: str, **options: Any) -> BrokerTransport:
        """One that has not started."""

    def patient(self, url: str, **options: Any) -> BrokerTransport:
        """One that gives a busy broker the time to let it in, if no option says otherwise."""
        return self.transport(url, **{**PATIENT, **options})

    @abstractmethod
    def server(self, *, tls: bool = False) -> AbstractAsyncContextManager[Server]:
        """One that lets everybody do everything."""

    def way(self, server: Server) -> tuple[int, int]:
        """The port to which somebody in the middle leads, and at which one to listen; 0: any."""
        return server.port, 0

    def proxy(self, server: Server) -> TcpProxy:
        """Somebody in the middle who passes on bytes."""
        return TcpProxy(server.host, server.port)

    @abstractmethod
    def conversation(self) -> Conversation:
        """For one connection."""

    @abstractmethod
    def guarded(self, password: str) -> AbstractAsyncContextManager[Server]:
        """One that wants this password, of whoever does not name a user."""

    @abstractmethod
    async def demand(self, server: Server, password: str) -> None:
        """Let a guarded server want this password from now on, also of who is logged in."""

    @abstractmethod
    def url(self, server: Server, *, password: str = "", user: str = "") -> str:
        """Where a server is, with a login."""

    def url_at(self, port: int) -> str:
        """A server without TLS and login at a port of 127.0.0.1."""
        scheme = self.place.partition("://")[0]
        return f"{scheme}://127.0.0.1:{port}"

    @abstractmethod
    def holding(self, secret: str) -> Iterable[BrokerTransport]:
        """Transports to where nobody listens that have ``secret``, in every way there is."""

    @abstractmethod
    def logging_in(self, server: Server, secret: str) -> Iterable[BrokerTransport]:
        """Transports that a guarded server refuses because of ``secret``."""

    def text(self, option: str, folder: Path) -> str:
        """A value for an option that is a text, and not its default."""
        return "x"


class RefusingKind(Kind):
    """One whose broker can deny channels one by one."""

    @abstractmethod
    def images(self) -> Sequence[str]:
        """The servers to test that with."""

    @abstractmethod
    def restricted(self, image: str, *, allowed: Iterable[str], denied: Iterable[str]) -> Server:
        """One that carries probes and the ``allowed`` channels, and none that are ``denied``.

        Args:
            image: The kind of server.
            allowed: Names that may end in ``*``, for a broker that says what it allows.
            denied: Names, for one that can only say what it denies.
        """

    @abstractmethod
    async def restrict(
        self, server: Server, *, allowed: Iterable[str], denied: Iterable[str]
    ) -> None:
        """Restart a restricted server, to which this applies from now on."""

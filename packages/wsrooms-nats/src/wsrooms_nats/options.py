"""The options of the NATS transport."""

from __future__ import annotations

import importlib.util
import logging
import ssl
from dataclasses import dataclass, field
from typing import ClassVar

from wsrooms.errors import ConfigurationError
from wsrooms.transports import TlsKeywords, TlsOptions

__all__ = ["NatsKeywords", "NatsOptions"]

LOGINS = ("user", "token", "user_credentials", "nkeys_seed", "nkeys_seed_str")
SIGNED = ("user_credentials", "nkeys_seed", "nkeys_seed_str")


@dataclass(frozen=True, kw_only=True)
class NatsOptions(TlsOptions):
    """Options of the NATS transport, with those of every transport.

    Attributes:
        client_name: What the server's monitoring shows for its connection.
        max_payload: Bytes that a message may have. The server's own ``max_payload``, less
            what wsrooms adds, counts where it is lower (1 MiB by default).
        max_control_line: Bytes of a command that the server takes, which bounds the length
            of a room's name; its option of that name.
        join_settle: Seconds from the server's confirmation until a subscription counts as
            confirmed; 0 for none. In a cluster the other servers learn of it a moment later.
            None: until they say that they have (nats-server 2.11), at most 1 s, and 0.05 s
            where they cannot.
        user: Who logs in, if the URL does not say so.
        password: Of the user.
        token: Instead of a user.
        user_credentials: A ``.creds`` file with a JWT and a seed, read at each connect.
        nkeys_seed: A file with the seed of an nkey, read at each connect.
        nkeys_seed_str: Such a seed itself.
        tls: How to encrypt, instead of the options whose names begin with ``ssl_``.
        tls_hostname: What the server's certificate has to name, if not the host of the URL.
        tls_first: Encrypt before the server has said anything: its ``handshake_first``.
        randomize: Whether several servers are tried in random order, which spreads instances.
        logger: For what nobody else is told.
    """

    may_be_zero: ClassVar[frozenset[str]] = frozenset({"join_settle"})

    client_name: str = "wsrooms"
    max_payload: int = 8 * 1024 * 1024
    max_control_line: int = 4096
    join_settle: float | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    user_credentials: str | None = None
    nkeys_seed: str | None = None
    nkeys_seed_str: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    tls_hostname: str | None = None
    tls_first: bool = False
    randomize: bool = True
    logger: logging.Logger | None = None

    @property
    def has_login(self) -> bool:
        """Whether they say who logs in; else the URL may."""
        return any(getattr(self, name) is not None for name in LOGINS)

    def check_login(self) -> None:
        """Check that there is one way to log in, and that its files can be read.

        Raises:
            ConfigurationError: There are two, or half of one, or what it needs is missing.
        """
        self.check_context(self.tls)
        given = [name for name in LOGINS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigurationError(f"there are two logins, {' and '.join(given)}: give one")
        if (self.user is None) != (self.password is None):
            raise ConfigurationError("options 'user' and 'password' belong together: give both")
        for name in ("user_credentials", "nkeys_seed"):
            self.check_file(name)
        if given and given[0] in SIGNED and importlib.util.find_spec("nkeys") is None:
            raise ConfigurationError(
                f'option {given[0]!r} needs the library nkeys: pip install "wsrooms-nats[nkeys]"'
            )


class NatsKeywords(TlsKeywords, total=False):
    """The keywords of :class:`NatsTransport`, which :class:`NatsOptions` explains."""

    client_name: str
    max_payload: int
    max_control_line: int
    join_settle: float | None
    user: str | None
    password: str | None
    token: str | None
    user_credentials: str | None
    nkeys_seed: str | None
    nkeys_seed_str: str | None
    tls: ssl.SSLContext | None
    tls_hostname: str | None
    tls_first: bool
    randomize: bool
    logger: logging.Logger | None

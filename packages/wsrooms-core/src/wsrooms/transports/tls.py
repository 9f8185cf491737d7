"""The options of transports that can encrypt, and what becomes of them."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Literal

from wsrooms.errors import AuthenticationFailed, ConfigurationError
from wsrooms.transports.options import BrokerKeywords, BrokerOptions

__all__ = ["TlsKeywords", "TlsOptions", "certificate_error"]

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_NAMES = (*FILES, "ssl_cert_reqs", "ssl_check_hostname")


@dataclass(frozen=True, kw_only=True)
class TlsOptions(BrokerOptions):
    """Options of every transport that talks to a broker over TLS.

    Attributes:
        ssl_ca_certs: A file with the authorities that are trusted; None: the system's.
        ssl_certfile: A client certificate.
        ssl_keyfile: Its key.
        ssl_cert_reqs: Whether the broker's certificate is verified: "required" or "none".
        ssl_check_hostname: Whether it has to name the host.
    """

    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_cert_reqs: Literal["required", "none"] = "required"
    ssl_check_hostname: bool = True

    def check_tls(self, scheme: str, encrypted: str, *others: str) -> None:
        """Check that the options of TLS are used, and that their files can be read.

        Args:
            scheme: Of the URL.
            encrypted: The scheme that has TLS.
            others: More options that need it.

        Raises:
            ConfigurationError: They are not; what was meant to be encrypted would not be.
        """
        for name in (*TLS_NAMES, *others):
            value = getattr(self, name)
            if value == getattr(type(self), name):
                continue
            if scheme != encrypted:
                raise ConfigurationError(
                    f"option {name!r} needs TLS, and {scheme}:// has none: write {encrypted}://"
                )
            if name in FILES:
                self.check_file(name)

    def check_context(self, context: ssl.SSLContext | None) -> None:
        """Check that ``context``, option ``tls``, is not given beside what it says itself.

        Raises:
            ConfigurationError: It is.
        """
        for name in TLS_NAMES if context is not None else ():
            if getattr(self, name) != getattr(type(self), name):
                raise ConfigurationError(f"option 'tls' says all that {name!r} does: give one")

    def ssl_context(self) -> ssl.SSLContext:
        """What they say; reads files, which takes up to 0.1 s.

        Raises:
            OSError: A file cannot be read, or is none of its kind.
        """
        context = ssl.create_default_context(cafile=self.ssl_ca_certs)
        if not self.ssl_check_hostname or self.ssl_cert_reqs == "none":
            context.check_hostname = False
        if self.ssl_cert_reqs == "none":
            context.verify_mode = ssl.CERT_NONE
        if self.ssl_certfile is not None:
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        return context

    async def load_ssl_context(self) -> ssl.SSLContext:
        """As :meth:`ssl_context`, in a thread; anew for each connection: files are renewed."""
        return await asyncio.get_running_loop().run_in_executor(None, self.ssl_context)


class TlsKeywords(BrokerKeywords, total=False):
    """The options of TLS as keywords, which :class:`TlsOptions` explains."""

    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: Literal["required", "none"]
    ssl_check_hostname: bool


def certificate_error(error: BaseException, where: str) -> AuthenticationFailed | None:
    """What to tell of ``error`` if it is about the certificate of ``where``; else None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return AuthenticationFailed(
                f"the certificate of {where} is not to be trusted: {seen.verify_message}"
            )
        seen = seen.__cause__ or seen.__context__
    return None

"""Who may use a NATS server: nkeys, and the JWTs by which others vouch for one.

What the tool ``nsc`` would make: an operator that signs an account that signs users. A server
that trusts the operator, and has the account preloaded, lets in whoever shows the JWT of such
a user and signs with its key.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping

import nkeys  # type: ignore[import-untyped]  # it has no types

OPERATOR, ACCOUNT, USER = (
    nkeys.PREFIX_BYTE_OPERATOR,
    nkeys.PREFIX_BYTE_ACCOUNT,
    nkeys.PREFIX_BYTE_USER,
)
UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
ACCOUNT_LIMITS = {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}


class Key:
    """A pair of keys of one role.

    Attributes:
        seed: The private key, as it stands in a file.
        public: The public key, as a server's configuration has it.
    """

    def __init__(self, role: int) -> None:
        seed: bytes = nkeys.encode_seed(os.urandom(32), role)
        self._pair = nkeys.from_seed(bytearray(seed))
        self.seed = seed.decode()
        self.public = bytes(self._pair.public_key).decode().rstrip("=")

    def vouches(
        self, subject: Key, claims: Mapping[str, object], expires: float | None = None
    ) -> str:
        """A JWT in which this key says ``claims`` of ``subject``.

        Args:
            subject: Whom it is about.
            claims: What is said, with its "type".
            expires: Seconds from now until it counts no more; a JWT counts whole seconds.
        """
        body: dict[str, object] = {
            "jti": base64.b32encode(os.urandom(20)).decode(),
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject.public,
            "name": str(claims["type"]),
            "nats": {**claims, "version": 2},
        }
        if expires is not None:
            body["exp"] = int(time.time() + expires)
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        return f"{text}.{_bare(self._pair.sign(text.encode()))}"


class Operator:
    """An operator with one account, and the users that it vouches for."""

    def __init__(self) -> None:
        self._operator, self._account = Key(OPERATOR), Key(ACCOUNT)

    def config(self) -> str:
        """The lines of a server's configuration that trust this operator."""
        operator = self._operator.vouches(self._operator, {"type": "operator"})
        limits = {"type": "account", "limits": {**UNLIMITED, **ACCOUNT_LIMITS}}
        account = self._operator.vouches(self._account, limits)
        return (
            f"operator: {operator}\n"
            "resolver: MEMORY\n"
            f"resolver_preload: {{ {self._account.public}: {account} }}\n"
        )

    def credentials(
        self,
        *,
        expires: float | None = None,
        publish: dict[str, list[str]] | None = None,
        subscribe: dict[str, list[str]] | None = None,
        subscriptions: int = -1,
    ) -> Credentials:
        """What a new user needs.

        Args:
            expires: Seconds from now until the server throws it out.
            publish: The subjects that it may publish on: ``{"allow": […], "deny": […]}``.
            subscribe: Likewise.
            subscriptions: How many it may have on one connection.
        """
        user = Key(USER)
        claims: dict[str, object] = {
            "type": "user",
            **UNLIMITED,
            "subs": subscriptions,
            "pub": publish or {},
            "sub": subscribe or {},
        }
        return Credentials(user, self._account.vouches(user, claims, expires))


class Credentials:
    """The JWT of a user and its key."""

    def __init__(self, key: Key, jwt: str) -> None:
        self.key, self.jwt = key, jwt

    @property
    def text(self) -> str:
        """The text of its ``.creds`` file."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "NKEY Seed printed below can be used to sign and prove identity.\n"
            "NKEYs are sensitive and should be treated as secrets.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.key.seed}\n------END USER NKEY SEED------\n"
        )


def _part(value: dict[str, object]) -> str:
    return _bare(json.dumps(value, separators=(",", ":")).encode())


def _bare(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

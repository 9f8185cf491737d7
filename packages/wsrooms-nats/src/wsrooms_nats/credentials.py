"""Files with credentials, read anew for each connection: they are renewed while we run."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nats.aio.client import RawCredentials

from wsrooms.errors import AuthenticationFailed

if TYPE_CHECKING:
    from wsrooms_nats.options import NatsOptions

__all__ = ["signing"]

_PARTS = tuple(
    re.compile(rf"-+ *BEGIN {what} *-+\s+(\S+)\s+-+ *END {what} *-+")
    for what in ("NATS USER JWT", "USER NKEY SEED")
)
_WHOLE = """-----BEGIN NATS USER JWT-----
{}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{}
------END USER NKEY SEED------
"""


def signing(options: NatsOptions, where: str) -> dict[str, Any]:
    """The keywords for nats-py of what signs the server's challenge, if anything is to.

    nats-py reads a file without its marks for ever, and one with CRLF wrongly, so that it
    gets a text that has been looked at.

    Raises:
        AuthenticationFailed: A file does not hold what it should.
        OSError: It cannot be read.
    """
    if options.user_credentials is not None:
        text = _read(options.user_credentials, "credentials")
        found = [part.search(text) for part in _PARTS]
        parts = [match[1] for match in found if match is not None]
        if len(parts) < len(found):
            raise AuthenticationFailed(
                f"no login for {where}: {options.user_credentials} holds no JWT and seed "
                "between their marks; is it whole?"
            )
        _check_seed(parts[1], options.user_credentials, where)
        return {"user_credentials": RawCredentials(_WHOLE.format(*parts))}
    seed = options.nkeys_seed_str
    if options.nkeys_seed is not None:
        seed = _read(options.nkeys_seed, "seed")
    if seed is None:
        return {}
    seed = seed.strip()
    _check_seed(seed, options.nkeys_seed or "option 'nkeys_seed_str'", where)
    return {"nkeys_seed_str": seed}


def _check_seed(seed: str, origin: str, where: str) -> None:
    nkeys: Any = import_module("nkeys")  # an extra: it is there where somebody has a seed
    try:
        nkeys.from_seed(bytearray(seed, "ascii"))
    except Exception:  # noqa: BLE001 - nkeys' errors have no base of their own
        # Without its cause, whose frames hold the seed.
        raise AuthenticationFailed(
            f"no login for {where}: {origin} holds no seed of an nkey"
        ) from None


def _read(path: str, what: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except UnicodeDecodeError:
        raise AuthenticationFailed(f"{path} holds no {what}: it is no text") from None

"""From a URL to a transport, through the entry points of the installed packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from wsrooms.errors import ConfigurationError, MissingTransport, UnknownOption, UnknownScheme
from wsrooms.transports.memory import MemoryTransport

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from wsrooms.transports.protocols import WsBroadcastTransport

__all__ = ["transport_from_url"]

GROUP = "wsrooms.transports"
EXTRAS = {
    "redis": "redis",
    "rediss": "redis",
    "redis+unix": "redis",
    "redis+sentinel": "redis",
    "nats": "nats",
    "tls": "nats",
    "kafka": "kafka",
    "kafka+ssl": "kafka",
}


def transport_from_url(url: str) -> WsBroadcastTransport:
    """The transport that speaks ``url``; ``memory://`` is built in.

    A package offers one by an entry point in the group ``wsrooms.transports``,
    named after the scheme; it is called with the URL. Only the one that is
    asked for is imported.

    Raises:
        UnknownScheme: Nothing speaks this URL.
        UnknownOption: Its query holds an option that does not exist.
        MissingTransport: The package that speaks it is not installed.
        ConfigurationError: Not a URL, or two packages claim its scheme, or the one that
            speaks it is of another minor version than the core.
    """
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(
            f"broadcast_transport={_without_secrets(url)} is no URL such as redis://localhost, "
            "nor an object with publish, subscribe and unsubscribe"
        )
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "memory":
        return _memory(rest)
    # It loads the email package and more: not for those who give no URL.
    from importlib.metadata import entry_points

    offered = [point for point in entry_points(group=GROUP) if point.name == scheme]
    if len(offered) > 1:
        claims = ", ".join(sorted(_distribution(point) for point in offered))
        raise ConfigurationError(f"several packages claim {scheme}:// URLs: {claims}")
    if offered:
        _must_be_of_our_minor(offered[0])
        make = cast("Callable[[str], WsBroadcastTransport]", offered[0].load())
        return make(url)
    if scheme in EXTRAS:
        raise MissingTransport(scheme, EXTRAS[scheme])
    known = {"memory", *EXTRAS, *(point.name for point in entry_points(group=GROUP))}
    raise UnknownScheme(scheme, known)


def _must_be_of_our_minor(point: EntryPoint) -> None:
    """Refuse one of our own packages that was left behind by an upgrade.

    Installers refuse such a pair when they choose both, but ``pip install -U wsrooms-core``
    only warns; what came of it would be an ImportError, or worse none.
    """
    from importlib.metadata import distributions

    if point.dist is None or point.dist.name not in {f"wsrooms-{each}" for each in EXTRAS.values()}:
        return
    # A bundle of one file may hold the core without what was installed with it.
    core = next((each.version for each in distributions(name="wsrooms-core")), None)
    if core is not None and core.split(".")[:2] != point.dist.version.split(".")[:2]:
        extra = point.dist.name.removeprefix("wsrooms-")
        raise ConfigurationError(
            f"{point.dist.name} {point.dist.version} does not go with wsrooms-core {core}: "
            f'pip install -U "wsrooms-core[{extra}]"'
        )


def _memory(rest: str) -> MemoryTransport:
    for option in parse_qs(rest.partition("?")[2], keep_blank_values=True):
        if option != "namespace":  # a private bus has no neighbours, so the name is moot
            raise UnknownOption(option, ["namespace"])
    return MemoryTransport()


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _without_secrets(given: object) -> str:
    """What was given in place of a URL, less whatever may be a password."""
    if not isinstance(given, str):
        return "None" if given is None else f"<{type(given).__name__}>"
    login, _, address = given.rpartition("@")
    if "?" in login:  # where either ends is anybody's guess
        return "'...'"
    return repr(address.partition("?")[0])

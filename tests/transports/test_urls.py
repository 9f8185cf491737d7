"""What a URL says of any broker: where its servers are, and what is told of one that says nothing.

Who asks, and whatever else the URL of one broker has, is tested with that transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wsrooms.errors import ConfigurationError
from wsrooms.transports import transport_from_url

if TYPE_CHECKING:
    from tests.transports.kinds import Kind


def scheme_of(url: str) -> str:
    return url.partition("://")[0]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("", "localhost:{port}"),
        ("localhost", "localhost:{port}"),
        ("h:7/", "h:7"),
        (":7", "localhost:7"),
        ("[::1]:7", "[::1]:7"),
        ("[fe80::1%eth0]", "[fe80::1%eth0]:{port}"),
        ("[fe80::1%25eth0]:7", "[fe80::1%eth0]:7"),
        ("u:p@a,b:7,[::1]", "a:{port},b:7,[::1]:{port}"),
    ],
)
def test_a_url_says_where_the_servers_are(kind: Kind, place: str, shown: str) -> None:
    for url, port in zip((kind.place, kind.tls_place), kind.ports, strict=True):
        scheme = scheme_of(url)
        where = f"{scheme}://{shown.format(port=port)}"
        for written in (scheme, scheme.upper()):
            transport = kind.transport(f"{written}://{place}")
            assert transport.where == where
            assert repr(transport) == f"<{type(transport).__name__} {where}>"


@pytest.mark.parametrize("place", ["h:x", "h:0", "h:65536", "::1", "[::1", "a b", "a,b:x"])
def test_a_host_that_cannot_be_read_is_told_with_what_to_write(kind: Kind, place: str) -> None:
    for url in kind.place, kind.tls_place:
        with pytest.raises(ConfigurationError) as caught:
            kind.transport(f"{scheme_of(url)}://{place}")
        told = f"the host and port of this {scheme_of(url)}:// URL cannot be read"
        assert str(caught.value).startswith(told)


@pytest.mark.parametrize("place", ["u:a/b@h", "a#b@h", "h#x"])
def test_a_character_that_has_to_be_encoded_is_told(kind: Kind, place: str) -> None:
    with pytest.raises(ConfigurationError, match="a character has to be percent-encoded"):
        kind.transport(f"{scheme_of(kind.place)}://{place}")


def test_a_login_stands_once_before_all_servers(kind: Kind) -> None:
    with pytest.raises(ConfigurationError, match="the login stands once"):
        kind.transport(f"{scheme_of(kind.place)}://a:b@c,d:e@f")


@pytest.mark.parametrize("url", ["localhost", "{scheme}:localhost", "http://h", "{scheme}+x://h"])
def test_what_is_no_url_of_the_broker_is_told_how_one_begins(kind: Kind, url: str) -> None:
    scheme = scheme_of(kind.place)
    with pytest.raises(ConfigurationError, match=f" URL begins with {scheme}://") as caught:
        kind.transport(url.format(scheme=scheme))
    assert f"{scheme_of(kind.tls_place)}://".lower() in str(caught.value)
    assert str(caught.value).endswith(f"as in {scheme}://localhost:{kind.ports[0]}")


def test_the_core_makes_it_of_both_schemes(kind: Kind) -> None:
    for url in kind.place, kind.tls_place:
        made = transport_from_url(f"{url}?namespace=a")
        alike = kind.transport(url, namespace="a")
        assert type(made) is type(alike)
        assert repr(made) == repr(alike)

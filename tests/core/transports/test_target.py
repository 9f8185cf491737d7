"""The URL of a broker gives what was put into it, and its errors show nothing of a login."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import ConfigurationError
from wsrooms.transports import Address, BrokerUrl, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

DETERMINISTIC = settings(derandomize=True, deadline=None)

PORTS = {"broker": 4000, "brokers": 4001}
EXAMPLE = "broker://localhost:4000"

names = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True)
numbers = st.ip_addresses().map(str)
ports = st.integers(1, 65535)
addresses = st.builds(Address, names | numbers, ports)
logins = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def read(url: str) -> BrokerUrl:
    return BrokerUrl.of(url, broker="Broker", ports=PORTS, example=EXAMPLE)


def encoded(text: str) -> str:
    return quote(text, safe="")


@DETERMINISTIC
@given(addresses)
def test_an_address_is_read_as_it_is_shown(address: Address) -> None:
    assert Address.read(str(address), 1) == address


@DETERMINISTIC
@given(names, ports)
def test_an_address_without_a_port_has_the_default(host: str, port: int) -> None:
    assert Address.read(host, port) == (host, port)


@DETERMINISTIC
@given(st.text(max_size=20))
def test_whatever_a_server_says_is_an_address_or_none(text: str) -> None:
    address = Address.read(text, 4000)
    if address is not None:
        assert address.host
        assert 0 < address.port < 65536


@pytest.mark.parametrize(
    "text",
    ["a:0", "a:65536", "a:x", "a:", "a b", "[::1", "::1", "[::1]x", "a:1:2", "a\n"],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert Address.read(text, 4000) is None


def test_a_socket_is_shown_by_its_path() -> None:
    assert str(Address("/run/broker.sock", 0)) == "/run/broker.sock"


@DETERMINISTIC
@given(
    scheme=st.sampled_from(["broker", "BROKERS"]),
    user=logins,
    password=logins,
    hosts=st.lists(addresses, min_size=1, max_size=4),
    path=st.sampled_from(["", "/", "/3"]),
    query=st.sampled_from(["", "a=1&b=%40"]),
)
def test_all_parts_of_a_url_are_read_as_they_were_written(
    scheme: str, user: str, password: str, hosts: Sequence[Address], path: str, query: str
) -> None:
    login = f"{encoded(user)}:{encoded(password)}@" if user or password else ""
    servers = ",".join(map(str, hosts))
    url = read(f"{scheme}://{login}{servers}{path}{'?' if query else ''}{query}")
    assert (url.scheme, url.user, url.password) == (scheme.lower(), user, password)
    assert (url.hosts, url.path, url.query) == (servers, path, query)
    assert url.addresses(1) == tuple(hosts)


@pytest.mark.parametrize("after", ["@host", "@host:x", "@[::1", "", "@host/1?a=b", "@host#x"])
@pytest.mark.parametrize("before", ["broker://", "broker:/", "other://", "", "broker://u:"])
@pytest.mark.parametrize("breaks", ["", *"/?#@:,[ \n%", "/?#@:"])
def test_no_error_and_no_repr_shows_a_secret(before: str, breaks: str, after: str) -> None:
    secret = "OPEN-SESAME"
    told = ""
    try:
        url = read(f"{before}{breaks}{secret}{breaks}{secret}{after}")
        if "@" in after and secret not in url.hosts:  # else it is no part of a login
            told = repr(url)
        url.addresses(1)
    except ConfigurationError as error:
        told += f"{error} {error!r}"
    assert secret not in told


@pytest.mark.parametrize("url", ["", "broker", "broker:host", "//host", "redis://host", "://host"])
def test_another_scheme_is_told_with_those_that_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"begins with broker://, brokers://.*{EXAMPLE}"):
        read(url)


@pytest.mark.parametrize("hosts", ["a,b:x", "a:0", "a b", "[::1", "h1,broker://h2"])
def test_hosts_that_cannot_be_read_are_told(hosts: str) -> None:
    with pytest.raises(ConfigurationError, match="host and port"):
        read(f"broker://{hosts}").addresses(1)


@pytest.mark.parametrize("url", ["u:p@a,u:p@b", "u:p@a:1,v:q@b:2,c", "token@a,token@b"])
def test_a_login_for_each_server_is_told_and_not_taken_for_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the login stands once, before all servers"):
        read(f"broker://{url}")


def test_servers_are_shown_as_a_url_names_them() -> None:
    servers = [Address("a", 4222), Address("::1", 4223), Address("/run/redis.sock", 0)]
    assert shown("nats", *servers) == "nats://a:4222,[::1]:4223,/run/redis.sock"

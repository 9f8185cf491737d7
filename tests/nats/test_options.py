"""What a NATS URL and the options say, and what is told of those that make no sense."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp
from wsrooms.errors import ConfigurationError, UnknownScheme
from wsrooms.transports import Address
from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from pathlib import Path


def test_several_servers_are_tried_in_an_order_of_chance_unless_told_otherwise() -> None:
    url = f"nats://{','.join(f'h{number}' for number in range(8))}"
    orders = {tuple(NatsTransport(url).target.addresses) for _ in range(20)}
    assert len(orders) > 1
    assert len({frozenset(order) for order in orders}) == 1
    kept = {tuple(NatsTransport(f"{url}?randomize=no").target.addresses) for _ in range(20)}
    assert [address.host for address in kept.pop()] == [f"h{number}" for number in range(8)]
    assert not kept


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("", {}),
        ("@", {}),
        (":@", {}),
        ("token@", {"token": "token"}),
        ("user:secret@", {"user": "user", "password": "secret"}),
        ("user:a:b@", {"user": "user", "password": "a:b"}),
        ("us%40er:%2F%3F%23%40%25%3A@", {"user": "us@er", "password": "/?#@%:"}),
        ("%F0%9F%8E%89%3A@", {"token": "🎉:"}),
        ("user:a@b@", {"user": "user", "password": "a@b"}),
        ("pass+word@", {"token": "pass+word"}),
    ],
)
@pytest.mark.parametrize("place", ["h:7", "[::1]:7", "a,b"])
@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_a_url_says_who_asks(scheme: str, place: str, login: str, told: dict[str, str]) -> None:
    transport = NatsTransport(f"{scheme}://{login}{place}")
    assert transport.target.login == told
    assert transport.target.scheme == scheme
    assert "@" not in transport.where


def test_a_login_of_the_options_counts_before_that_of_the_url() -> None:
    transport = NatsTransport("nats://token@h", user="u", password="p")
    assert transport.target.login == {"user": "u", "password": "p"}
    assert NatsTransport("nats://u:p@h?token=t").target.login == {"token": "t"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ws://localhost", "a NATS URL begins with"),
        ("wss://localhost:443", "a NATS URL begins with"),
        ("nats://h/path", "path"),
        ("nats://h/4", "path"),
        ("nats://h?user=u", "'user' and 'password' belong together"),
        ("nats://h?password=p", "'user' and 'password' belong together"),
        ("nats://:p@h", "user"),
        ("nats://h?user=u&password=p&token=t", "two logins, user and token"),
        ("nats://h?token=t&nkeys_seed_str=SU", "two logins, token and nkeys_seed_str"),
        ("nats://h?user_credentials=/no/such/file", "'user_credentials' cannot be read"),
        ("nats://h?nkeys_seed=/no/such/file", "'nkeys_seed' cannot be read"),
        ("nats://h?tls_first=yes", r"'tls_first' needs TLS, and nats:// has none: write tls://"),
        ("nats://h?tls_hostname=x", "'tls_hostname' needs TLS"),
        ("nats://h?join_settle=-1", "'join_settle' has to be"),
        ("nats://h?tls=x", "unknown option 'tls'"),
        ("nats://h?servers=x", "unknown option 'servers'"),
    ],
)
def test_a_url_that_cannot_be_read_says_what_to_write(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        NatsTransport(url)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_nats_over_a_websocket_is_refused(scheme: str) -> None:
    with pytest.raises(UnknownScheme, match="nats"):
        WsApp(broadcast_transport=f"{scheme}://localhost:4223")


def test_a_context_needs_tls_and_is_taken_as_it_is() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigurationError, match="'tls' needs TLS, and nats:// has none"):
        NatsTransport("nats://h", tls=context)
    assert NatsTransport("tls://h", tls=context).options.tls is context


def test_a_context_and_the_options_of_one_contradict_each_other(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    given: list[dict[str, Any]] = [{"ssl_ca_certs": str(file)}, {"ssl_cert_reqs": "none"}]
    for options in given:
        with pytest.raises(ConfigurationError, match="'tls'"):
            NatsTransport("tls://h", tls=ssl.create_default_context(), **options)


@pytest.mark.parametrize("option", ["user_credentials", "nkeys_seed", "nkeys_seed_str"])
def test_what_signs_needs_a_library_and_says_which(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("SU")
    value = "SU" if option == "nkeys_seed_str" else str(file)
    given: dict[str, Any] = {option: value}
    NatsTransport("nats://h", **given)
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ConfigurationError) as caught:
        NatsTransport("nats://h", **given)
    assert str(caught.value) == (
        f'option {option!r} needs the library nkeys: pip install "wsrooms-nats[nkeys]"'
    )
    NatsTransport("nats://token@h")


def test_a_server_that_was_learnt_by_its_number_shows_the_name_of_the_first_that_was_given() -> (
    None
):
    transport = NatsTransport("tls://nats.example.org,10.0.0.7", randomize=False)
    for host, name in {
        "nats.example.org": "nats.example.org",
        "10.0.0.7": "10.0.0.7",
        "10.0.0.8": "nats.example.org",
        "fe80::1": "nats.example.org",
        "other.example.org": "other.example.org",
    }.items():
        assert transport.target.name_of(Address(host, 4222)) == name

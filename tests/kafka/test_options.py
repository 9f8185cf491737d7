"""What a Kafka URL and the options say, and what is told of those that make no sense."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp
from wsrooms.errors import ConfigurationError, UnknownScheme
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from pathlib import Path


def who(user: str, password: str) -> dict[str, str]:
    """A login, as aiokafka wants it."""
    return {"sasl_plain_username": user, "sasl_plain_password": password}


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("user:secret@", "user", "secret"),
        ("user:a:b@", "user", "a:b"),
        ("us%40er:%2F%3F%23%40%25%3A@", "us@er", "/?#@%:"),
        ("user:%F0%9F%8E%89@", "user", "🎉"),
        ("user:a@b@", "user", "a@b"),
        ("user:pass+word@", "user", "pass+word"),
    ],
)
@pytest.mark.parametrize("place", ["h:7", "[::1]:7", "a,b"])
@pytest.mark.parametrize("scheme", ["kafka", "kafka+ssl"])
def test_a_url_says_who_asks(scheme: str, place: str, login: str, user: str, password: str) -> None:
    transport = KafkaTransport(f"{scheme}://{login}{place}")
    assert transport.target.login == who(user, password)
    assert "@" not in transport.where


@pytest.mark.parametrize("login", ["", "@", ":@"])
def test_a_url_without_a_login_asks_as_nobody(login: str) -> None:
    assert KafkaTransport(f"kafka://{login}h").target.login == {}


def test_a_login_of_the_options_counts_before_that_of_the_url() -> None:
    transport = KafkaTransport("kafka://a:b@h", username="u", password="p")
    assert transport.target.login == who("u", "p")
    assert KafkaTransport("kafka://a:b@h?username=u&password=p").target.login == who("u", "p")
    assert KafkaTransport("kafka://a:b@h?username=u").target.login == who("u", "b")
    assert KafkaTransport("kafka://a:b@h", password="p").target.login == who("a", "p")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kafka://h/topic", "path"),
        ("kafka://u@h", "password"),
        ("kafka://u:@h", "password"),
        ("kafka://:p@h", "user"),
        ("kafka://h?username=u", "there is a user for Kafka and no password"),
        ("kafka://h?password=p", "there is a password for Kafka and no user"),
        ("kafka://u:p@h?sasl_mechanism=GSSAPI", "'sasl_mechanism' has to be 'PLAIN' or 'SCRAM"),
        ("kafka://u:p@h?sasl_mechanism=plain", "'sasl_mechanism' has to be 'PLAIN' or 'SCRAM"),
        ("kafka://h?linger=-1", "'linger' has to be 0 or a positive number"),
        ("kafka://h?retention=5min", "'retention' has to be a number"),
        ("kafka://h?retention=0", "'retention' has to be a positive number"),
        ("kafka://h?partitions=1.5", "'partitions' has to be a whole number"),
        ("kafka://h?replication=0", "'replication' has to be a positive whole number"),
        ("kafka://h?replication=32768", "'replication'"),
        ("kafka://h?partitions=2147483648", "'partitions'"),
        ("kafka://h?linger=2", "'linger' has to be between 0 and 1"),
        ("kafka://h?fetch_gather=2", "'fetch_gather' has to be between 0 and 1"),
        ("kafka://h?retention=0.5", "'retention' has to be between"),
        ("kafka://h?tls=x", "unknown option 'tls'"),
        ("kafka://h?topic=x", "unknown option 'topic'"),
        ("kafka://h?group_id=x", "unknown option 'group_id'"),
        ("kafka://h?security_protocol=SSL", "unknown option 'security_protocol'"),
    ],
)
def test_a_url_that_cannot_be_read_says_what_to_write(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        KafkaTransport(url)


@pytest.mark.parametrize("word", ["username", "password"])
def test_a_login_in_which_plain_cannot_be_said_is_refused_and_not_shown(word: str) -> None:
    login = {"username": "ann", "password": "sesame", word: "sesa\0me"}
    with pytest.raises(ConfigurationError, match="NUL") as caught:
        KafkaTransport("kafka://h", username=login["username"], password=login["password"])
    assert "sesa" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["kafkas", "kafka+tls", "kafka+plain"])
def test_the_core_knows_no_other_scheme(scheme: str) -> None:
    with pytest.raises(UnknownScheme, match="kafka"):
        WsApp(broadcast_transport=f"{scheme}://localhost")


def test_a_namespace_is_a_topic() -> None:
    assert KafkaTransport().target.topic == "wsrooms"
    assert KafkaTransport("kafka://h?namespace=staging-2.eu_west").target.topic == (
        "wsrooms-staging-2.eu_west"
    )
    for namespace in ".", "..", "x" * 64:  # no topics by themselves, or nearly none
        assert KafkaTransport(namespace=namespace).target.topic == f"wsrooms-{namespace}"


def test_a_context_needs_tls_and_is_taken_as_it_is() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigurationError, match="'tls' needs TLS, and kafka:// has none"):
        KafkaTransport("kafka://h", tls=context)
    assert KafkaTransport("kafka+ssl://h", tls=context).options.tls is context


def test_a_context_and_the_options_of_one_contradict_each_other(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    given: list[dict[str, Any]] = [{"ssl_ca_certs": str(file)}, {"ssl_cert_reqs": "none"}]
    for options in given:
        with pytest.raises(ConfigurationError, match="'tls'"):
            KafkaTransport("kafka+ssl://h", tls=ssl.create_default_context(), **options)

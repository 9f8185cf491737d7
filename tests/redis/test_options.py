"""What a Redis URL and the options say, and what is told of those that make no sense."""

from __future__ import annotations

import pytest

from wsrooms.errors import ConfigurationError
from wsrooms_redis import RedisTransport
from wsrooms_redis.target import Target


@pytest.mark.parametrize(
    ("url", "addresses", "database", "where"),
    [
        ("redis://", [("localhost", 6379)], 0, "redis://localhost:6379"),
        ("redis://localhost", [("localhost", 6379)], 0, "redis://localhost:6379"),
        ("REDIS://h:7/", [("h", 7)], 0, "redis://h:7"),
        ("redis://h/3", [("h", 6379)], 3, "redis://h:6379/3"),
        ("redis://:7/0", [("localhost", 7)], 0, "redis://localhost:7"),
        ("redis://[::1]:7/2", [("::1", 7)], 2, "redis://[::1]:7/2"),
        ("redis://[fe80::1%eth0]", [("fe80::1%eth0", 6379)], 0, "redis://[fe80::1%eth0]:6379"),
        ("redis://[fe80::1%25eth0]:7", [("fe80::1%eth0", 7)], 0, None),
        ("rediss://h", [("h", 6379)], 0, "rediss://h:6379"),
        ("redis://a,b:7,[::1]", [("a", 6379), ("b", 7), ("::1", 6379)], 0, None),
        ("redis+sentinel://a,b:7/main/3", [("a", 26379), ("b", 7)], 3, None),
        ("redis+unix:///run/r.sock", [("/run/r.sock", 0)], 0, "redis+unix:///run/r.sock"),
        ("redis+unix:///run/my%20r.sock", [("/run/my r.sock", 0)], 0, None),
    ],
)
def test_a_url_says_where_the_server_is(
    url: str, addresses: list[tuple[str, int]], database: int, where: str | None
) -> None:
    target = Target.of(url)
    assert list(target.addresses) == addresses
    assert target.database == database
    assert where is None or target.where == where


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("", {}),
        (":@", {}),
        ("user@", {"username": "user"}),
        (":secret@", {"password": "secret"}),
        ("user:secret@", {"username": "user", "password": "secret"}),
        (":a:b@", {"password": "a:b"}),
        ("us%40er:%2F%3F%23%40%25%3A@", {"username": "us@er", "password": "/?#@%:"}),
        (":%F0%9F%8E%89@", {"password": "🎉"}),
        (":a@b@", {"password": "a@b"}),
        (":pass+word@", {"password": "pass+word"}),
    ],
)
@pytest.mark.parametrize("place", ["h:7", "[::1]:7", "a,b"])
def test_a_url_says_who_asks(place: str, login: str, told: dict[str, str]) -> None:
    target = Target.of(f"redis://{login}{place}")
    assert target.login == told
    assert "@" not in target.where
    keywords = target.connection(target.addresses[0])
    assert {name: keywords[name] for name in told} == told


def test_a_url_of_a_unix_socket_may_have_a_login() -> None:
    target = Target.of("redis+unix://user:s%2Fcret@/run/r.sock?namespace=x")
    address = target.addresses[0]
    assert target.connection(address) == {
        "path": "/run/r.sock",
        "username": "user",
        "password": "s/cret",
    }
    assert target.options.namespace == "x"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h/one", "the path of a redis:// URL ends with the number of a database"),
        ("redis://h/1/2", "the path of a redis:// URL"),
        ("redis://h/-1", "the path of a redis:// URL"),
        ("redis+unix://run/r.sock", "a Unix socket has an absolute path, with three slashes"),
        ("redis+unix://", "a Unix socket has an absolute path"),
        ("redis+sentinel://h", "a sentinel is asked for a service"),
        ("redis+sentinel://h/main/x", "the path of a redis\\+sentinel:// URL"),
    ],
)
def test_a_url_that_cannot_be_read_says_what_to_write(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        RedisTransport(url)


def test_the_namespace_is_before_each_name_on_the_wire() -> None:
    names = RedisTransport(namespace="staging").target.names
    assert names.of("ws:room:é") == "staging:ws:room:é".encode()
    assert names.channel(b"staging:ws:room:a") == "ws:room:a"
    plain = RedisTransport().target.names
    assert plain.channel(plain.of("a:b")) == "a:b"

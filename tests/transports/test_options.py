"""Every option of every transport: as a keyword, in a URL, its default, values without sense."""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Any, Literal

import pytest

from wsrooms.errors import ConfigurationError, UnknownOption
from wsrooms.transports import BrokerTransport, SupportsReplica

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transports.kinds import Kind

WRONG: dict[object, tuple[str, ...]] = {
    float: ("0", "-1", "nan", "inf", "30s", "1,5", "", "5 s"),
    int: ("0", "-1", "1.5", "8MB", "", "1e3"),
    bool: ("perhaps", "", "2", "none"),
    Literal: ("other", "", "Required"),
}
"""What the URL of no option of such a type may say."""


def kind_of(kind: Kind, option: str) -> Any:
    """The type of an option's values; Literal for one of a few words."""
    hint = typing.get_type_hints(kind.options)[option]
    if typing.get_origin(hint) is Literal:
        return Literal
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    return parts[0] if parts else hint


def another(kind: Kind, option: str, folder: Path) -> tuple[str, object]:
    """A value that is not the default: as a URL has it, and as the transport does."""
    default = kind.defaults[option]
    match kind_of(kind, option):
        case typing.Literal:
            hint = typing.get_type_hints(kind.options)[option]
            word = next(each for each in typing.get_args(hint) if each != default)
            return str(word), word
        case only if only is bool:
            return ("no", False) if default else ("yes", True)
        case only if only is float:
            return "1", 1.0
        case only if only is int:
            return "1234", 1234
        case _:
            text = kind.text(option, folder)
            return text, text


def test_each_option_has_the_default_that_is_documented(kind: Kind) -> None:
    options = kind.transport(kind.place).options
    assert {name: getattr(options, name) for name in options.names()} == dict(kind.defaults)


def test_the_keywords_of_a_transport_are_its_options(kind: Kind) -> None:
    keywords = typing.get_type_hints(kind.keywords)
    options = typing.get_type_hints(kind.options)
    names = [field.name for field in dataclasses.fields(kind.options)]
    assert set(keywords) == set(names)
    assert keywords == {name: options[name] for name in names}
    assert kind.keywords.__required_keys__ == frozenset()  # type: ignore[attr-defined]  # a TypedDict


def test_an_option_may_be_a_keyword_or_stand_in_the_url(
    kind: Kind, option: str, tmp_path: Path
) -> None:
    if option in kind.keyword_only:
        with pytest.raises(UnknownOption) as caught:
            kind.transport(f"{kind.place}?{option}=x")
        assert option not in caught.value.known
        return
    text, value = another(kind, option, tmp_path)
    assert value != kind.defaults[option]
    needs = dict(kind.needs.get(option, {}))
    in_url = kind.transport(f"{kind.tls_place}?{option}={text}", **needs)
    as_keyword = kind.transport(kind.tls_place, **{option: value}, **needs)
    assert getattr(in_url.options, option) == value
    assert in_url.options == as_keyword.options
    others = kind.defaults.keys() - {option} - needs.keys()
    assert all(getattr(in_url.options, each) == kind.defaults[each] for each in others)


def test_a_value_without_sense_is_told_with_the_option(kind: Kind, option: str) -> None:
    what = kind_of(kind, option)
    zero = option in kind.may_be_zero
    for text in WRONG.get(what, ())[zero:]:
        with pytest.raises(ConfigurationError, match=f"option '{option}' has to be ") as caught:
            kind.transport(f"{kind.tls_place}?{option}={text}")
        assert repr(text) in str(caught.value) or text in ("0", "-1", "nan", "inf")
    if what in (int, float):
        for value in (
            True,
            -1,
            *(() if zero else (0,)),
            "1",
            float("nan"),
            float("inf"),
            b"1",
            [1],
        ):
            told = f"option '{option}' has to be (0 or )?a positive"
            with pytest.raises(ConfigurationError, match=told):
                kind.transport(kind.place, **{option: value})
    elif what in (bool, str):
        for value in (5, b"sesame", ["sesame"], *(() if what is str else ("sesame",))):
            with pytest.raises(ConfigurationError, match=f"option '{option}' has to be ") as caught:
                kind.transport(kind.tls_place, **{option: value})
            assert option == "namespace" or "sesame" not in str(caught.value)


def test_a_whole_number_is_a_number_of_seconds_too(kind: Kind) -> None:
    assert kind.transport(kind.place, outbox_age=3).options.outbox_age == 3


def test_an_unknown_option_is_told_with_those_that_there_are(kind: Kind) -> None:
    with pytest.raises(UnknownOption, match="did you mean 'namespace'") as caught:
        kind.transport(f"{kind.place}?namspace=a")
    in_url = {name for name in kind.options.names() if name not in kind.keyword_only}
    assert set(caught.value.known) == in_url
    with pytest.raises(UnknownOption) as caught:
        kind.transport(kind.place, pasword="secret")
    assert set(caught.value.known) == set(kind.options.names())
    assert "secret" not in str(caught.value)


def test_an_option_stands_in_a_url_once(kind: Kind) -> None:
    with pytest.raises(ConfigurationError, match="'outbox_age' stands in the URL twice"):
        kind.transport(f"{kind.place}?outbox_age=1&outbox_age=2")


@pytest.mark.parametrize("namespace", ["a b", "a:b", "a/b", "ä", "x" * 65, "a*", "a>", "a\n"])
def test_a_namespace_is_a_plain_word(kind: Kind, namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="option 'namespace' has to be at most 64"):
        kind.transport(kind.place, namespace=namespace)
    plain = kind.transport(kind.place, namespace="Staging-2.eu_west")
    assert plain.options.namespace == "Staging-2.eu_west"


def test_keywords_count_before_the_url(kind: Kind) -> None:
    url = f"{kind.place}?namespace=url&client_name=url&outbox_messages=5"
    transport = kind.transport(url, namespace="keyword")
    options = transport.options
    assert options.namespace == "keyword"
    assert options.outbox_messages == 5
    assert getattr(options, "client_name") == "url"  # noqa: B009 - not of every options class
    assert transport.max_payload == kind.defaults["max_payload"]


def test_a_replica_has_the_same_url_and_options(kind: Kind) -> None:
    transport = kind.transport(f"{kind.place}?namespace=a", max_payload=5)
    assert isinstance(transport, SupportsReplica)
    other = transport.replica()
    assert other is not transport
    assert type(other) is type(transport)
    assert isinstance(other, BrokerTransport)
    assert other.options == transport.options
    assert repr(other) == repr(transport)


@pytest.mark.parametrize(
    ("tls_option", "value"),
    [
        ("ssl_ca_certs", "/no/such/file"),
        ("ssl_certfile", "/no/such/file"),
        ("ssl_keyfile", "/no/such/file"),
        ("ssl_cert_reqs", "none"),
        ("ssl_check_hostname", False),
    ],
)
def test_an_option_of_tls_needs_tls(kind: Kind, tls_option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"'{tls_option}' needs TLS, and .*:// has none"):
        kind.transport(kind.place, **{tls_option: value})
    if value == "/no/such/file":
        with pytest.raises(ConfigurationError, match=f"option '{tls_option}' cannot be read: "):
            kind.transport(kind.tls_place, **{tls_option: value})

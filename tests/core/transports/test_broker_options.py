"""Options of transports come from keywords and the URL, and say what is wrong with them."""

from __future__ import annotations

import contextlib
import typing
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import ConfigurationError, UnknownOption
from wsrooms.transports import BrokerOptions

DETERMINISTIC = settings(derandomize=True, deadline=None)

WHOLE = ("outbox_messages", "outbox_bytes")
SECONDS = (
    "start_timeout",
    "close_timeout",
    "connect_timeout",
    "confirm_timeout",
    "ping_interval",
    "probe_interval",
    "outbox_age",
)


@dataclass(frozen=True, kw_only=True)
class Options(BrokerOptions):
    """Those of some broker, of each kind that there may be."""

    secret: str | None = None
    level: Literal["low", "high"] | None = None
    most: int | None = None
    verify: bool = True
    provider: object | None = None


def test_the_defaults_are_what_the_contract_says() -> None:
    assert BrokerOptions() == BrokerOptions(
        namespace="",
        start_timeout=5.0,
        close_timeout=5.0,
        connect_timeout=2.0,
        confirm_timeout=3.0,
        ping_interval=2.0,
        probe_interval=5.0,
        outbox_messages=10_000,
        outbox_bytes=16_777_216,
        outbox_age=15.0,
        outbox_policy="reject",
    )
    assert BrokerOptions.names() == (
        "namespace",
        *SECONDS[:-1],
        *WHOLE,
        "outbox_age",
        "outbox_policy",
    )


def test_options_come_from_the_url_and_from_keywords_which_count_first() -> None:
    read = Options.read(
        "outbox_messages=5&outbox_age=2.5&namespace=a&verify=no&secret=x%20y&level=low",
        {"namespace": "b", "provider": print},
    )
    assert read == Options(
        outbox_messages=5,
        outbox_age=2.5,
        namespace="b",
        verify=False,
        secret="x y",
        level="low",
        provider=print,
    )


def test_an_empty_query_and_no_keywords_are_the_defaults() -> None:
    assert Options.read("", {}) == Options()


@pytest.mark.parametrize("word", ["true", "TRUE", "yes", "1"])
def test_words_for_yes(word: str) -> None:
    assert Options.read(f"verify={word}", {}).verify is True


@pytest.mark.parametrize("word", ["false", "False", "no", "0"])
def test_words_for_no(word: str) -> None:
    assert Options.read(f"verify={word}", {}).verify is False


# Unknown ones


def test_an_unknown_option_of_the_url_is_told_with_those_that_a_url_may_have() -> None:
    with pytest.raises(UnknownOption) as caught:
        Options.read("outbox_mesages=5", {})
    assert caught.value.option == "outbox_mesages"
    assert caught.value.known == tuple(sorted({*Options.names()} - {"provider"}))
    assert "did you mean 'outbox_messages'" in str(caught.value)


def test_an_option_that_only_a_keyword_can_be_is_unknown_in_a_url() -> None:
    with pytest.raises(UnknownOption, match="unknown option 'provider'"):
        Options.read("provider=x", {})


def test_an_unknown_keyword_is_told_with_all_that_exist() -> None:
    with pytest.raises(UnknownOption) as caught:
        Options.read("", {"pinginterval": 1})
    assert caught.value.known == tuple(sorted(Options.names()))
    assert "did you mean 'ping_interval'" in str(caught.value)


def test_an_option_of_another_broker_is_unknown() -> None:
    with pytest.raises(UnknownOption):
        BrokerOptions.read("verify=1", {})


# Values


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("outbox_messages=many", "option 'outbox_messages' has to be a whole number, not 'many'"),
        ("outbox_messages=1.5", "option 'outbox_messages' has to be a whole number, not '1.5'"),
        ("outbox_messages=", "option 'outbox_messages' has to be a whole number, not ''"),
        ("outbox_age=soon", "option 'outbox_age' has to be a number, not 'soon'"),
        ("outbox_age", "option 'outbox_age' has to be a number, not ''"),
        ("outbox_age=nan", "option 'outbox_age' has to be a positive number, not nan"),
        ("outbox_age=inf", "option 'outbox_age' has to be a positive number, not inf"),
        ("outbox_age=-1", "option 'outbox_age' has to be a positive number, not -1.0"),
        ("outbox_bytes=0", "option 'outbox_bytes' has to be a positive whole number, not 0"),
        ("verify=maybe", "option 'verify' has to be true or false, not 'maybe'"),
        (
            "outbox_policy=drop",
            "option 'outbox_policy' has to be 'reject' or 'drop_oldest', not 'drop'",
        ),
        ("most=0", "option 'most' has to be a positive whole number, not 0"),
        ("level=middle", "option 'level' has to be 'low' or 'high', not 'middle'"),
        ("outbox_age=1&outbox_age=2", "option 'outbox_age' stands in the URL twice"),
        (
            "namespace=a:b",
            "option 'namespace' has to be at most 64 letters, digits, '.', '_' and '-', not 'a:b'",
        ),
    ],
)
def test_a_value_of_the_url_that_makes_no_sense_is_told(query: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options.read(query, {})
    assert str(caught.value) == told


def test_types_are_looked_up_for_the_first_transport_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # That takes milliseconds: many transports made in one turn would block the loop.
    Options.read("most=1", {})
    monkeypatch.delattr(typing, "get_type_hints")
    assert Options.read("most=2", {}).most == 2


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), float("inf"), True, "1", None])
def test_seconds_are_positive_numbers(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError) as caught:
        BrokerOptions(**options)
    assert str(caught.value) == f"option {name!r} has to be a positive number, not {value!r}"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [0, -1, 1.0, 0.5, True, "1", None])
def test_bounds_are_positive_whole_numbers(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError) as caught:
        BrokerOptions(**options)
    assert str(caught.value) == f"option {name!r} has to be a positive whole number, not {value!r}"


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_may_be_whole(name: str) -> None:
    options: dict[str, Any] = {name: 3}
    assert getattr(BrokerOptions(**options), name) == 3


@pytest.mark.parametrize("value", ["a b", "é", "a/b", "a" * 65, "a\n", 5, None])
def test_a_namespace_is_a_short_plain_word(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="option 'namespace' has to be at most 64"):
        BrokerOptions(namespace=value)


@pytest.mark.parametrize("value", ["", "a", "Aa0._-", "a" * 64])
def test_a_namespace_that_is_a_short_plain_word_is_taken(value: str) -> None:
    assert BrokerOptions(namespace=value).namespace == value


@DETERMINISTIC
@given(st.text())
def test_any_query_is_read_or_refused(query: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(Options.read(query, {}), Options)

"""How a case is run, whatever it is about: its name, its needs, its deadline, its errors."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.bench import Bench, Carrier, Good
from wsrooms.errors import TransportUnavailable
from wsrooms.testing import run
from wsrooms.testing.conformance import (
    ConformanceFailed,
    MemoryRig,
    NotApplicable,
    Rig,
    cases,
)
from wsrooms.testing.conformance.case import Need, case
from wsrooms.transports import MemoryBus, MemoryTransport

if TYPE_CHECKING:
    from wsrooms.testing.conformance.trial import Trial
    from wsrooms.transports import WsBroadcastTransport


def test_every_case_has_a_number_a_name_and_a_sentence_of_its_own() -> None:
    every = cases()
    numbers = [each.number for each in every]
    assert numbers == sorted(numbers)
    # What a broker refuses are four cases, and what it denies are two.
    several = {number for number in numbers if numbers.count(number) > 1}
    assert several == {50, 51}
    assert set(numbers) == set(range(1, 59))
    assert len({each.name for each in every}) == len(every)
    for each in every:
        assert re.fullmatch(r"[a-z0-9_]+", each.name)
        assert re.match(r"[A-Z0-9`].*\.", each.sentence, re.DOTALL), each
        assert str(each) == each.name
        assert repr(each) == f"<Case {each.number} {each.name}>"


class Least(Rig):
    """What an author must write, and nothing more."""

    name = "the least"

    def __init__(self) -> None:
        self.bus = MemoryBus()

    def transport(self, **options: Any) -> WsBroadcastTransport:
        return Plain(MemoryTransport(self.bus))


class Plain:
    def __init__(self, carrier: MemoryTransport) -> None:
        self.publish = carrier.publish
        self.subscribe = carrier.subscribe
        self.unsubscribe = carrier.unsubscribe


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        ("proxy", "the rig has no proxy"),
        ("broker", "the rig has no broker"),
        ("publish_raw", "the rig has no publish_raw"),
        ("subscriptions", "the rig has no subscriptions"),
        ("forget", "the rig has no forget"),
        ("login", "the rig has no login"),
        ("misfit", "the rig has no misfit"),
        ("small_buffers", "the rig has no small_buffers"),
        ("address", "the rig has no address"),
        ("counters", "the rig has no counters"),
        ("max_channel", "the rig has no max_channel"),
        ("lifecycle", "the transport has no lifecycle"),
        ("state", "the transport has no state"),
        ("gaps", "the transport has no gaps"),
        ("stats", "the transport has no stats"),
        ("max_payload", "the transport has no max_payload"),
    ],
)
async def test_what_is_missing_makes_a_case_not_applicable_with_the_reason(
    need: Need, reason: str
) -> None:
    @case(1, needs=(need,))
    async def needs_it(trial: Trial) -> None:
        """It is there."""
        raise AssertionError("it was run")

    with pytest.raises(NotApplicable) as skipped:
        await needs_it.run(Least())
    assert skipped.value.reason == str(skipped.value) == f"the least: {reason}"


@pytest.mark.parametrize(
    "need", ["publish_raw", "counters", "max_channel", "lifecycle", "gaps", "stats", "max_payload"]
)
async def test_what_is_there_makes_it_applicable(need: Need) -> None:
    ran: list[Trial] = []

    @case(1, needs=(need,))
    async def needs_it(trial: Trial) -> None:
        """It is there."""
        ran.append(trial)

    await needs_it.run(Bench())
    assert len(ran) == 1


async def test_what_only_tagged_has_does_not_count_as_the_transports() -> None:
    @case(1, needs=("state",))
    async def needs_it(trial: Trial) -> None:
        """It is there."""

    with pytest.raises(NotApplicable, match="the transport has no state"):
        await needs_it.run(Bench())


@pytest.mark.parametrize("options", [{"outbox_age": 1.0}, {"through_proxy": True}])
async def test_an_option_or_a_proxy_that_the_rig_lacks_makes_it_not_applicable(
    options: dict[str, Any],
) -> None:
    @case(1)
    async def wants_it(trial: Trial) -> None:
        """It is there."""
        await trial.instance(**options)

    with pytest.raises(NotApplicable, match=r"outbox_age|proxy"):
        await wants_it.run(Bench())


async def test_a_small_limit_is_tried_and_nothing_beyond_it() -> None:
    class Small(Carrier):
        max_payload = 1000

    class OfSmall(Good):
        carrier = Small

    for each in cases():
        if each.name in ("payloads", "oversized_payload"):
            await each.run(Bench(OfSmall))


async def test_what_the_transport_raises_is_a_failure_of_the_case_with_its_cause() -> None:
    class DoesNotStart(Good):
        async def start(self) -> None:
            raise TransportUnavailable("no broker at nowhere:1")

    (first, *_) = cases()
    with pytest.raises(ConformanceFailed) as failed:
        await first.run(Bench(DoesNotStart))
    assert failed.value.case == first.name
    assert failed.value.told == "TransportUnavailable: no broker at nowhere:1"
    assert str(failed.value) == f"{first.name}: {failed.value.told}"
    assert isinstance(failed.value.__cause__, TransportUnavailable)


def test_a_case_that_does_not_end_says_what_it_waited_for() -> None:
    @case(1, deadline=7.0)
    async def waits(trial: Trial) -> None:
        """It ends."""
        await trial.until(lambda: False, "the end of time", timeout=60.0)

    with pytest.raises(
        ConformanceFailed, match=r"did not end within 7 s; it waited for the end of time"
    ):
        run(waits.run(MemoryRig()))


async def test_a_timeout_of_the_transport_is_not_taken_for_the_deadline() -> None:
    @case(1)
    async def fails(trial: Trial) -> None:
        """It ends."""
        raise TimeoutError("the socket was silent")

    with pytest.raises(ConformanceFailed, match="TimeoutError: the socket was silent"):
        await fails.run(MemoryRig())


async def test_what_is_not_refused_or_with_another_error_fails() -> None:
    @case(1)
    async def refuses(trial: Trial) -> None:
        """It refuses."""
        await trial.refused(LookupError, lambda: None)

    @case(2)
    async def refuses_otherwise(trial: Trial) -> None:
        """It refuses."""
        await trial.refused((LookupError, OSError), lambda: int("x"))

    with pytest.raises(ConformanceFailed, match="it was not refused with LookupError"):
        await refuses.run(MemoryRig())
    with pytest.raises(ConformanceFailed, match=r"ValueError .* instead of LookupError or OSError"):
        await refuses_otherwise.run(MemoryRig())


async def test_an_outage_excuses_warnings_in_the_log_and_no_errors() -> None:
    @case(1)
    async def breaks(trial: Trial) -> None:
        """It complains."""
        trial.broke("a cut")
        logging.getLogger("wsrooms").warning("the link is down")
        await asyncio.sleep(0)

    @case(2)
    async def fails(trial: Trial) -> None:
        """It complains."""
        trial.broke("a cut")
        logging.getLogger("wsrooms").error("a bug")

    await breaks.run(MemoryRig())
    with pytest.raises(ConformanceFailed, match="ERROR: a bug"):
        await fails.run(MemoryRig())


async def test_only_the_records_that_a_case_expects_are_excused() -> None:
    @case(1)
    async def expects(trial: Trial) -> None:
        """It complains of one thing."""
        trial.expect_logs("refused")
        logging.getLogger("wsrooms").error("it was refused")
        logging.getLogger("wsrooms").error("it was lost")

    with pytest.raises(ConformanceFailed) as failed:
        await expects.run(MemoryRig())
    assert "it was lost" in failed.value.told
    assert "refused" not in failed.value.told

"""The link makes of any three-method class a bus: what holds of it as a whole."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import OutcomeUnknown, TransportUnavailable
from wsrooms.receipt import FINISHED
from wsrooms.transports import MemoryTransport
from wsrooms.transports.calls import as_transport_error

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Deferred, Linked, Stateful, Sync, Turns


def ignore(payload: str) -> None: ...


async def test_it_links_a_real_transport(linked: Linked) -> None:
    transport = MemoryTransport()
    other = transport.replica()
    bus, _ = linked(transport)
    await bus.start()
    heard: list[str] = []
    bus.subscribe("c", heard.append)
    other.publish("c", "x")
    await bus.close(1)
    assert heard == ["x"]
    assert transport.bus.channels() == {}


def test_without_a_loop_a_sync_transport_works(sync: type[Sync], linked: Linked) -> None:
    transport = sync()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert bus.publish("c", "x") is FINISHED
    bus.unsubscribe("c")
    assert events.told == [("subscribed", "c")]


def test_any_error_becomes_a_transport_error_that_names_it() -> None:
    known = OutcomeUnknown("?")
    assert as_transport_error(known) is known
    strange = ZeroDivisionError("by zero")
    error = as_transport_error(strange)
    assert isinstance(error, TransportUnavailable)
    assert str(error) == "ZeroDivisionError: by zero"
    assert error.__cause__ is strange


async def test_the_limit_of_the_transport_is_asked_each_time(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    bus, _ = linked(transport)
    assert bus.max_payload is None
    transport.max_payload = 5  # type: ignore[attr-defined]  # some know it when connected
    assert bus.max_payload == 5


async def test_the_figures_of_the_transport_are_among_those_of_the_link(
    stateful: type[Stateful], linked: Linked
) -> None:
    bus, _ = linked(stateful())
    assert bus.stats() == {"outbox": 0, "outbox_bytes": 0, "reconnects": 7}


STEPS = st.one_of(
    st.tuples(st.sampled_from(["wish", "unwish"]), st.sampled_from("ab")),
    st.tuples(st.sampled_from(["ok", "fail", "turn"]), st.integers(0, 2)),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=25))
def test_after_any_interleaving_the_transport_holds_what_is_wished_and_calls_never_overlap(
    deferred: type[Deferred], linked: Linked, turns: Turns, steps: list[tuple[str, Any]]
) -> None:
    async def run() -> None:
        transport = deferred()
        bus, events = linked(transport)
        wishes: set[str] = set()

        events.on_refused = wishes.discard
        for what, argument in steps:
            if what == "wish":
                wishes.add(argument)
                bus.subscribe(argument, ignore)
            elif what == "unwish":
                wishes.discard(argument)
                bus.unsubscribe(argument)
            elif what == "turn":
                await turns(argument)
            elif transport.open:
                call = list(transport.open)[argument % len(transport.open)]
                if not transport.open[call].done():
                    transport.end(*call, error=OSError() if what == "fail" else None)
        for _ in range(10):
            await turns()
            for call, future in list(transport.open.items()):
                if not future.done():
                    transport.end(*call)
        assert not transport.open
        assert transport.held == wishes
        assert {channel for channel in "ab" if bus.ready(channel)} == wishes
        assert set(bus._channels) == wishes
        assert asyncio.all_tasks() == {asyncio.current_task()}

    logging.getLogger("wsrooms.test").disabled = True
    try:
        asyncio.run(run())
    finally:
        logging.getLogger("wsrooms.test").disabled = False

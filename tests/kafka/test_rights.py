"""What a user of Kafka may do: what is denied is told by its name, and what is allowed goes on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import KafkaServer
from tests.brokers.kafka_rights import Operation
from tests.deadlines import DEADLINE, promised
from tests.kafka.crew import Hearing, error_of
from tests.kafka.servers import fresh, secured_server
from tests.transports.told import Told
from wsrooms.errors import PermissionDenied, TransportUnavailable
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ, WRITE, DESCRIBE = Operation.READ, Operation.WRITE, Operation.DESCRIBE
CREATE, ALTER = Operation.CREATE, Operation.ALTER


@dataclass
class Place:
    """A topic of a test, and a user who may do nothing with it.

    Attributes:
        server: Where it is.
        namespace: Says the topic.
        topic: Its name.
        user: Theirs.
    """

    server: KafkaServer
    namespace: str
    topic: str
    user: str

    def transport(self, **options: Any) -> KafkaTransport:
        """That user's."""
        login: dict[str, Any] = {"username": self.user, "password": "p"}
        return KafkaTransport(
            self.server.url,
            namespace=self.namespace,
            sasl_mechanism="SCRAM-SHA-256",
            **login,
            **options,
        )

    async def allow(self, *operations: Operation) -> None:
        await self.server.rights.grant(self.user, self.topic, *operations)

    async def forbid(self) -> None:
        await self.server.rights.revoke(self.user)

    @asynccontextmanager
    async def somebody_else(self, **options: Any) -> AsyncIterator[KafkaTransport]:
        """Who may do everything there, and has started: so the topic is there, too."""
        other = Place(self.server, self.namespace, self.topic, fresh())
        await self.server.rights.add_user(other.user, "p")
        await other.allow(Operation.ALL)
        transport = other.transport(**options)
        await transport.start()
        try:
            yield transport
        finally:
            await transport.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with secured_server() as server:
        namespace = fresh()
        made = Place(server, namespace, f"wsrooms-{namespace}", fresh())
        await server.rights.add_user(made.user, "p")
        yield made


@pytest.mark.parametrize("idempotence", [False, True])
async def test_a_user_with_the_rights_of_the_documentation_needs_no_others(
    place: Place, *, idempotence: bool
) -> None:
    await place.allow(READ, WRITE, CREATE, ALTER)
    for partitions in (2, 3):  # made, and then repaired
        transport, hearing = (
            place.transport(idempotence=idempotence, partitions=partitions),
            Hearing(),
        )
        other = place.transport()
        await transport.start()
        await other.start()
        await other.subscribe("c", hearing)
        assert await error_of(transport.publish("c", "x")) is None
        await hearing.until("x")
        await transport.close()
        await other.close()
        async with place.server.admin() as admin:
            [found] = await admin.describe_topics([place.topic])
        assert len(found["partitions"]) == max(partitions, other.options.partitions)


async def test_a_topic_that_is_there_is_used_without_a_right_to_make_it_or_to_repair_it(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with place.somebody_else(partitions=2) as other:
        await place.allow(READ, WRITE)
        for options, warnings in (({}, 1), ({"create_topic": False}, 0)):
            caplog.clear()
            transport, hearing = place.transport(**options), Hearing()
            await transport.start()
            await transport.subscribe("c", hearing)
            await other.publish("c", "x")
            await hearing.until("x")
            await transport.close()
            said = [
                each.getMessage() for each in caplog.records if place.topic in each.getMessage()
            ]
            assert len(said) == warnings
            assert all("has fewer partitions than option partitions=8" in each for each in said)


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ((), "describing"),
        ((DESCRIBE,), "denies"),
        ((WRITE,), "denies reading"),
        ((CREATE, WRITE), "denies reading"),
    ],
)
async def test_a_right_that_lacks_is_told_at_the_start(
    place: Place, allowed: tuple[Operation, ...], told: str
) -> None:
    async with place.somebody_else():
        if allowed:
            await place.allow(*allowed)
        began = asyncio.get_running_loop().time()
        with pytest.raises(PermissionDenied, match=told) as caught:
            await place.transport().start()
        assert asyncio.get_running_loop().time() - began < promised(
            5.0
        )  # it is not for time to tell
        assert place.topic in str(caught.value)
        assert place.server.url in str(caught.value)


async def test_a_topic_that_is_missing_and_may_not_be_made_is_told(place: Place) -> None:
    await place.allow(DESCRIBE, READ, WRITE)
    with pytest.raises(PermissionDenied, match="denies creating") as caught:
        await place.transport().start()
    assert place.topic in str(caught.value)
    with pytest.raises(TransportUnavailable, match="create_topic is off"):
        await place.transport(create_topic=False).start()


async def test_whoever_may_not_write_hears_and_is_told_with_each_message(place: Place) -> None:
    async with place.somebody_else() as other:
        await place.allow(DESCRIBE, READ)
        transport, hearing = place.transport(probe_interval=0.3), Hearing()
        told = Told(transport)
        await transport.start()
        await transport.subscribe("c", hearing)
        receipts = [transport.publish("c", str(number)) for number in range(20)]
        for receipt in receipts:
            error = await error_of(receipt)
            assert isinstance(error, PermissionDenied)
            assert error.channel == "c"
            assert place.topic in str(error)
            assert "writing" in str(error)
        for number in range(5):  # for longer than its probes would take
            await other.publish("c", str(number))
            await hearing.until(str(number))
            await asyncio.sleep(0.15)
        assert [state for state, _ in told.states] == ["up"]
        stats = transport.stats()
        assert (stats["published"], stats["reconnects"], stats["probes_lost"]) == (0, 0, 0)
        await transport.close()


async def test_whoever_may_not_write_is_denied_with_idempotence_too(place: Place) -> None:
    async with place.somebody_else():
        await place.allow(DESCRIBE, READ)
        transport = place.transport(idempotence=True)
        try:
            await transport.start()
        except PermissionDenied as error:
            assert "writing" in str(error)  # noqa: PT017 - it may also be told with the message
        else:
            assert isinstance(await error_of(transport.publish("c", "x")), PermissionDenied)
        await transport.close()


async def test_the_right_to_write_is_taken_away_and_given_back(place: Place) -> None:
    async with place.somebody_else() as other:
        await place.server.rights.grant("*", place.topic, READ)  # which is not taken away
        await place.allow(WRITE)
        transport, hearing = place.transport(), Hearing()
        told = Told(transport)
        await transport.start()
        await other.subscribe("c", hearing)
        await transport.publish("c", "before")
        await place.forbid()
        assert isinstance(await error_of(transport.publish("c", "denied")), PermissionDenied)
        await place.allow(WRITE)
        assert await error_of(transport.publish("c", "after")) is None
        assert await hearing.until("after") == ["before", "after"]
        assert [state for state, _ in told.states] == ["up"]
        await transport.close()


async def test_the_right_to_read_is_taken_away_and_given_back_and_nothing_is_lost(
    place: Place,
) -> None:
    async with place.somebody_else() as other:
        await place.allow(DESCRIBE, READ, WRITE)
        transport, hearing = place.transport(), Hearing()
        told = Told(transport)
        await transport.start()
        await transport.subscribe("c", hearing)
        await other.publish("c", "0")
        await hearing.until("0")
        await place.forbid()
        await place.allow(DESCRIBE, WRITE)
        words = await told.until("down")
        assert words is not None
        assert "denies reading" in words
        assert place.topic in words
        for number in range(1, 20):
            await other.publish("c", str(number))
        await place.allow(READ)
        await told.until("up")
        await hearing.until("19")
        assert hearing.heard == [str(number) for number in range(20)]
        assert told.gaps == []
        await transport.close()


async def test_whoever_loses_all_rights_is_down_says_why_and_comes_back(place: Place) -> None:
    async with place.somebody_else() as other:
        await place.allow(DESCRIBE, READ, WRITE)
        transport, hearing = place.transport(), Hearing()
        told = Told(transport)
        await transport.start()
        await transport.subscribe("c", hearing)
        await place.forbid()
        words = await told.until("down")
        assert words is not None
        assert "denies" in words
        async with asyncio.timeout(DEADLINE):
            await other.publish("c", "meanwhile")
        await place.allow(DESCRIBE, READ, WRITE)
        await told.until("up")
        assert await hearing.until("meanwhile") == ["meanwhile"]
        await transport.close()

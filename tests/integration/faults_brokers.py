"""What only the broker itself can do to its clients; a class for each kind that can.

A new transport adds one, and a line in ``breaking``: until then the tests that need it are
skipped with that as their reason.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.brokers.kafka_rights import Operation
from tests.deadlines import DEADLINE
from tests.integration.buses.kafka import LASTING, KafkaBroker
from tests.integration.buses.nats import OPERATOR, NatsBroker
from tests.integration.buses.redis import CLIENT_NAME, RedisBroker

if TYPE_CHECKING:
    from tests.integration.buses import Broker

__all__ = ["Breaking", "Drop", "breaking"]

WRITE_DEADLINE = "1s"
"""How long a NATS server bears with a client that reads nothing."""


NEEDED = (Operation.READ, Operation.WRITE, Operation.CREATE, Operation.ALTER)
"""What an instance does with its topic, at Kafka."""


class Drop(NamedTuple):
    """A way to end one connection of each instance.

    Attributes:
        name: For the table.
        deafens: Whether an instance hears nothing meanwhile.
        do: Does it; returns how many were ended.
    """

    name: str
    deafens: bool
    do: Callable[[], Awaitable[int]]


class Breaking(ABC):
    """A broker that turns against its clients.

    Attributes:
        login: User and password that instances are to use, once ``allow`` was called.
        given: Options that they need for that.
        unforgetting: Why it cannot ``forget``, if it cannot.
        ends_logins: Whether ``revoke`` ends connections also where nothing is restarted.
        forbids_channels: Whether ``forbid`` can.
        refusal: What the health of an instance says whose login is refused.
        drops: The ways to end connections, if there is any; the last one deafens.
    """

    login: tuple[str, str] = ("fleet", "a secret")
    given: Mapping[str, str | float] = MappingProxyType({})
    refusal: str
    drops: Sequence[Drop]

    unforgetting: str | None = None
    ends_logins: bool = True
    forbids_channels: bool = True

    @abstractmethod
    async def forget(self) -> None:
        """Lose all that is stored, unless it is ``unforgetting``."""

    @abstractmethod
    async def allow(self) -> None:
        """Let ``login`` in."""

    @abstractmethod
    async def revoke(self, *, restart: bool) -> None:
        """Let ``login`` in no more, by a restart or while it runs; see ``ends_logins``."""

    @abstractmethod
    async def forbid(self, channel: str, *, but: Sequence[str]) -> None:
        """Let ``login`` use ``channel`` no more; ``allow`` takes it back.

        Args:
            channel: As the core names it.
            but: Patterns of all that it may use still, for a broker that must be told those.
        """

    @abstractmethod
    async def limit_buffers(self, size: int) -> None:
        """End from now on a subscriber for which more than ``size`` bytes are waiting.

        A message of nearly so many still passes. Before instances are there: some brokers
        must be started again for it. Skips the test where the broker keeps nothing for anybody.
        """


class RedisBreaking(Breaking):
    """Redis, or what speaks as it does."""

    refusal = "refused the login"

    def __init__(self, broker: RedisBroker) -> None:
        self._server = broker.server
        self._client = broker.client
        self.drops = (
            Drop("CLIENT KILL of publishers", False, partial(self._drop, subscribing=False)),
            Drop("CLIENT KILL of subscribers", True, partial(self._drop, subscribing=True)),
        )

    async def forget(self) -> None:
        await self._client.flushall()

    async def _drop(self, *, subscribing: bool) -> int:
        dropped = [
            each["id"]
            for each in await self._client.client_list()
            if each["name"] == CLIENT_NAME and (int(each["sub"]) > 0) == subscribing
        ]
        for id in dropped:
            await self._client.client_kill_filter(_id=id)
        return len(dropped)

    async def allow(self) -> None:
        user, password = self.login
        await self._client.acl_setuser(
            user,
            enabled=True,
            passwords=[f"+{password}"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )

    async def revoke(self, *, restart: bool) -> None:
        if restart:
            await self._server.restart()  # its users are not stored
            return
        user, _ = self.login
        await self._client.acl_setuser(user, enabled=False, reset=True)
        for each in await self._client.client_list():
            if each["user"] == user:
                await self._client.client_kill_filter(_id=each["id"])

    async def forbid(self, channel: str, *, but: Sequence[str]) -> None:
        # Redis itself ends the connections that are subscribed to what is forbidden now.
        await self._client.acl_setuser(
            self.login[0],
            enabled=True,
            reset_channels=True,
            keys=["*"],
            channels=list(but),
            categories=["+@all"],
        )

    async def limit_buffers(self, size: int) -> None:
        limit = f"pubsub {size} {size // 2} 1"
        await self._client.config_set("client-output-buffer-limit", limit)


class NatsBreaking(Breaking):
    """NATS, where one connection of each instance does everything."""

    refusal = "Authorization Violation"
    unforgetting = "NATS stores nothing of ours"

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self.drops = (Drop("KICK", True, self._kick),)

    async def forget(self) -> None:
        raise NotImplementedError

    async def _kick(self) -> int:
        server = (await self._broker.server.monitor("/varz"))["server_id"]
        ids = await self._broker.connection_ids()
        async with self._broker.client(OPERATOR) as operator:
            for id in ids:
                request = json.dumps({"cid": id}).encode()
                kick = f"$SYS.REQ.SERVER.{server}.KICK"
                await operator.request(kick, request, timeout=DEADLINE)
        return len(ids)

    async def allow(self) -> None:
        self._broker.settings.login = self.login
        self._broker.settings.denied = ()
        await self._broker.reload()

    async def revoke(self, *, restart: bool) -> None:
        self._broker.settings.login = None
        await (self._broker.restart() if restart else self._broker.reload())

    async def forbid(self, channel: str, *, but: Sequence[str]) -> None:
        # Not by what it may use still: a pattern of NATS matches whole tokens, and no prefix.
        self._broker.settings.denied = (channel,)
        await self._broker.reload()

    async def limit_buffers(self, size: int) -> None:
        self._broker.settings.more.update(
            max_payload=size, max_pending=size, write_deadline=WRITE_DEADLINE
        )
        await self._broker.restart()  # it cannot change these while it runs


class KafkaBreaking(Breaking):
    """Apache Kafka, which ends no connection but of those whose login is too old."""

    refusal = "refused the login"
    drops = ()
    unforgetting = "what is lost of a log may be unread: test_faults_kafka.py has that"
    ends_logins = False  # who is in stays until the connection ends
    forbids_channels = False  # its rights are those of the topic, which has all channels

    def __init__(self, broker: KafkaBroker, mechanism: str = LASTING) -> None:
        self.login = (broker.own, "a secret")  # users outlive a test, as their server does
        self.given: Mapping[str, str | float] = MappingProxyType({"sasl_mechanism": mechanism})
        self._mechanism = mechanism
        self._broker = broker
        self._server = broker.server

    async def forget(self) -> None:
        raise NotImplementedError

    async def allow(self) -> None:
        user, password = self.login
        await self._server.rights.add_user(user, password, self._mechanism)
        await self.permit()

    async def permit(self) -> None:
        """Let ``login`` do what an instance does with the topic of the test."""
        await self.deny()
        await self._server.rights.grant(self.login[0], self._broker.topic(), *NEEDED)

    async def deny(self) -> None:
        """Let ``login`` come in, and do nothing."""
        await self._server.rights.revoke(self.login[0])

    async def revoke(self, *, restart: bool) -> None:
        await self._server.rights.remove_user(self.login[0], self._mechanism)
        if restart:
            await self._server.restart()

    async def forbid(self, channel: str, *, but: Sequence[str]) -> None:
        raise NotImplementedError

    async def limit_buffers(self, size: int) -> None:
        pytest.skip("Kafka keeps nothing for whoever reads: test_faults_kafka.py has who is slow")


def breaking(broker: Broker) -> Breaking:
    """What ``broker`` can do to its clients; skips the test if nobody has taught it."""
    if isinstance(broker, RedisBroker):
        return RedisBreaking(broker)
    if isinstance(broker, NatsBroker):
        return NatsBreaking(broker)
    if isinstance(broker, KafkaBroker):
        return KafkaBreaking(broker)
    pytest.skip(f"nothing is known of how to make {broker.name} turn against its clients")

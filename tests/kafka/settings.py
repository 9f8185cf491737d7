"""Settings of a running Kafka, and of its topics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.brokers import KafkaServer

__all__ = ["set_at_broker", "set_at_topic", "settings_of"]

RESOURCES: Any = import_module("aiokafka.admin.config_resource")  # which has no types


async def set_at_topic(server: KafkaServer, topic: str, settings: dict[str, str]) -> None:
    """Let the topic have these, and its broker's own for all others."""
    await _set(server, RESOURCES.ConfigResourceType.TOPIC, topic, settings)


async def set_at_broker(server: KafkaServer, settings: dict[str, str]) -> None:
    """Let the broker have these from now on; {}: what it was started with."""
    await _set(server, RESOURCES.ConfigResourceType.BROKER, str(server.node), settings)


async def _set(server: KafkaServer, kind: Any, name: str, settings: dict[str, str]) -> None:
    async with server.admin() as admin:
        answers = await admin.alter_configs([RESOURCES.ConfigResource(kind, name, settings)])
    refusals = [words for answer in answers for code, words, *_ in answer.resources if code]
    assert not refusals


async def settings_of(server: KafkaServer, topic: str) -> dict[str, str]:
    """All that hold for a topic."""
    resource = RESOURCES.ConfigResource(RESOURCES.ConfigResourceType.TOPIC, topic)
    async with server.admin() as admin:
        client: Any = admin
        [answer] = await client.describe_configs([resource])
    [(*_, entries)] = answer.resources
    return {name: value for name, value, *_ in entries}

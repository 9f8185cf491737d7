import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka.admin.config_resource import ConfigResource

class NewTopic:
    def __init__(
        self,
        name: str,
        num_partitions: int,
        replication_factor: int,
        replica_assignments: dict[int, list[int]] | None = ...,
        topic_configs: dict[str, str] | None = ...,
    ) -> None: ...

class NewPartitions:
    def __init__(self, total_count: int) -> None: ...

class RecordsToDelete:
    def __init__(self, before_offset: int) -> None: ...

class TopicsAnswer:
    topic_errors: Sequence[Sequence[Any]]

class AIOKafkaAdminClient:
    def __init__(
        self,
        *,
        bootstrap_servers: str | list[str] = ...,
        client_id: str = ...,
        request_timeout_ms: int = ...,
        metadata_max_age_ms: int = ...,
        security_protocol: str = ...,
        ssl_context: ssl.SSLContext | None = ...,
        sasl_mechanism: str = ...,
        sasl_plain_username: str | None = ...,
        sasl_plain_password: str | None = ...,
    ) -> None: ...
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def create_topics(self, new_topics: list[NewTopic]) -> TopicsAnswer: ...
    async def delete_topics(self, topics: list[str]) -> Any: ...
    async def list_topics(self) -> list[str]: ...
    async def describe_topics(self, topics: list[str] | None = ...) -> list[dict[str, Any]]: ...
    async def describe_cluster(self) -> dict[str, Any]: ...
    async def create_partitions(
        self, topic_partitions: dict[str, NewPartitions]
    ) -> TopicsAnswer: ...
    async def delete_records(self, records_to_delete: dict[Any, RecordsToDelete]) -> Any: ...
    async def describe_configs(
        self, config_resources: list[ConfigResource], include_synonyms: bool = ...
    ) -> list[Any]: ...
    async def alter_configs(self, config_resources: list[ConfigResource]) -> Any: ...

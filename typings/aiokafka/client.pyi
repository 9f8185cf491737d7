from collections.abc import Awaitable, Callable
from typing import Any

class ClusterMetadata:
    def update_metadata(self, metadata: Any) -> None: ...

class AIOKafkaClient:
    bootstrap: Callable[[], Awaitable[None]]
    cluster: ClusterMetadata
    async def close(self) -> None: ...

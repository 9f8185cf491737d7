from collections.abc import Sequence
from typing import Any

class MetadataRequest:
    def __init__(self, topics: list[str] | None) -> None: ...

class MetadataResponse:
    brokers: Sequence[tuple[Any, ...]]
    def to_object(self) -> dict[str, Any]: ...

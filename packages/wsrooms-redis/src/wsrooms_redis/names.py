"""What a channel is called at Redis: itself, behind the namespace."""

from __future__ import annotations

__all__ = ["Names"]


class Names:
    """The names of one namespace."""

    def __init__(self, namespace: str) -> None:
        """Prepare the prefix: the namespace and a colon, where there is one."""
        self.prefix: str = f"{namespace}:" if namespace else ""
        self._cut = len(self.prefix)

    def of(self, channel: str) -> bytes:
        """What ``channel`` is called at Redis."""
        return (self.prefix + channel).encode()

    def channel(self, name: bytes) -> str:
        """The channel that is called so."""
        return name.decode()[self._cut :]

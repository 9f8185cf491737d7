"""The programs of one fleet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.machine import Cores
from benchmarks.harness.server import ServerProcess

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.server import Process

__all__ = ["Fleet"]


class Fleet:
    """A broker and two instances of a server, until it is stopped; without a broker one instance.

    The one whose clients hear has a core; all others are beside the load: they have less to do.

    Attributes:
        broker: What joins them; nobody else uses it.
        talks: The instance whose clients send.
        hears: The instance whose clients receive.
    """

    def __init__(self, contender: Contender, cores: Cores) -> None:
        """Start all three.

        Raises:
            Failed: One of them does not.
        """
        self._contender, self._cores = contender, cores
        with contextlib.ExitStack() as started:
            self.broker = ALL[contender.broker](cores, contender.name)
            started.callback(lambda: self.broker.stop())
            alone = contender.broker == "memory"
            if not alone:
                self.talks = started.enter_context(self._instance("talks", beside_load=True))
            self.hears = started.enter_context(self._instance("hears"))
            if alone:
                self.talks = self.hears
            self._started = started.pop_all()

    @property
    def programs(self) -> list[Process]:
        """Whose CPU is counted: the one that hears first, the broker last."""
        return [self.hears] if self.talks is self.hears else [self.hears, self.talks, self.broker]

    def another(
        self, number: int = 1, *, pinned: bool = True, namespace: str = ""
    ) -> ServerProcess:
        """One more instance, which the caller stops.

        Args:
            number: It counts from 1.
            pinned: It is on the core of the one that hears; else where the kernel puts it.
            namespace: Of which fleet it is on this broker; else it is of this one.

        Raises:
            Failed: It does not start.
        """
        cores = self._cores if pinned else Cores(None, None)
        return self._instance(f"another-{number}", cores=cores, namespace=namespace)

    def stop(self) -> None:
        """End all."""
        self._started.close()

    def _instance(
        self,
        role: str,
        *,
        beside_load: bool = False,
        cores: Cores | None = None,
        namespace: str = "",
    ) -> ServerProcess:
        url = self.broker.in_namespace(namespace) if namespace else self.broker.url
        places = {"broker": url, "broker_address": self.broker.address}
        return ServerProcess(
            self._contender,
            cores or self._cores,
            role=role,
            beside_load=beside_load,
            places=places,
        )

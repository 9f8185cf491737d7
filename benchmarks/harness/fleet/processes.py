"""The programs of one fleet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.server import ServerProcess

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.machine import Cores

__all__ = ["Fleet"]


class Fleet:
    """A broker and two instances of a server, until it is stopped.

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
            self.broker = BROKERS[contender.broker](cores, contender.name)
            started.callback(lambda: self.broker.stop())
            self.talks = started.enter_context(self._instance("talks", beside_load=True))
            self.hears = started.enter_context(self._instance("hears"))
            self._started = started.pop_all()

    def another(self) -> ServerProcess:
        """One more instance, which the caller stops; it is on the core of the one that hears.

        Raises:
            Failed: It does not start.
        """
        return self._instance("another")

    def stop(self) -> None:
        """End all."""
        self._started.close()

    def _instance(self, role: str, *, beside_load: bool = False) -> ServerProcess:
        places = {"broker": self.broker.url, "broker_address": self.broker.address}
        return ServerProcess(
            self._contender, self._cores, role=role, beside_load=beside_load, places=places
        )

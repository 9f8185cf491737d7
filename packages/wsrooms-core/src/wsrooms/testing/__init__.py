"""Test what you build with wsrooms: handlers, whole apps with clients, and time itself.

Independent of any test framework. :func:`connect_client` speaks to an app through real
frames without a port; :func:`run` runs a coroutine on virtual time; :class:`History`
judges what a run of several instances saw.
"""

from wsrooms.testing.bus import Lost, SimulatedBus
from wsrooms.testing.client import Client, connect_client
from wsrooms.testing.history import History
from wsrooms.testing.line import Disconnected
from wsrooms.testing.records import HistoryViolated, Record, Violation
from wsrooms.testing.simulated import SimulatedTransport
from wsrooms.testing.virtual import Deadlock, VirtualTimeLoop, run

__all__ = [
    "Client",
    "Deadlock",
    "Disconnected",
    "History",
    "HistoryViolated",
    "Lost",
    "Record",
    "SimulatedBus",
    "SimulatedTransport",
    "Violation",
    "VirtualTimeLoop",
    "connect_client",
    "run",
]

"""Test what you build with wsrooms: handlers, whole apps with clients, fleets, and time itself.

Independent of any test framework. The two ``prepare_test_ws_…_context`` functions let a
test call one handler; :func:`connect_client` speaks to an app through real frames without a
port; :class:`Cluster` runs several instances on a bus that a test can break; :func:`run`
runs a coroutine on virtual time; :class:`History` judges what a run saw.
"""

from wsrooms.testing.bus import Lost, SimulatedBus
from wsrooms.testing.client import Client, connect_client
from wsrooms.testing.cluster import Cluster, ClusterClient
from wsrooms.testing.contexts import (
    HandlerContext,
    prepare_test_ws_connection_context,
    prepare_test_ws_message_context,
)
from wsrooms.testing.history import History
from wsrooms.testing.line import Disconnected
from wsrooms.testing.recorder import RecordedClient, recorded, recorded_routes
from wsrooms.testing.records import HistoryViolated, Record, Violation
from wsrooms.testing.simulated import SimulatedTransport
from wsrooms.testing.virtual import Deadlock, VirtualTimeLoop, run

__all__ = [
    "Client",
    "Cluster",
    "ClusterClient",
    "Deadlock",
    "Disconnected",
    "HandlerContext",
    "History",
    "HistoryViolated",
    "Lost",
    "Record",
    "RecordedClient",
    "SimulatedBus",
    "SimulatedTransport",
    "Violation",
    "VirtualTimeLoop",
    "connect_client",
    "prepare_test_ws_connection_context",
    "prepare_test_ws_message_context",
    "recorded",
    "recorded_routes",
    "run",
]

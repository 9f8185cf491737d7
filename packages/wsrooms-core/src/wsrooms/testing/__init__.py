"""Test what you build with wsrooms: handlers, whole apps with clients, fleets, and time itself.

Independent of any test framework. The two ``prepare_test_ws_…_context`` functions let a
test call one handler; :func:`connect_client` speaks to an app through real frames without a
port; :class:`Cluster` runs several instances on a bus that a test can break; :func:`run`
runs a coroutine on virtual time; :class:`History` judges what a run saw;
:class:`TcpProxy` breaks the line to a real broker.
"""

from wsrooms.testing.clients.client import Client, connect_client
from wsrooms.testing.clients.connecting import Connecting
from wsrooms.testing.clients.line import Disconnected
from wsrooms.testing.fleet.bus import Lost, SimulatedBus
from wsrooms.testing.fleet.cluster import Cluster, ClusterClient
from wsrooms.testing.fleet.recorder import RecordedClient, recorded, recorded_routes
from wsrooms.testing.fleet.simulated import SimulatedTransport
from wsrooms.testing.handlers.contexts import (
    HandlerContext,
    prepare_test_ws_connection_context,
    prepare_test_ws_message_context,
)
from wsrooms.testing.history.history import History
from wsrooms.testing.history.records import HistoryViolated, Record, Violation
from wsrooms.testing.proxy.proxy import TcpProxy
from wsrooms.testing.proxy.writes import SocketWrites
from wsrooms.testing.virtual import Deadlock, VirtualTimeLoop, run

__all__ = [
    "Client",
    "Cluster",
    "ClusterClient",
    "Connecting",
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
    "SocketWrites",
    "TcpProxy",
    "Violation",
    "VirtualTimeLoop",
    "connect_client",
    "prepare_test_ws_connection_context",
    "prepare_test_ws_message_context",
    "recorded",
    "recorded_routes",
    "run",
]

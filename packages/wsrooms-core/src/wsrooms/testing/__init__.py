"""Test what you build with wsrooms: handlers, whole apps with clients, and time itself.

Independent of any test framework. The two ``prepare_test_ws_…_context`` functions let a
test call one handler; :func:`connect_client` speaks to an app through real frames without a
port; :func:`run` runs a coroutine on virtual time.
"""

from wsrooms.testing.client import Client, connect_client
from wsrooms.testing.contexts import (
    HandlerContext,
    prepare_test_ws_connection_context,
    prepare_test_ws_message_context,
)
from wsrooms.testing.line import Disconnected
from wsrooms.testing.virtual import Deadlock, VirtualTimeLoop, run

__all__ = [
    "Client",
    "Deadlock",
    "Disconnected",
    "HandlerContext",
    "VirtualTimeLoop",
    "connect_client",
    "prepare_test_ws_connection_context",
    "prepare_test_ws_message_context",
    "run",
]

"""The bus between instances: the contract, the memory transport, and what transports share.

A transport needs three methods (:class:`WsBroadcastTransport`). What only some
can do is an optional protocol here, which the core detects. ``tagged()`` makes
a plain one safe on a bus that echoes.
"""

from wsrooms.receipt import Receipt
from wsrooms.transports.backoff import backoff
from wsrooms.transports.broker import BrokerTransport
from wsrooms.transports.brokerlink import BrokerLink
from wsrooms.transports.calls import end_tasks, until_done
from wsrooms.transports.envelope import (
    ENVELOPE_BYTES,
    Envelope,
    Sequencer,
    SequenceWatch,
    Verdict,
    new_instance_id,
    parse,
    wrap,
)
from wsrooms.transports.exchange import PROBE_PREFIX, Exchange, checked
from wsrooms.transports.memory import MemoryBus, MemoryTransport
from wsrooms.transports.options import BrokerKeywords, BrokerOptions
from wsrooms.transports.outbox import Outbox, OutboxPolicy, Outgoing
from wsrooms.transports.protocols import (
    SERVER_CHANNEL,
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsMaxPayload,
    SupportsReplica,
    SupportsState,
    SupportsStats,
    TransportState,
    WsBroadcastTransport,
    WsHealth,
    room_channel,
    room_of,
)
from wsrooms.transports.tagged import TaggedTransport, tagged
from wsrooms.transports.target import Address, BrokerUrl, shown
from wsrooms.transports.tls import TlsKeywords, TlsOptions, certificate_error
from wsrooms.transports.urls import transport_from_url
from wsrooms.transports.wire import BrokerWire
from wsrooms.transports.wirelink import WireLink
from wsrooms.transports.wishes import Command, Wishes

__all__ = [
    "ENVELOPE_BYTES",
    "PROBE_PREFIX",
    "SERVER_CHANNEL",
    "Address",
    "BrokerKeywords",
    "BrokerLink",
    "BrokerOptions",
    "BrokerTransport",
    "BrokerUrl",
    "BrokerWire",
    "Command",
    "Envelope",
    "Exchange",
    "Gap",
    "MemoryBus",
    "MemoryTransport",
    "Outbox",
    "OutboxPolicy",
    "Outgoing",
    "Receipt",
    "SequenceWatch",
    "Sequencer",
    "SupportsGaps",
    "SupportsLifecycle",
    "SupportsMaxPayload",
    "SupportsReplica",
    "SupportsState",
    "SupportsStats",
    "TaggedTransport",
    "TlsKeywords",
    "TlsOptions",
    "TransportState",
    "Verdict",
    "WireLink",
    "Wishes",
    "WsBroadcastTransport",
    "WsHealth",
    "backoff",
    "certificate_error",
    "checked",
    "end_tasks",
    "new_instance_id",
    "parse",
    "room_channel",
    "room_of",
    "shown",
    "tagged",
    "transport_from_url",
    "until_done",
    "wrap",
]

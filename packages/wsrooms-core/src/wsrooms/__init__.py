"""Rooms and broadcasting over WebSockets.

A handler is a plain function, routed by the event and path of a message; what
it needs comes from composables. One process needs no broker; with a transport
the same rooms span many instances. Start with :class:`WsApp`.
"""

from msgspec import UNSET

from wsrooms._version import __version__
from wsrooms.app import WsApp
from wsrooms.composables import (
    WsRooms,
    WsRouteParams,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.connection import WsConnection, WsKey, WsMember
from wsrooms.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionGone,
    InvalidChannel,
    InvalidHandler,
    InvalidPattern,
    InvalidRoom,
    LimitTooLow,
    MissingTransport,
    NotRunning,
    OutboxFull,
    OutcomeUnknown,
    OutsideContext,
    PayloadTooLarge,
    PermissionDenied,
    ServerNotStarted,
    TooManyRooms,
    TransportClosed,
    TransportError,
    TransportUnavailable,
    UnknownOption,
    UnknownScheme,
    WsError,
    WsRoomsError,
)
from wsrooms.handshake import WsHttpResponse, WsRequest
from wsrooms.instance import WsLimits, WsRoom, WsServer
from wsrooms.manager import WsRoomManager
from wsrooms.message import WsMessage
from wsrooms.receipt import Receipt
from wsrooms.router import WsRouteMatch, WsRouter
from wsrooms.routes import WsRoutes
from wsrooms.server.settings import ServerOptions, WsAddress
from wsrooms.transports import (
    Gap,
    MemoryBus,
    MemoryTransport,
    WsBroadcastTransport,
    WsHealth,
    tagged,
    transport_from_url,
)
from wsrooms.wire import Params

__all__ = [
    "UNSET",
    "AuthenticationFailed",
    "ConfigurationError",
    "ConnectionGone",
    "Gap",
    "InvalidChannel",
    "InvalidHandler",
    "InvalidPattern",
    "InvalidRoom",
    "LimitTooLow",
    "MemoryBus",
    "MemoryTransport",
    "MissingTransport",
    "NotRunning",
    "OutboxFull",
    "OutcomeUnknown",
    "OutsideContext",
    "Params",
    "PayloadTooLarge",
    "PermissionDenied",
    "Receipt",
    "ServerNotStarted",
    "ServerOptions",
    "TooManyRooms",
    "TransportClosed",
    "TransportError",
    "TransportUnavailable",
    "UnknownOption",
    "UnknownScheme",
    "WsAddress",
    "WsApp",
    "WsBroadcastTransport",
    "WsConnection",
    "WsError",
    "WsHealth",
    "WsHttpResponse",
    "WsKey",
    "WsLimits",
    "WsMember",
    "WsMessage",
    "WsRequest",
    "WsRoom",
    "WsRoomManager",
    "WsRooms",
    "WsRoomsError",
    "WsRouteMatch",
    "WsRouteParams",
    "WsRouter",
    "WsRoutes",
    "WsServer",
    "__version__",
    "tagged",
    "transport_from_url",
    "use_route_params",
    "use_ws_connection",
    "use_ws_message",
    "use_ws_rooms",
    "use_ws_server",
]

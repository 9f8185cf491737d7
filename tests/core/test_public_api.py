"""The public names: all there, all documented, called as was promised, quick to import."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

import wsrooms
import wsrooms.transports

# What was promised, without types: parameters by name, kind and default. More may be added,
# if it has a default; "..." is any default.
PROMISED = """
class Receipt:
    done
    error
    def __await__(self): ...
    def result(self, timeout=None): ...

class WsRoutes:
    def on_connect(self, fn): ...
    def on_disconnect(self, fn): ...
    def on_message(self, event, path, handler=None): ...
    def around_message(self, fn): ...
    def include(self, routes, *, prefix=""): ...

class WsLimits:
    def __init__(
        self, *, outbox_bytes=1_048_576, outbox_messages=10_000, slow_client="close",
        waiting_messages=16, rooms_per_connection=1000, room_name_bytes=1024,
    ): ...

class WsApp(WsRoutes):
    server
    def __init__(
        self, *, broadcast_transport=None, start_without_broker=False, lifespan=None,
        heartbeat_interval=30.0, heartbeat_timeout=5.0, max_message_size=1_048_576,
        max_concurrent_messages=1, join_timeout=8.0, shutdown_timeout=10.0,
        allowed_origins="same", limits=..., message_parser=None, message_serializer=None,
        enc_hook=None, logger=None, debug=False,
    ): ...
    def on_gap(self, fn): ...
    def on_error(self, fn): ...
    def broadcast(self, event, path, data=UNSET, *, params=None, local=False): ...
    def room(self, name): ...
    def health(self): ...
    def stats(self): ...
    def routes(self): ...
    def start_task(self, coro, *, name): ...
    def replica(self, **changed_options): ...
    def run(self, host="127.0.0.1", port=8000, **options): ...
    async def listen(self, port, host="127.0.0.1", **options): ...
    async def close(self): ...
    def serving(self, port=0, host="127.0.0.1", **options): ...

class WsAddress:
    host
    port
    url

class WsHealth:
    state
    since
    error

class WsServer:
    def connections(self): ...
    def get_connection(self, id): ...
    def room_connections(self, room): ...
    def room(self, name): ...
    def broadcast(self, event, path, data=UNSET, *, params=None, local=False): ...

class WsRoom:
    name
    def __len__(self): ...
    def connections(self): ...
    def broadcast(self, event, data=UNSET, *, params=None, exclude=None, local=False): ...

class WsConnection:
    id
    rooms
    context
    request
    close_code
    close_reason
    def join(self, room): ...
    def leave(self, room): ...
    def send(self, event, path, data=UNSET, params=None): ...
    def reply(self, id, data=UNSET): ...
    def reply_error(self, id, code, message): ...
    def close(self, code=1000, reason=""): ...
    def get(self, key): ...

class WsRequest:
    method
    path
    query
    headers
    cookies
    remote_address

class WsHttpResponse:
    def __init__(
        self, status, body=b"", *, headers=None, content_type="text/plain; charset=utf-8"
    ): ...

class WsMessage:
    data
    has_data
    data_raw
    raw
    id
    event
    path

class WsRooms:
    def join(self, room=None): ...
    def leave(self, room=None): ...
    def broadcast(self, event, data=UNSET, *, room=None, exclude_self=True): ...
    def rooms(self): ...

class WsRouteParams:
    params
    def get(self, name): ...
    def getlist(self, name): ...
    def __getitem__(self, name): ...

def use_ws_message(type_=UNSET, /): ...
def use_ws_rooms(): ...
def use_ws_connection(): ...
def use_ws_server(): ...
def use_route_params(): ...

class WsMember:
    id
    rooms
    def send(self, event, path, data=..., params=...): ...

class WsRoomManager:
    def __init__(self, transport=None, *, join_timeout=8.0): ...
    def join(self, connection, room): ...
    def leave(self, connection, room): ...
    def leave_all(self, connection): ...
    def connections(self, room): ...
    def broadcast(self, room, event, path, data=UNSET, params=None, *, exclude=None): ...

class WsRouteMatch:
    handlers
    params

class WsRouter:
    def add(self, event, pattern, handler): ...
    def lookup(self, event, path): ...

class WsBroadcastTransport:
    def publish(self, channel, payload): ...
    def subscribe(self, channel, handler): ...
    def unsubscribe(self, channel): ...

class Gap:
    room
    publisher
    missing

class MemoryTransport:
    def __init__(self, bus=None): ...
class MemoryBus: ...
def transport_from_url(url): ...
def tagged(transport): ...

class WsKey:
    def __init__(self, name): ...

class WsRoomsError(Exception): ...
class WsError(WsRoomsError):
    code
    message
    def __init__(self, code, message=None): ...
class ConfigurationError(WsRoomsError, ValueError): ...
class UnknownScheme(ConfigurationError):
    scheme
    known
class UnknownOption(ConfigurationError):
    option
    known
class MissingTransport(ConfigurationError):
    scheme
    extra
class OutsideContext(WsRoomsError, RuntimeError): ...
class NotRunning(WsRoomsError, RuntimeError): ...
class ConnectionGone(WsRoomsError): ...
class InvalidRoom(WsRoomsError, ValueError): ...
class TransportError(WsRoomsError): ...
class TransportUnavailable(TransportError): ...
class AuthenticationFailed(TransportError): ...
class PermissionDenied(TransportError): ...
class OutboxFull(TransportError): ...
class OutcomeUnknown(TransportError): ...
class PayloadTooLarge(TransportError, ValueError): ...
class InvalidChannel(TransportError, ValueError): ...
class TransportClosed(TransportError, RuntimeError): ...
"""

OPTIONS_OF_THE_SERVER = {
    "ssl",
    "unix_path",
    "reuse_port",
    "path",
    "subprotocols",
    "http_handler",
}

Node = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
NODES: list[Node] = [node for node in ast.parse(PROMISED).body if isinstance(node, Node)]
METHODS = [
    pytest.param(node, member, id=f"{node.name}.{member.name}")
    for node in NODES
    if isinstance(node, ast.ClassDef)
    for member in node.body
    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
]
FUNCTIONS = [
    pytest.param(node, id=node.name) for node in NODES if not isinstance(node, ast.ClassDef)
]
CLASSES = [pytest.param(node, id=node.name) for node in NODES if isinstance(node, ast.ClassDef)]


def default_of(node: ast.expr) -> object:
    if isinstance(node, ast.Name):
        assert node.id == "UNSET"
        return msgspec.UNSET
    return ast.literal_eval(node)


def promised_parameters(arguments: ast.arguments) -> dict[str, tuple[Any, object]]:
    """Each parameter's kind and default, in order."""
    kinds = inspect.Parameter
    found: dict[str, tuple[Any, object]] = {}
    positional: list[tuple[ast.arg, Any]] = [
        (each, kinds.POSITIONAL_ONLY) for each in arguments.posonlyargs
    ]
    positional += [(each, kinds.POSITIONAL_OR_KEYWORD) for each in arguments.args]
    missing = len(positional) - len(arguments.defaults)
    for index, (argument, kind) in enumerate(positional):
        given = arguments.defaults[index - missing] if index >= missing else None
        found[argument.arg] = kind, kinds.empty if given is None else default_of(given)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        value = kinds.empty if default is None else default_of(default)
        found[argument.arg] = kinds.KEYWORD_ONLY, value
    if arguments.kwarg:
        found[arguments.kwarg.arg] = kinds.VAR_KEYWORD, kinds.empty
    return found


def check_call(function: Any, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    given = inspect.signature(function).parameters
    promised = promised_parameters(node.args)
    if "self" in promised and "self" not in given:
        del promised["self"]
    # Positional ones in the same places, so that calls by position mean the same.
    by_position = [
        name for name, each in given.items() if each.kind < inspect.Parameter.VAR_POSITIONAL
    ]
    wanted = [
        name for name, (kind, _) in promised.items() if kind < inspect.Parameter.VAR_POSITIONAL
    ]
    assert by_position[: len(wanted)] == wanted
    for name, (kind, default) in promised.items():
        assert given[name].kind == kind, name
        if default is not ...:
            assert given[name].default == default, name
    for name in given.keys() - promised.keys():
        optional = given[name].kind in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
        assert optional or given[name].default is not inspect.Parameter.empty, name


@pytest.mark.parametrize("node", CLASSES)
def test_each_class_is_there_with_its_bases_and_attributes(node: ast.ClassDef) -> None:
    cls = getattr(wsrooms, node.name)
    assert inspect.isclass(cls)
    for base in node.bases:
        assert isinstance(base, ast.Name)
        expected = getattr(wsrooms, base.id, None) or __builtins__[base.id]  # type: ignore[index]  # a dict in modules
        assert issubclass(cls, expected)
    attributes = [
        member.value.id
        for member in node.body
        if isinstance(member, ast.Expr) and isinstance(member.value, ast.Name)
    ]
    documented = "\n".join(each.__doc__ or "" for each in cls.__mro__)
    annotated = {name for each in cls.__mro__ for name in getattr(each, "__annotations__", ())}
    for name in attributes:
        assert hasattr(cls, name) or name in annotated or f"{name}:" in documented


@pytest.mark.parametrize(("node", "method"), METHODS)
def test_each_method_is_called_as_promised(
    node: ast.ClassDef, method: ast.FunctionDef | ast.AsyncFunctionDef
) -> None:
    function = getattr(getattr(wsrooms, node.name), method.name)
    check_call(function, method)
    if isinstance(method, ast.AsyncFunctionDef):
        assert inspect.iscoroutinefunction(function)
    else:
        assert not inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("node", FUNCTIONS)
def test_each_function_is_called_as_promised(node: ast.FunctionDef) -> None:
    check_call(getattr(wsrooms, node.name), node)


def test_values_are_frozen_and_options_named() -> None:
    values: list[object] = [
        wsrooms.WsLimits(),
        wsrooms.WsAddress("h", 1, "u"),
        wsrooms.WsHealth("up", 0.0, None),
        wsrooms.Gap(None, None, None),
    ]
    for value in values:
        assert dataclasses.is_dataclass(value)
        field = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, None)
    match: wsrooms.WsRouteMatch[object] = wsrooms.WsRouteMatch((), {})
    with pytest.raises(AttributeError):
        match.handlers = ()  # type: ignore[misc]  # the mistake
    assert set(wsrooms.ServerOptions.__annotations__) == OPTIONS_OF_THE_SERVER
    assert not wsrooms.ServerOptions.__required_keys__
    assert wsrooms.WsApp.serving.__name__ == "serving"


def test_all_names_what_is_public_sorted_and_nothing_else() -> None:
    names = wsrooms.__all__
    assert len(set(names)) == len(names)
    # As ruff sorts it: constants, then classes, then the rest.
    assert names == sorted(
        names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    promised = {node.name for node in NODES}
    assert promised <= set(names)
    public = {
        name
        for name, value in vars(wsrooms).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public | {"__version__"} == set(names)


def test_transports_names_what_transport_authors_need() -> None:
    names = wsrooms.transports.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(wsrooms.transports, name)


def test_every_public_name_and_method_is_documented() -> None:
    silent = []
    for name in wsrooms.__all__:
        value = getattr(wsrooms, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if value.__doc__ is None or (dataclasses.is_dataclass(value) and "(" in value.__doc__[:20]):
            silent.append(name)
        if not inspect.isclass(value):
            continue
        silent += [
            f"{name}.{member}"
            for member, function in vars(value).items()
            if not member.startswith("_")
            and (inspect.isfunction(function) or isinstance(function, property))
            and not function.__doc__
        ]
    assert silent == []


def test_every_annotation_of_a_public_handler_type_resolves() -> None:
    """``WsMessage[T]`` is looked at when an app starts, so it must not hide names."""
    for name in ("WsMessage", "WsLimits", "WsAddress", "WsHealth", "Gap"):
        assert get_type_hints(getattr(wsrooms, name)) is not None


def test_importing_it_brings_in_neither_uvloop_nor_pydantic_nor_a_transport() -> None:
    program = (
        "import sys, wsrooms\n"
        "unwanted = ('uvloop', 'pydantic', 'attrs', 'redis', 'nats', 'aiokafka',\n"
        "            'wsrooms_redis', 'wsrooms_nats', 'wsrooms_kafka',\n"
        "            'websockets.legacy', 'websockets.asyncio')\n"
        "print([name for name in unwanted if name in sys.modules])\n"
    )
    source = str(Path(wsrooms.__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert found.stdout.strip() == "[]"

"""Declarations: which function answers what, before any server exists.

``WsRoutes`` collects them in any module; ``compile_plan`` turns them, with all
that they include, into what a session works from. Mistakes in a pattern or a
signature are told where the function is declared.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import typing
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

from wsrooms.datatypes import Validator, validator_for
from wsrooms.errors import ConfigurationError, InvalidHandler
from wsrooms.message import WsMessage, typed
from wsrooms.router import RouteMemo, WsRouter

__all__ = [
    "Around",
    "Handler",
    "Plan",
    "WsRoutes",
    "compile_plan",
    "join_prefix",
    "name_of",
    "place_of",
]

F = TypeVar("F", bound=Callable[..., object])
H = TypeVar("H", bound=Callable[..., object])

_HOOKS = {
    "on_connect": ("no parameter", "; use_ws_connection() gives the connection"),
    "on_disconnect": ("no parameter", "; use_ws_connection() gives the connection"),
    "around_message": ("one, call_next", ""),
    "on_gap": ("one, the Gap", ""),
    "on_error": ("two, the exception and the route", ""),
}
"""What each kind of hook takes, and what a parameter more is likely meant for."""

Around = Callable[[Callable[[], Awaitable[object]]], Coroutine[Any, Any, object]]


class Handler:
    """A function with how it wants to be called.

    Attributes:
        call: Calls it with a message, whatever it takes.
        fn: The function itself.
        takes_nothing: Whether it may as well be called directly.
        task_name: What the task of an async one is called.
    """

    __slots__ = ("_validator", "call", "fn", "takes_nothing", "task_name")

    def __init__(self, fn: Callable[..., object]) -> None:
        """Look at the signature.

        Raises:
            InvalidHandler: It takes more than a message.
        """
        self.fn: Callable[..., object] = fn
        self.task_name: str = f"wsrooms {name_of(fn)}"
        self.takes_nothing: bool = not _takes_message(fn)
        self._validator: Validator[Any] | None = None
        self.call: Callable[[WsMessage[Any]], object] = (
            (lambda _: fn()) if self.takes_nothing else fn
        )

    def resolve(self) -> None:
        """Look at the annotation, once all names of the module exist.

        Raises:
            InvalidHandler: ``WsMessage[...]`` names what cannot be found or decoded, or it
                declares something else than a message.
        """
        if self.takes_nothing or self._validator is not None:
            return
        type_ = _message_type(self.fn)
        if type_ is None:
            return
        try:
            validator = self._validator = validator_for(type_)
        except (TypeError, NameError) as error:
            raise _invalid(
                self.fn,
                f"its data type: {error}; declare a dataclass, a TypedDict, a msgspec.Struct, or "
                "what else JSON can be decoded as",
            ) from error
        fn = self.fn
        self.call = lambda message: fn(typed(message, validator))

    def __repr__(self) -> str:
        return f"<Handler {name_of(self.fn)}>"


def _with_a_route(method: F) -> F:
    """Let ``on_message`` say itself that it needs an event and a path."""

    @functools.wraps(method)
    def checked(*given: Any, **named: Any) -> object:
        if len(given) > 1 and callable(given[1]):  # the first one is self
            raise _invalid(given[1], 'write @on_message("event", "/path") above it')
        if len(given) == 2 and "path" not in named:
            raise ConfigurationError(
                f"on_message({given[1]!r}) has no path: give both, as in "
                f"on_message({given[1]!r}, '/chat/:room'); '*' is any path"
            )
        return method(*given, **named)

    return cast("F", checked)


@dataclass
class _Declared:
    """What one ``WsRoutes`` was told, in order; includes are followed when compiling."""

    routes: list[tuple[str, str, Handler] | tuple[WsRoutes, str]] = field(default_factory=list)
    on_connect: list[Callable[..., object] | WsRoutes] = field(default_factory=list)
    on_disconnect: list[Callable[..., object] | WsRoutes] = field(default_factory=list)
    around: list[Callable[..., object] | WsRoutes] = field(default_factory=list)


class WsRoutes:
    """Declarations without a server, importable from any module.

    .. code-block:: python

        chat = WsRoutes()

        @chat.on_message("join", "/:room")
        async def join(): ...

        app.include(chat, prefix="/chat")
    """

    def __init__(self) -> None:
        self._declared = _Declared()

    def on_connect(self, fn: F) -> F:
        """Run ``fn`` for each new connection, before its first message.

        It takes no parameter. What it raises refuses the connection: ``WsError``
        401 and 403 with close code 1008, anything else with 1011. Several run in
        the order of their declaration.

        Raises:
            InvalidHandler: ``fn`` takes a parameter.
        """
        check_hook(fn, 0, "on_connect")
        self._declared.on_connect.append(fn)
        return fn

    def on_disconnect(self, fn: F) -> F:
        """Run ``fn`` once for each connection whose on_connect had ended well.

        It takes no parameter. The connection is still registered and in its rooms.

        Raises:
            InvalidHandler: ``fn`` takes a parameter.
        """
        check_hook(fn, 0, "on_disconnect")
        self._declared.on_disconnect.append(fn)
        return fn

    @overload
    def on_message(self, event: str, path: str) -> Callable[[H], H]: ...
    @overload
    def on_message(self, event: str, path: str, handler: H) -> H: ...
    @_with_a_route
    def on_message(self, event: str, path: str, handler: H | None = None) -> Callable[[H], H] | H:
        """Answer messages of ``event`` whose path matches the pattern ``path``.

        The handler takes no parameter, or one, the ``WsMessage``. It is returned
        unchanged. Several handlers of one route are tried in order; the first
        that does not raise answers.

        Args:
            event: The event, or ``"*"`` for any.
            path: The pattern, see :class:`~wsrooms.WsRouter`.
            handler: The function; without it this is a decorator.

        Raises:
            InvalidPattern: ``path`` cannot be compiled.
            InvalidHandler: The function takes something else.
        """
        WsRouter[Handler]().add(event, path, cast("Handler", None))  # tells a bad pattern here

        def declare(fn: H) -> H:
            self._declared.routes.append((event, path, Handler(fn)))
            return fn

        return declare if handler is None else declare(handler)

    def around_message(self, fn: F) -> F:
        """Run ``async def fn(call_next)`` around every message's handlers.

        What it returns is the reply: return ``await call_next()``. It sees the
        composables and may raise ``WsError``. Several nest in the order of their
        declaration, the first one outermost.

        Raises:
            InvalidHandler: ``fn`` is not async or does not take ``call_next``.
        """
        function: Callable[..., object] = fn  # the check below would narrow F to nothing
        if not inspect.iscoroutinefunction(function):
            raise _invalid(fn, "it is not async: around_message needs `async def fn(call_next)`")
        check_hook(fn, 1, "around_message")
        self._declared.around.append(fn)
        return fn

    def include(self, routes: WsRoutes, *, prefix: str = "") -> None:
        """Take over all of ``routes``, with ``prefix`` before its paths.

        What is declared in ``routes`` later, before the app starts, counts too.

        Raises:
            InvalidPattern: ``prefix`` cannot stand before a path.
            ConfigurationError: ``routes`` includes this one, or is it.
        """
        if not isinstance(routes, WsRoutes):
            raise ConfigurationError(f"include({routes!r}): give a WsRoutes object")
        if _reaches(routes, self):
            raise ConfigurationError(
                "routes cannot include themselves, nor those that include them: "
                "include each in the app"
            )
        if prefix:
            WsRouter[Handler]().add("*", join_prefix(prefix, "/"), cast("Handler", None))
        declared = self._declared
        declared.routes.append((routes, prefix))
        declared.on_connect.append(routes)
        declared.on_disconnect.append(routes)
        declared.around.append(routes)


@dataclass(frozen=True)
class Plan:
    """All declarations of an app, ready to work from."""

    memo: RouteMemo[Handler]
    routes: list[tuple[str, str, Callable[..., object]]]
    on_connect: list[Callable[[], object]]
    on_disconnect: list[Callable[[], object]]
    around: list[Around]


def compile_plan(routes: WsRoutes) -> Plan:
    """Follow every include and resolve every annotation.

    Raises:
        ConfigurationError: A declaration cannot work.
    """
    router: WsRouter[Handler] = WsRouter()
    table: list[tuple[str, str, Callable[..., object]]] = []
    for event, pattern, handler in _routes(routes, ""):
        handler.resolve()
        router.add(event, pattern, handler)
        table.append((event, pattern, handler.fn))
    return Plan(
        RouteMemo(router),
        table,
        _hooks(routes, "on_connect"),
        _hooks(routes, "on_disconnect"),
        _hooks(routes, "around"),
    )


def join_prefix(prefix: str, path: str) -> str:
    """``path`` below ``prefix``, with one slash between them."""
    if not prefix:
        return path
    return prefix.rstrip("/") + (path if path.startswith(("/", "*")) or not path else "/" + path)


def name_of(fn: Callable[..., object]) -> str:
    """How to call ``fn`` in a message."""
    return getattr(fn, "__qualname__", None) or repr(fn)


def place_of(fn: Callable[..., object]) -> str | None:
    """Where ``fn`` is declared, as ``file:line``; below the current folder from there on."""
    inner: Any = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    if code is None:
        return None
    path: str = code.co_filename
    with contextlib.suppress(OSError):  # the current folder may have been deleted
        path = path.removeprefix(os.path.join(os.getcwd(), ""))
    return f"{path}:{code.co_firstlineno}"


def _invalid(fn: Callable[..., object], reason: str) -> InvalidHandler:
    return InvalidHandler(name_of(fn), reason, place_of(fn))


def _routes(routes: WsRoutes, prefix: str) -> list[tuple[str, str, Handler]]:
    found: list[tuple[str, str, Handler]] = []
    for declared in routes._declared.routes:
        if len(declared) == 2:
            included, inner = declared
            found.extend(_routes(included, join_prefix(prefix, inner) if prefix else inner))
        else:
            event, pattern, handler = declared
            found.append((event, join_prefix(prefix, pattern), handler))
    return found


def _hooks(routes: WsRoutes, kind: str) -> list[Any]:
    found: list[Any] = []
    for hook in getattr(routes._declared, kind):
        if isinstance(hook, WsRoutes):
            found.extend(_hooks(hook, kind))
        else:
            found.append(hook)
    return found


def _reaches(routes: WsRoutes, target: WsRoutes) -> bool:
    if routes is target:
        return True
    return any(
        len(declared) == 2 and _reaches(declared[0], target) for declared in routes._declared.routes
    )


def _required(fn: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise _invalid(fn, f"its signature cannot be read ({error})") from error
    required = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            required.append(parameter)
    return required


def _check_callable(fn: object) -> None:
    if inspect.iscoroutine(fn):
        fn.close()
        raise InvalidHandler(
            fn.__qualname__, "it is called already: give the function itself, without ()"
        )
    if not callable(fn):
        raise InvalidHandler(repr(fn), "it is not a function")


def _takes_message(fn: Callable[..., object]) -> bool:
    _check_callable(fn)
    required = _required(fn)
    if not required:
        return False
    if len(required) > 1 or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        names = ", ".join(parameter.name for parameter in required)
        raise _invalid(
            fn,
            f"a handler takes nothing or one WsMessage, this one requires ({names}); "
            "for all else call use_route_params(), use_ws_connection() and their kin inside",
        )
    return True


def check_hook(fn: Callable[..., object], arguments: int, kind: str) -> None:
    """Refuse a hook that cannot be called with so many arguments.

    Raises:
        InvalidHandler: It cannot.
    """
    _check_callable(fn)
    required = _required(fn)
    keyword_only = any(p.kind is inspect.Parameter.KEYWORD_ONLY for p in required)
    takes, instead = _HOOKS[kind]
    if len(required) > arguments or keyword_only:
        names = ", ".join(parameter.name for parameter in required)
        raise _invalid(fn, f"{kind} functions take {takes}, this one requires ({names}){instead}")
    if arguments:
        try:
            inspect.signature(fn).bind(*range(arguments))
        except TypeError as error:
            raise _invalid(fn, f"{kind} functions take {takes}: {error}") from None


def _message_type(fn: Callable[..., object]) -> Any:
    """T of the first parameter's ``WsMessage[T]``; None where it declares none."""
    function = fn if inspect.isroutine(fn) or inspect.isclass(fn) else type(fn).__call__
    parameter = _required(fn)[0]
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return None
    if isinstance(annotation, str):
        try:
            annotation = typing.get_type_hints(function, include_extras=True)[parameter.name]
        except Exception as error:
            if "WsMessage[" not in annotation:
                return None
            raise _invalid(
                fn,
                f"its annotation {annotation!r} cannot be resolved ({error}); "
                "import what it names outside of TYPE_CHECKING",
            ) from error
    if typing.get_origin(annotation) is not WsMessage:
        if inspect.isclass(annotation) and not _may_be_message(annotation):
            name = annotation.__qualname__
            raise _invalid(
                fn,
                f"its parameter is annotated {name}, and what a handler gets is the message: "
                f"annotate WsMessage[{name}] and take its .data, or call use_route_params() for "
                "what is in the path",
            )
        return None
    (type_,) = typing.get_args(annotation)
    return None if type_ is Any or isinstance(type_, TypeVar) else type_


def _may_be_message(annotation: type) -> bool:
    if annotation is Any:  # it is a class since Python 3.11
        return True
    try:
        return issubclass(WsMessage, annotation)
    except TypeError:  # a protocol with attributes, which tells nothing of classes
        return True

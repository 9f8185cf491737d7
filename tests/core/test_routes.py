"""Declarations: what is accepted, in which order it counts, and where mistakes are told."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from wsrooms import (
    ConfigurationError,
    InvalidHandler,
    InvalidPattern,
    WsApp,
    WsConnection,
    WsMessage,
    WsRoutes,
)
from wsrooms.datatypes import validator_for
from wsrooms.routes import Handler, compile_plan, join_prefix, place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal as OnlyForCheckers

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py


def nothing() -> None: ...


# Signatures


def one_message(message: object) -> None: ...


def message_and_more(message: object, more: int = 1, *rest: object, key: int = 2) -> None: ...


def anything(*arguments: object, **named: object) -> None: ...


class Callable_:
    def __call__(self, message: object) -> None: ...

    @staticmethod
    def static(message: object) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...


@pytest.mark.parametrize(
    ("fn", "takes"),
    [
        (nothing, False),
        (one_message, True),
        (message_and_more, True),
        (anything, False),
        (lambda: None, False),
        (lambda message: None, True),
        (Callable_(), True),
        (Callable_.static, True),
        (Callable_.of_class, False),
        (functools.partial(one_message, None), False),
    ],
)
def test_a_handler_takes_nothing_or_the_message(fn: Any, takes: bool) -> None:
    assert Handler(fn).takes_nothing is not takes
    assert WsRoutes().on_message("e", "/", fn) is fn


def two(message: object, more: object) -> None: ...


def keyword(*, key: int) -> None: ...


def message_and_keyword(message: object, *, key: int) -> None: ...


def test_a_handler_shows_its_function() -> None:
    assert repr(Handler(nothing)) == "<Handler nothing>"


@pytest.mark.parametrize("fn", [two, keyword, message_and_keyword, "name", None, 5, dict])
def test_anything_else_is_refused_where_it_is_declared(fn: Any) -> None:
    with pytest.raises(InvalidHandler) as caught:
        WsRoutes().on_message("e", "/")(fn)
    assert caught.value.handler
    if fn is two:
        assert "(message, more)" in str(caught.value)
        assert "use_route_params()" in str(caught.value)


def test_decorators_return_the_function_unchanged() -> None:
    routes = WsRoutes()

    async def around(call_next: object) -> object: ...

    assert routes.on_message("e", "/")(nothing) is nothing
    assert routes.on_message("e", "/", nothing) is nothing
    assert routes.on_connect(nothing) is nothing
    assert routes.on_disconnect(nothing) is nothing
    assert routes.around_message(around) is around


def test_hooks_that_cannot_be_called_are_refused() -> None:
    routes = WsRoutes()

    async def no_parameter() -> None: ...

    async def too_many(call_next: object, more: object) -> None: ...

    def not_async(call_next: object) -> None: ...

    refused: list[tuple[Any, Any]] = [
        (routes.on_connect, one_message),
        (routes.on_disconnect, one_message),
        (routes.on_connect, keyword),
        (routes.on_connect, "name"),
        (routes.around_message, no_parameter),
        (routes.around_message, too_many),
        (routes.around_message, not_async),
    ]
    for declare, fn in refused:
        with pytest.raises(InvalidHandler):
            declare(fn)


@pytest.mark.parametrize("pattern", ["/:a(", "/:a([)", 5, None])
def test_a_bad_pattern_is_refused_where_it_is_declared(pattern: Any) -> None:
    with pytest.raises(InvalidPattern) as caught:
        WsRoutes().on_message("e", pattern)
    assert caught.value.pattern == pattern


# Types of data


class Order(msgspec.Struct):
    n: int


def typed(message: WsMessage[Order]) -> int:
    return message.data.n


def untyped(message: WsMessage) -> None: ...  # type: ignore[type-arg]  # left open on purpose


def any_type(message: WsMessage[Any]) -> None: ...


def unresolvable(message: WsMessage[OnlyForCheckers]) -> None: ...


def strange_but_no_message(message: OnlyForCheckers) -> None: ...


def undecodable(message: WsMessage[Order | dict[str, int]]) -> None: ...


class Method:
    def handle(self, message: WsMessage[Order]) -> None: ...

    def __call__(self, message: WsMessage[Order]) -> None: ...


@pytest.mark.parametrize(
    ("fn", "type_"),
    [
        (typed, Order),
        (Method().handle, Order),
        (Method(), Order),
        (untyped, None),
        (any_type, None),
        (one_message, None),
        (strange_but_no_message, None),
    ],
)
def test_the_annotation_says_what_data_must_be(fn: Any, type_: object) -> None:
    handler = Handler(fn)
    handler.resolve()
    handler.resolve()
    assert handler._validator is (None if type_ is None else validator_for(type_))


def test_a_type_that_cannot_be_found_or_decoded_is_told_at_the_start() -> None:
    app = WsApp()
    app.on_message("e", "/", unresolvable)
    with pytest.raises(InvalidHandler, match="TYPE_CHECKING"):
        app.routes()
    app = WsApp()
    app.on_message("e", "/", undecodable)
    with pytest.raises(InvalidHandler, match="its data type"):
        app.routes()


@pytest.mark.parametrize("annotation", [str, dict, Order, WsConnection])
def test_a_parameter_that_declares_something_else_than_a_message_is_told_at_the_start(
    annotation: type,
) -> None:
    def handler(order: Any) -> None: ...

    handler.__annotations__["order"] = annotation
    app = WsApp()
    app.on_message("e", "/", handler)
    with pytest.raises(InvalidHandler, match=rf"WsMessage\[{annotation.__name__}\]") as refused:
        app.routes()
    assert refused.value.handler.endswith("handler")


class OwnMessage(Protocol):
    path: str


@pytest.mark.parametrize("annotation", [object, WsMessage, OwnMessage, WsMessage | None])
def test_a_parameter_may_declare_what_a_message_is(annotation: Any) -> None:
    def handler(message: Any) -> None: ...

    handler.__annotations__["message"] = annotation
    app = WsApp()
    app.on_message("e", "/", handler)
    app.routes()


def test_a_type_may_be_declared_after_its_handler() -> None:
    namespace: dict[str, Any] = {"WsMessage": WsMessage, "msgspec": msgspec}
    exec(
        "from __future__ import annotations\n"
        "def handler(message: WsMessage[Later]): ...\n"
        "class Later(msgspec.Struct):\n    n: int\n",
        namespace,
    )
    app = WsApp()
    app.on_message("e", "/", namespace["handler"])
    app.routes()


# Includes


def test_includes_nest_keep_their_order_and_join_their_prefixes() -> None:
    app, chat, inner = WsApp(), WsRoutes(), WsRoutes()
    app.on_message("1", "/")(nothing)
    app.include(chat, prefix="/chat/")
    app.on_message("5", "/end")(nothing)
    chat.on_message("2", "/:room")(nothing)
    chat.include(inner, prefix="/in/:x")
    inner.on_message("3", "/deep")(nothing)
    inner.on_message("4", "*")(nothing)
    assert [(event, path) for event, path, _ in app.routes()] == [
        ("1", "/"),
        ("2", "/chat/:room"),
        ("3", "/chat/in/:x/deep"),
        ("4", "/chat/in/:x*"),
        ("5", "/end"),
    ]


@pytest.mark.parametrize(
    ("prefix", "path", "joined"),
    [
        ("", "/a", "/a"),
        ("", "a", "a"),
        ("/p", "/a", "/p/a"),
        ("/p/", "/a", "/p/a"),
        ("/p", "a", "/p/a"),
        ("/p", "/", "/p/"),
        ("/p", "", "/p"),
        ("/p", "*", "/p*"),
        ("/p", ":x?", "/p/:x?"),
    ],
)
def test_a_prefix_and_a_path_meet_in_one_slash(prefix: str, path: str, joined: str) -> None:
    assert join_prefix(prefix, path) == joined


def test_what_is_declared_after_the_include_counts_too() -> None:
    app, late = WsApp(), WsRoutes()
    app.include(late, prefix="/late")
    late.on_message("e", "/x")(nothing)
    late.on_connect(nothing)
    late.on_disconnect(nothing)

    @late.around_message
    async def around(call_next: Callable[[], Awaitable[object]]) -> object:
        return await call_next()

    plan = compile_plan(app)
    assert plan.routes == [("e", "/late/x", nothing)]
    assert plan.on_connect == plan.on_disconnect == [nothing]
    assert plan.around == [around]


def test_hooks_run_in_the_order_of_declaration_across_includes() -> None:
    app, inner = WsApp(), WsRoutes()
    hooks = [lambda: None for _ in range(3)]
    app.on_connect(hooks[0])
    app.include(inner)
    app.on_connect(hooks[2])
    inner.on_connect(hooks[1])
    assert compile_plan(app).on_connect == hooks


def test_routes_that_would_include_themselves_are_refused() -> None:
    a, b, c = WsRoutes(), WsRoutes(), WsRoutes()
    a.include(b)
    b.include(c)
    for inner, outer in ((a, a), (a, b), (a, c)):
        with pytest.raises(ConfigurationError, match="themselves"):
            outer.include(inner)


def test_one_set_of_routes_may_be_included_twice_and_in_two_apps() -> None:
    shared = WsRoutes()
    shared.on_message("e", "/x")(nothing)
    one, other = WsApp(), WsApp()
    one.include(shared, prefix="/a")
    one.include(shared, prefix="/b")
    other.include(shared)
    assert [path for _, path, _ in one.routes()] == ["/a/x", "/b/x"]
    assert [path for _, path, _ in other.routes()] == ["/x"]


def test_a_bad_prefix_is_refused_at_the_include() -> None:
    with pytest.raises(InvalidPattern):
        WsApp().include(WsRoutes(), prefix="/:(")


async def test_a_prefix_takes_part_in_matching(connect: Connect) -> None:
    from wsrooms import use_route_params

    app, chat = WsApp(), WsRoutes()
    chat.on_message("say", "/:room", lambda: use_route_params().params)
    app.include(chat, prefix="/team/:team")
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("say", "/team/a/b") == {"team": "a", "room": "b"}
        assert (await peer.call("say", "/b"))["error"]["code"] == 404


# Where a function is


HERE = str(Path(__file__)).removeprefix(str(Path.cwd() / "_")[:-1])


@functools.wraps(nothing)
def decorated() -> None: ...


@pytest.mark.parametrize(
    ("fn", "code"),
    [
        (nothing, nothing.__code__),
        (decorated, nothing.__code__),
        (functools.partial(functools.partial(nothing)), nothing.__code__),
        (Callable_.static, Callable_.static.__code__),
        (Callable_(), Callable_.__call__.__code__),
    ],
    ids=["function", "decorated", "partial", "method", "object"],
)
def test_a_place_is_that_of_the_innermost_function(fn: Any, code: Any) -> None:
    assert place_of(fn) == f"{HERE}:{code.co_firstlineno}"


def test_what_is_built_in_has_no_place() -> None:
    assert place_of(len) is None


def test_a_place_outside_of_the_current_folder_is_told_in_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert place_of(nothing) == f"{__file__}:{nothing.__code__.co_firstlineno}"
    gone.rmdir()  # then there is none
    assert place_of(nothing) == f"{__file__}:{nothing.__code__.co_firstlineno}"


# Calls that are no declarations


def test_a_bare_on_message_is_told_how_to_write_it() -> None:
    declare: Any = WsRoutes().on_message
    with pytest.raises(InvalidHandler, match=r'write @on_message\("event", "/path"\) above it'):
        declare(nothing)
    with pytest.raises(ConfigurationError, match=r"on_message\('join'\) has no path: give both"):
        declare("join")
    declare("join", path="/", handler=nothing)


def test_only_routes_can_be_included() -> None:
    include: Any = WsRoutes().include
    with pytest.raises(ConfigurationError, match=r"include\('chat'\): give a WsRoutes object"):
        include("chat")

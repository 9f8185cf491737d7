"""The public names: all there as was promised, all documented, quick to import."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

import pytest

import wsrooms
import wsrooms.transports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(wsrooms.__file__).parent.parent
PROMISED = (ROOT / "tests/api/promised.txt").read_text("utf-8")

DIFFERENT = {
    # What is given is promised, and a little more: a TaggedTransport is such a transport,
    # and a dict such a mapping.
    "def tagged -> ": "TaggedTransport",
    # "..." in the promise: an object made for each app.
    "def WsApp.__init__(limits)": "None | WsLimits",
    # None says the same as leaving it out.
    "ServerOptions.subprotocols": "None | Sequence[str]",
}
"""Where a type is another than the promised one, and why every caller may still rely on that."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api", ROOT / "tools/api.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope="module")
def snapshot() -> str:
    """The public API of what is installed, else of the source, whichever Python that is on."""
    tool = load_tool()
    folders = dict(tool.SOURCES)
    for name in folders:
        installed = importlib.util.find_spec(name)
        if installed is not None and installed.origin is not None:
            folders[name] = Path(installed.origin).parent.parent
    text = tool.snapshot(folders)
    assert isinstance(text, str)
    return text


class _Plain(ast.NodeTransformer):
    """Types that mean the same become the same text: no module, unions in order, no aliases."""

    def __init__(self, aliases: Mapping[str, ast.expr]) -> None:
        self._aliases = aliases

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Name(node.attr)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._aliases.get(node.id, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        parts = sorted(ast.unparse(self.visit(part)) for part in _members(node))
        return ast.Name(" | ".join(parts))


def _members(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_members(node.left), *_members(node.right)]
    return [node]


class Api:
    """A stub's text, by name: what is promised, or what there is."""

    def __init__(self, text: str) -> None:
        self._nodes = ast.parse(text).body
        self._aliases = {
            node.targets[0].id: node.value
            for node in self._nodes
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Subscript)
        }
        self._facts: dict[str, str] = {}
        for node in self._nodes:
            self._read(node, "")

    def facts(self) -> dict[str, str]:
        """Every name, parameter, default and type: what it is about, and what it is."""
        return self._facts

    def _read(self, node: ast.stmt, owner: str) -> None:
        if isinstance(node, ast.ClassDef):
            self._facts[f"class {node.name}"] = ""
            for base in node.bases:
                self._facts[f"class {node.name}({ast.unparse(base)})"] = ""
            for keyword in node.keywords:
                self._facts[f"class {node.name}({ast.unparse(keyword)})"] = ""
            for decorator in node.decorator_list:
                arguments = decorator.keywords if isinstance(decorator, ast.Call) else []
                for keyword in arguments:
                    self._facts[f"@dataclass {node.name}({ast.unparse(keyword)})"] = ""
            for member in node.body:
                self._read(member, f"{node.name}.")
        elif isinstance(node, Function):
            self._read_function(node, owner)
        elif isinstance(node, ast.AnnAssign):
            name = owner + ast.unparse(node.target)
            self._facts[name] = self._type(node.annotation)
            if node.value is not None:
                self._facts[f"{name} ="] = ast.unparse(node.value)
        elif isinstance(node, ast.Assign) and not owner:
            name = ast.unparse(node.targets[0])
            self._facts.setdefault(f"{ast.unparse(node)}", "")
            self._facts[name] = ""
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "UNSET":
            self._facts["UNSET"] = "UnsetType"

    def _read_function(self, node: Function, owner: str) -> None:
        name = owner + node.name
        decorators = {ast.unparse(each) for each in node.decorator_list}
        if "property" in decorators:
            self._facts[name] = self._type(node.returns)
            return
        kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        positional = [*node.args.posonlyargs, *node.args.args]
        given = "".join(f"{each.arg}, " for each in positional if each.arg != "self")
        # Overloads differ in what they are called with.
        key = f"{kind} {name}({given})" if "overload" in decorators else f"{kind} {name}"
        self._facts[key] = ""
        self._facts[f"{key} -> "] = self._type(node.returns)
        defaults = [None] * (len(positional) - len(node.args.defaults)) + node.args.defaults
        for place, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
            self._facts[f"{key}({argument.arg}) at"] = str(place)
            self._read_parameter(key, argument, default)
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            self._read_parameter(key, argument, default)
        if node.args.kwarg is not None:
            self._read_parameter(key, node.args.kwarg, None)

    def _read_parameter(self, key: str, argument: ast.arg, default: ast.expr | None) -> None:
        self._facts[f"{key}({argument.arg})"] = self._type(argument.annotation)
        if default is not None:
            self._facts[f"{key}({argument.arg}) ="] = ast.unparse(default)

    def _type(self, node: ast.expr | None) -> str:
        if node is None:
            return ""
        return ast.unparse(_Plain(self._aliases).visit(ast.parse(ast.unparse(node)).body[0]))


def missing(promised: Api, api: Api) -> list[str]:
    """What is promised and is not so."""
    there = api.facts()
    found: list[str] = []
    for fact, promise in promised.facts().items():
        if fact not in there:
            found.append(f"{fact}: is not there")
        elif promise not in ("...", there[fact]) and DIFFERENT.get(fact) != there[fact]:
            found.append(f"{fact}: {promise} was promised, and it is {there[fact]}")
    for fact in there.keys() - promised.facts().keys():
        function, opened, rest = fact.partition("(")
        is_parameter = rest.endswith(")") and function in promised.facts()
        if opened and is_parameter and f"{fact} =" not in there:
            found.append(f"{fact}: is new, and has no default")
    return found


def test_everything_that_was_promised_is_there(snapshot: str) -> None:
    assert missing(Api(PROMISED), Api(snapshot)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("def get_connection(self, id: str)", "def get(self, id: str)", "is not there"),
        ("def get_connection(self, id: str)", "def get_connection(self, key: str)", "(id)"),
        ("def get_connection(self, id: str)", "def get_connection(self, id: int)", "(id): str"),
        ("def get_connection(self, id: str)", "async def get_connection(self, id: str)", "there"),
        ("code: int = 1000", "code: int = 1001", "1000 was promised"),
        ("code: int = 1000, reason: str = ''", "reason: str = '', code: int = 1000", "at: 1"),
        ("class WsApp(WsRoutes)", "class WsApp", "class WsApp(WsRoutes)"),
        ("    outbox_messages: int = 10000", "    outbox_messages: int = 10", "10000 was promised"),
        ("    reuse_port: bool", "    reuse_ports: bool", "ServerOptions.reuse_port"),
        ("@dataclass(frozen=True)\nclass Gap", "@dataclass\nclass Gap", "frozen=True"),
        ("def room(self, name: str)", "def room(self, name: str, more: int)", "has no default"),
        ("def health(self) -> WsHealth", "def health(self) -> str", "WsHealth was promised"),
        ("def on_message(self, event: str, path: str) ->", "def o(self) ->", "on_message"),
        ("    @property\n    def has_data(self) -> bool: ...\n", "", "WsMessage.has_data"),
        ("    state: TransportState", "    state: str", "WsHealth.state"),
        ("rooms: set[str]", "rooms: list[str]", "set[str] was promised"),
    ],
)
def test_a_promise_that_is_not_kept_is_told(
    snapshot: str, was: str, becomes: str, told: str
) -> None:
    assert was in snapshot
    found = missing(Api(PROMISED), Api(snapshot.replace(was, becomes)))
    assert any(told in line for line in found), found


def test_the_snapshot_is_what_is_written_down() -> None:
    """Of the repository's source: what is installed may be another."""
    tool = load_tool()
    assert tool.snapshot() == tool.SNAPSHOT.read_text("utf-8"), "run python tools/api.py"


def test_a_change_of_the_api_is_shown_with_how_to_write_it_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = load_tool()
    changed = tmp_path / "snapshot.txt"
    changed.write_text(tool.snapshot().replace("def health(self)", "def healthy(self)"), "utf-8")
    monkeypatch.setattr(tool, "SNAPSHOT", changed)
    monkeypatch.setattr(sys, "argv", ["api.py", "--check"])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    told = str(caught.value)
    assert "-    def healthy(self) -> WsHealth: ..." in told
    assert "+    def health(self) -> WsHealth: ..." in told
    assert "python tools/api.py" in told
    monkeypatch.setattr(sys, "argv", ["api.py"])
    tool.main()
    monkeypatch.setattr(sys, "argv", ["api.py", "--check"])
    tool.main()


def test_values_are_frozen() -> None:
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


def test_all_names_what_is_public_sorted_and_nothing_else() -> None:
    names = wsrooms.__all__
    assert len(set(names)) == len(names)
    # As ruff sorts it: constants, then classes, then the rest.
    assert names == sorted(
        names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
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
        "unwanted = ('uvloop', 'pydantic', 'attrs', 'redis', 'nats', 'nkeys', 'aiokafka',\n"
        "            'websockets.legacy', 'websockets.asyncio')\n"
        "print([name for name in sys.modules if name in unwanted or name.startswith('wsrooms_')])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert found.stdout.strip() == "[]"

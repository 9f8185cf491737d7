"""The public API, written down: a change of it is a change of tests/api/snapshot.txt.

It holds every public name of the modules in ``PUBLIC``, as a stub would: classes with
their public members, functions with their overloads, all signatures and defaults. It
is read from the source and not from the objects, so it is the same on every Python.

    python tools/api.py           renew it
    python tools/api.py --check   fail, with the difference, if it is not what it was
"""

from __future__ import annotations

import argparse
import ast
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {path.name: path.parent for path in sorted(ROOT.glob("packages/*/src/wsrooms*"))}
SNAPSHOT = ROOT / "tests/api/snapshot.txt"
PUBLIC = (
    "wsrooms",
    "wsrooms.transports",
    "wsrooms.testing",
    "wsrooms.testing.conformance",
    *sorted(SOURCES.keys() - {"wsrooms"}),  # a transport each
)

Function = ast.FunctionDef | ast.AsyncFunctionDef

KEPT_DECORATORS = {
    "overload",
    "property",
    "classmethod",
    "staticmethod",
    "dataclass",
    "runtime_checkable",
    "final",
}
MANAGERS = {
    "asynccontextmanager": "AbstractAsyncContextManager",
    "contextmanager": "AbstractContextManager",
}
# What a class has of these says nothing to a caller.
UNTOLD = {"__repr__", "__del__", "__reduce__", "__slots__", "__doc__", "__match_args__"}
WIDTH = 100


class Found(NamedTuple):
    """Where a name is defined, and by which statements; none for what is not of wsrooms."""

    module: str
    nodes: list[ast.stmt]


class Source:
    """The modules of our packages, parsed when they are first asked for."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._modules: dict[str, list[ast.stmt]] = {}

    def body(self, module: str) -> list[ast.stmt]:
        """All statements of a module, also those for type checkers only."""
        if module not in self._modules:
            package, *inner = module.split(".")
            place = self._folders[package].joinpath(package, *inner)
            path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            body: list[ast.stmt] = []
            for node in ast.parse(path.read_text("utf-8")).body:
                body.extend(node.body if isinstance(node, ast.If) else [node])
            self._modules[module] = body
        return self._modules[module]

    def exported(self, module: str) -> list[str]:
        for node in self.body(module):
            if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "__all__":
                return list(ast.literal_eval(node.value))
        sys.exit(f"{module} has no __all__")

    def find(self, module: str, name: str) -> Found:
        """Follow imports to where ``name`` is defined."""
        nodes: list[ast.stmt] = []
        for node in self.body(module):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        if (node.module or "").partition(".")[0] not in self._folders:
                            return Found(node.module or "", [])
                        return self.find(node.module or "", alias.name)
            elif isinstance(node, ast.ClassDef | Function):
                if node.name == name:
                    nodes.append(node)
            elif isinstance(node, ast.Assign):
                if name_of(node.targets[0]) == name:
                    nodes.append(node)
            elif isinstance(node, ast.AnnAssign) and name_of(node.target) == name:
                nodes.append(node)
        return Found(module, nodes)


class Writer:
    """Turns what is public into the text of a stub."""

    def __init__(self, source: Source, public: set[str]) -> None:
        self._source = source
        self._public = public
        self.variables: set[str] = set()

    def write(self, module: str, name: str) -> list[str]:
        """The lines of one public name."""
        home, nodes = self._source.find(module, name)
        if not nodes:
            return [f"from {home} import {name}"]
        lines: list[str] = []
        functions = [node for node in nodes if isinstance(node, Function)]
        if functions:
            return self._functions(home, functions)
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                lines += self._class(home, node)
            elif isinstance(node, ast.AnnAssign):
                lines.append(f"{name}: {self._type(home, node.annotation)}")
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                lines.append(f"{name}: {type(node.value.value).__name__}")
            elif isinstance(node, ast.Assign):
                lines.append(f"{name} = {self._type(home, node.value)}")
        return lines

    def _class(self, module: str, node: ast.ClassDef) -> list[str]:
        members, bases = self._members(module, node)
        arguments = [self._type(module, base) for base in bases]
        arguments += [f"{each.arg}={ast.unparse(each.value)}" for each in node.keywords]
        told = f"({', '.join(arguments)})" if arguments else ""
        lines = [f"    {line}" for member in members for line in member]
        return [*self._decorators(node), f"class {node.name}{told}:", *(lines or ["    ..."])]

    def _members(self, module: str, node: ast.ClassDef) -> tuple[list[list[str]], list[ast.expr]]:
        """What a caller may use, and the bases that are told by themselves."""
        fields = any(name_of(each) == "dataclass" for each in node.decorator_list) or any(
            name_of(base) in ("TypedDict", "NamedTuple") for base in node.bases
        )
        attributes: dict[str, list[str]] = {}
        methods: dict[str, list[str]] = {}
        bases: list[ast.expr] = []
        for base in node.bases:
            found = self._source.find(module, name_of(base) or "")
            inner = found.nodes[0] if found.nodes else None
            if isinstance(inner, ast.ClassDef) and inner.name not in self._public:
                members, more = self._members(found.module, inner)
                bases += more
                for inherited in members:
                    told = ast.parse("\n".join(inherited)).body[0]
                    name = told.name if isinstance(told, Function) else inherited[0].split(":")[0]
                    methods[name] = inherited
            else:
                bases.append(base)
        functions: dict[str, list[Function]] = {}
        for member in node.body:
            if isinstance(member, Function):
                functions.setdefault(member.name, []).append(member)
            elif isinstance(member, ast.AnnAssign):
                self._attribute(module, member, attributes, fields=fields)
            elif isinstance(member, ast.Assign):
                given = name_of(member.targets[0]) or "_"
                if is_public(given):
                    attributes[given] = [ast.unparse(member)]
        for init in functions.get("__init__", []):
            self._attributes_made(module, node, init, attributes)
        for name, given_functions in functions.items():
            if is_public(name) and not (
                name == "__init__" and self._is_for_us(module, given_functions[0])
            ):
                methods[name] = self._functions(module, given_functions)
                attributes.pop(name, None)
        ordered = attributes if fields else dict(sorted(attributes.items()))
        by_name = sorted(methods, key=lambda name: (name != "__init__", name))
        return [*ordered.values(), *(methods[name] for name in by_name)], bases

    def _attribute(
        self,
        module: str,
        node: ast.AnnAssign,
        attributes: dict[str, list[str]],
        *,
        fields: bool,
    ) -> None:
        name = name_of(node.target) or "_"
        if is_public(name):
            default = f" = {ast.unparse(node.value)}" if fields and node.value else ""
            attributes[name] = [f"{name}: {self._type(module, node.annotation)}{default}"]

    def _attributes_made(
        self, module: str, cls: ast.ClassDef, init: Function, attributes: dict[str, list[str]]
    ) -> None:
        """What ``__init__`` gives an object."""
        given = {arg.arg: arg.annotation for arg in all_parameters(init.args)}
        for node in ast.walk(init):
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            target = node.target if isinstance(node, ast.AnnAssign) else target
            if not isinstance(target, ast.Attribute) or name_of(target.value) != "self":
                continue
            name = target.attr
            if not is_public(name) or name in attributes:
                continue
            annotation: ast.expr | None = None
            if isinstance(node, ast.AnnAssign):
                annotation = node.annotation
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                annotation = ast.Name(type(node.value.value).__name__)
            elif isinstance(node, ast.Assign):
                annotation = given.get(name_of(node.value) or "")
            if annotation is None:
                sys.exit(f"{cls.name}.{name} is public: annotate it")
            attributes[name] = [f"{name}: {self._type(module, annotation)}"]

    def _is_for_us(self, module: str, init: Function) -> bool:
        """Whether only wsrooms makes such objects: from others that are not public."""
        named = {
            name_of(node) or ""
            for argument in all_parameters(init.args)
            if argument.annotation is not None
            for node in ast.walk(argument.annotation)
        }
        found = {name: self._source.find(module, name).nodes for name in named - self._public}
        return any(isinstance(node, ast.ClassDef) for nodes in found.values() for node in nodes)

    def _functions(self, module: str, nodes: list[Function]) -> list[str]:
        overloads = [node for node in nodes if "overload" in map(name_of, node.decorator_list)]
        lines: list[str] = []
        for node in overloads or nodes:
            lines += self._function(module, node)
        return lines

    def _function(self, module: str, node: Function) -> list[str]:
        returns = "" if node.returns is None else f" -> {self._type(module, node.returns)}"
        prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        for decorator in node.decorator_list:
            manager = MANAGERS.get(name_of(decorator) or "")
            if manager and isinstance(node.returns, ast.Subscript):
                prefix = "def"
                returns = f" -> {manager}[{self._type(module, node.returns.slice)}]"
        parameters = self._parameters(module, node.args)
        head = f"{prefix} {node.name}({', '.join(parameters)}){returns}: ..."
        if len(head) <= WIDTH:
            return [*self._decorators(node), head]
        lines = [f"    {parameter}," for parameter in parameters]
        return [*self._decorators(node), f"{prefix} {node.name}(", *lines, f"){returns}: ..."]

    def _parameters(self, module: str, given: ast.arguments) -> list[str]:
        def told(argument: ast.arg, default: ast.expr | None, stars: str = "") -> str:
            text = stars + argument.arg
            if argument.annotation is not None:
                text += f": {self._type(module, argument.annotation)}"
            return text if default is None else f"{text} = {ast.unparse(default)}"

        positional = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
        lines = [told(*pair) for pair in zip(positional, defaults, strict=True)]
        if given.posonlyargs:
            lines.insert(len(given.posonlyargs), "/")
        if given.vararg is not None:
            lines.append(told(given.vararg, None, "*"))
        elif given.kwonlyargs:
            lines.append("*")
        lines += [told(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
        if given.kwarg is not None:
            lines.append(told(given.kwarg, None, "**"))
        return lines

    def _decorators(self, node: ast.ClassDef | Function) -> list[str]:
        told: list[str] = []
        for decorator in node.decorator_list:
            name = name_of(decorator)
            if name == "cached_property":
                told.append("@property")
            elif name in KEPT_DECORATORS:
                told.append(f"@{ast.unparse(decorator)}")
        return told

    def _type(self, module: str, node: ast.expr) -> str:
        return ast.unparse(_Types(self, module).visit(ast.parse(ast.unparse(node), mode="eval")))

    def expand(self, module: str, name: str) -> ast.expr | None:
        """What a name stands for that is an alias, and not public itself."""
        home, nodes = self._source.find(module, name)
        if name in self._public or not nodes or not isinstance(nodes[0], ast.Assign):
            return None
        value = nodes[0].value
        if isinstance(value, ast.Call) and name_of(value) in ("TypeVar", "ParamSpec"):
            self.variables.add(f"{name} = {ast.unparse(value)}")
            return None
        return ast.parse(self._type(home, value), mode="eval").body


class _Types(ast.NodeTransformer):
    """Writes out private aliases, and types that are quoted."""

    def __init__(self, writer: Writer, module: str) -> None:
        self._writer = writer
        self._module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._writer.expand(self._module, node.id) or node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node if name_of(node.value) == "Literal" else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        quoted: ast.AST = self.visit(ast.parse(node.value, mode="eval").body)
        return quoted


def name_of(node: ast.AST | None) -> str | None:
    """The last name of ``a.b``, ``b``, ``b(...)`` and ``b[...]``."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def is_public(name: str) -> bool:
    """Whether a caller sees it: no underscore, or a method that Python calls for him."""
    if name.startswith("__") and name.endswith("__"):
        return name not in UNTOLD
    return not name.startswith("_")


def all_parameters(arguments: ast.arguments) -> list[ast.arg]:
    some = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return some + [each for each in (arguments.vararg, arguments.kwarg) if each is not None]


def snapshot(folders: Mapping[str, Path] = SOURCES) -> str:
    """The public API of the packages in these folders, as text."""
    source = Source(folders)
    exported = {module: source.exported(module) for module in PUBLIC}
    writer = Writer(source, {name for names in exported.values() for name in names})
    parts: list[str] = []
    written: dict[tuple[str, str], str] = {}
    for module, names in exported.items():
        parts.append(f"# {module}")
        for name in names:
            home = (source.find(module, name).module, name)
            if home in written:
                line = f"from {written[home]} import {name}"
                if parts[-1].startswith("from "):
                    parts[-1] += f"\n{line}"
                else:
                    parts.append(line)
            else:
                written[home] = module
                parts.append("\n".join(writer.write(module, name)))
    return "\n\n".join(["\n".join(sorted(writer.variables)), *parts]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="The public API, written down.")
    parser.add_argument("--check", action="store_true", help="only compare")
    now = snapshot()
    if not parser.parse_args().check:
        SNAPSHOT.write_text(now, "utf-8")
        return
    was = SNAPSHOT.read_text("utf-8")
    if now != was:
        diff = difflib.unified_diff(
            was.splitlines(), now.splitlines(), "as written down", "as it is", lineterm="", n=2
        )
        sys.exit(
            "\n".join(diff) + "\n\nThe public API has changed. If that is meant: "
            "python tools/api.py, and an entry in CHANGELOG.md."
        )


if __name__ == "__main__":
    main()

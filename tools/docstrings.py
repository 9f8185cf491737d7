"""The docstrings as Markdown, for the reference of the site.

They are written in reStructuredText, as editors and ``help()`` show them: with roles, code
blocks and tables that Markdown does not know. mkdocs loads this as an extension of griffe.
"""

from __future__ import annotations

import contextlib
import re
import textwrap
from importlib import import_module
from typing import Any

ROLE = re.compile(r":(?:meth|class|func|data|attr|mod|exc):`(~?)([^`]+)`")
BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
TABLE = re.compile(r"^=+(  +)=+\n(.+?)\n=+  +=+$", re.MULTILINE | re.DOTALL)


def markdown(docstring: str) -> str:
    """What ``docstring`` says, in Markdown."""
    text = BLOCK.sub(_fenced, docstring + "\n")
    text = TABLE.sub(_table, text)
    return ROLE.sub(_code, text).rstrip("\n")


def _fenced(block: re.Match[str]) -> str:
    indent, language, code = block.groups()
    fenced = f"```{language}\n{textwrap.dedent(code).strip()}\n```\n\n"
    return textwrap.indent(fenced, indent)


def _table(table: re.Match[str]) -> str:
    lines: list[str] = []
    for line in table[2].splitlines():
        first, _, second = line.partition("  ") if line[0] != " " else ("", "", line)
        if first:
            lines.append(f"| {first} | {second.strip()} |")
        else:
            lines[-1] = f"{lines[-1].removesuffix(' |')} {second.strip()} |"
    return "\n".join(["| | |", "|---|---|", *lines])


def _code(role: re.Match[str]) -> str:
    short, name = role.groups()
    shown = name.rpartition(".")[2] if short else name
    return f"[`{shown}`][{name}]" if name.startswith("wsrooms.") else f"`{shown}`"


def _on_instance(_: object, *, obj: Any, **__: object) -> None:
    """Griffe calls this for each module, class, function and attribute that it reads."""
    if obj.docstring is not None:
        obj.docstring.value = markdown(obj.docstring.value)


with contextlib.suppress(ImportError):  # griffe comes with mkdocstrings, and only there
    Docstrings = type(
        "Docstrings", (import_module("griffe").Extension,), {"on_instance": _on_instance}
    )

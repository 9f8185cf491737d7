"""Draws the layers of the core into CONTRIBUTING.md, from the contract that CI enforces.

With ``--check`` it draws nothing, and fails if the drawing is not the contract's.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"(?<=<!-- layers -->\n).*?(?=<!-- /layers -->)", re.DOTALL)


def layers() -> list[list[str]]:
    """The modules of each layer, the top one first; brackets mark those to come."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    [contract] = [contract for contract in contracts if contract["id"] == "layers"]
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def drawing(rows: list[list[str]]) -> str:
    """A stack of boxes, each as wide as the widest layer."""
    texts = ["   ".join(row) for row in rows]
    width = max(map(len, texts)) + 4
    border = f"+{'-' * width}+"
    boxes = [line for text in texts for line in (border, f"|{text:^{width}}|")]
    return "\n".join(["```text", *boxes, border, "```", ""])


def main(*, check: bool) -> None:
    """Bring the page and the contract together, or tell that they differ."""
    page = PAGE.read_text("utf-8")
    drawn = BLOCK.sub(lambda _: drawing(layers()), page)
    if check and drawn != page:
        sys.exit("CONTRIBUTING.md shows other layers than pyproject.toml: run tools/layers.py")
    PAGE.write_text(drawn, "utf-8")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])

"""Draws the layers of the packages into CONTRIBUTING.md, from the contracts that CI enforces.

Each contract whose id begins with "layers" is drawn between the two marks with its id.

With ``--check`` it draws nothing, and fails if the drawing is not the contracts'.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"(<!-- (layers[a-z ]*) -->\n).*?(?=<!-- /\2 -->)", re.DOTALL)


def layers() -> dict[str, list[list[str]]]:
    """By the contract's id the modules of each layer, the top one first.

    Brackets mark modules that are to come.
    """
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    return {
        contract["id"]: [
            [name.strip() for name in layer.split("|")] for layer in contract["layers"]
        ]
        for contract in contracts
        if contract["id"].startswith("layers")
    }


def drawing(rows: list[list[str]]) -> str:
    """A stack of boxes, each as wide as the widest layer."""
    texts = ["   ".join(row) for row in rows]
    width = max(map(len, texts)) + 4
    border = f"+{'-' * width}+"
    boxes = [line for text in texts for line in (border, f"|{text:^{width}}|")]
    return "\n".join(["```text", *boxes, border, "```", ""])


def main(*, check: bool) -> None:
    """Bring the page and the contracts together, or tell that they differ."""
    page = PAGE.read_text("utf-8")
    contracts = layers()
    if missing := contracts.keys() ^ {found[2] for found in BLOCK.finditer(page)}:
        sys.exit(f"there is a contract and no drawing, or the other way round: {sorted(missing)}")
    drawn = BLOCK.sub(lambda found: found[1] + drawing(contracts[found[2]]), page)
    if check and drawn != page:
        sys.exit("CONTRIBUTING.md shows other layers than pyproject.toml: run tools/layers.py")
    PAGE.write_text(drawn, "utf-8")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])

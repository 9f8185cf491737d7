"""``make bench``: see ``python benchmarks/run.py --help`` and docs/performance.md."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Started as a file, Python finds this folder and not the one that holds the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.harness.programs import main

    sys.exit(main(sys.argv[1:]))

"""Where the time of a server goes: ``python benchmarks/profile.py SERVER SCENARIO``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # As in run.py; and this folder would hide the standard library's own ``profile``.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.harness.profiler import main

    sys.exit(main())

"""What only Kafka asks: ``python benchmarks/kafka_cost.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # As in run.py.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.harness.kafka.cli import main

    sys.exit(main())

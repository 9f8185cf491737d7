"""Checks what ``import wsrooms`` costs: under 100 ms, and nothing that is optional.

Runs in any environment that has wsrooms; what it measures is a fresh process. What counts
is the processor's time that wsrooms adds to ``import asyncio``, which every program that
uses it imports anyway. Where asyncio itself takes long the machine is slow or busy, and
the limit is twice asyncio's time.
"""

from __future__ import annotations

import resource
import subprocess
import sys

LIMIT_MS = 100.0
LIMIT_IN_ASYNCIOS = 2.0
BROKERS = {"redis", "hiredis", "nats", "nkeys", "aiokafka"}
OPTIONAL = {"pydantic", "attrs", "attr", "uvloop", "pytest", *BROKERS}


def cost_ms(code: str) -> float:
    """The processor's time that a fresh Python spends on ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    listing = "import wsrooms, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.check_output([sys.executable, "-I", "-c", listing], text=True).split()
    transports = {name for name in modules if name.startswith("wsrooms_")}
    if unwanted := transports | OPTIONAL.intersection(modules):
        sys.exit(f"import wsrooms also imports {', '.join(sorted(unwanted))}")
    bare = loop = ours = float("inf")
    limit = LIMIT_MS
    # The fastest counts: a busy machine can only add. It has 30 chances to be quiet.
    for turn in range(30):
        bare = min(bare, cost_ms("pass"))
        loop = min(loop, cost_ms("import asyncio"))
        ours = min(ours, cost_ms("import asyncio, wsrooms"))
        limit = max(LIMIT_MS, LIMIT_IN_ASYNCIOS * (loop - bare))
        if turn >= 4 and ours - loop < limit:
            break
    print(f"Python {bare:.0f} ms, asyncio +{loop - bare:.0f} ms, wsrooms +{ours - loop:.0f} ms")
    if ours - loop >= limit:
        sys.exit(f"wsrooms takes {limit:.0f} ms or more to import")


if __name__ == "__main__":
    main()

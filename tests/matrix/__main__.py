"""``make matrix``: every scenario on every transport, and what became of it.

python -m tests.matrix                    runs all columns, and writes the record and its pages
python -m tests.matrix --only kafka       renews one column of them; --only may be repeated
python -m tests.matrix --only nats -k storm   runs some scenarios, and keeps nothing
python -m tests.matrix --draw             writes the pages anew, from the record
python -m tests.matrix --check            fails if the record or its pages are not what they must be
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.matrix import page, promises
from tests.matrix.checking import problems
from tests.matrix.columns import COLUMNS, Column
from tests.matrix.record import FAILED, NOT_RUN, Run, read, write
from tests.matrix.running import Job, Lanes, Unfinished

BESIDE = 2


class Outcome:
    """What the columns of one command gave.

    Args:
        keep: Whether it goes into the record.
    """

    def __init__(self, *, keep: bool) -> None:
        self.ok = True
        self._keep = keep

    def take(self, job: Job, run: Run | Unfinished) -> None:
        """Tell of a column that has ended, and keep it."""
        if isinstance(run, Unfinished):
            self.ok = False
            print(run)
            return
        results = [(name, entry) for name, entry in run.entries.items()]
        for name, entry in results:
            if entry.is_bad:
                self.ok = False
                print(f"{job.column.name}: {name}: {entry.result}: {entry.why}")
        counts = {each: run.count(each) for each in ("passed", "not applicable", FAILED, NOT_RUN)}
        told = ", ".join(f"{count} {each}" for each, count in counts.items() if count)
        print(f"{job.column.name}: {told}, in {run.seconds} s; {job.log}", flush=True)
        if self._keep:
            write({**read(), job.column.name: run})
            draw()
            job.forget()


def draw() -> None:
    """Write the pages, from the record."""
    runs = read()
    page.PAGE.write_text(page.drawn(runs), "utf-8")
    there = promises.PAGE.read_text("utf-8")
    promises.PAGE.write_text(promises.drawn(there, runs), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.matrix",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=[each.name for each in COLUMNS])
    parser.add_argument("-k", metavar="WORDS", help="as of pytest")
    parser.add_argument("--beside", type=int, default=BESIDE, metavar="N", help="columns at once")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    if asked.check:
        found = problems()
        print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
        return 1 if found else 0
    if asked.draw:
        draw()
        return 0
    columns = [each for each in COLUMNS if not asked.only or each.name in asked.only]
    return run(columns, asked.beside, ["-k", asked.k] if asked.k else [])


def run(columns: list[Column], beside: int, narrow: list[str]) -> int:
    outcome = Outcome(keep=not narrow)
    began = time.monotonic()
    try:
        Lanes(columns, beside, narrow, outcome.take).run()
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on where it was")
        return 130
    finally:
        print(f"{time.monotonic() - began:.0f} s")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""``python keeper.py program …``: run it, and kill it when standard input ends.

Whoever starts this holds the other end of the pipe, and the system closes that however its
holder ends, SIGKILL included. So nothing is left running that nobody owns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main() -> None:
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def watch() -> None:
        while os.read(0, 1024):
            """Nothing is said here."""
        program.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = program.wait()
    # As a shell tells it where a signal was the end.
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()

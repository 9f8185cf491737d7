"""A port of 127.0.0.1 that is one broker's from its first start to its end."""

from __future__ import annotations

import random
import socket
import sys

HOST = "127.0.0.1"


def free_port() -> int:
    """One below those that the system hands out, so that it is still free a moment later."""
    for port in random.Random().sample(range(20000, 30000), 100):
        with socket.socket() as one:
            # As servers do: a port whose last connections are still ending is free.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError("100 ports of this machine are in use")


class ReservedPort:
    """A free port, which nobody else is given while a killed broker is not back yet.

    Linux lets a socket listen on a port to which another one is bound that does not, if
    both have SO_REUSEADDR, as brokers and Docker do; connections to it are refused until
    then. Elsewhere the port is only known to have been free.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        """Let others have it."""
        self._socket.close()

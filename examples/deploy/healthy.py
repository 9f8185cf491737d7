"""Ends with 0 if the server of this machine is well: the health check of a container."""

import os
import socket
import sys


def main() -> int:
    # By hand, since an HTTP client takes longer to import than this to run, every few seconds.
    with socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=2) as server:
        server.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return 0 if server.recv(64).startswith(b"HTTP/1.1 200 ") else 1


if __name__ == "__main__":
    sys.exit(main())

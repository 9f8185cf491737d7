"""The client's half of a connection, without I/O.

For the library's own use so far: ``wsrooms.testing`` speaks through it.
"""

from wsrooms.client.protocol import ClientSide, Ended, Event, Opened, Pong, Received, Refused

__all__ = ["ClientSide", "Ended", "Event", "Opened", "Pong", "Received", "Refused"]

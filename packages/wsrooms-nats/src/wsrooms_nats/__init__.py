"""Rooms across instances through NATS: ``pip install "wsrooms-core[nats]"``."""

from wsrooms_nats._version import __version__

__all__ = ["__version__"]

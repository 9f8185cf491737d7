"""Redis and Valkey as the bus between instances of wsrooms."""

from wsrooms_redis._version import __version__ as __version__

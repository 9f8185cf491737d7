"""Rooms across instances through Redis or Valkey: ``pip install "wsrooms-core[redis]"``."""

from wsrooms_redis._version import __version__
from wsrooms_redis.options import RedisKeywords, RedisOptions
from wsrooms_redis.transport import RedisTransport, from_url

__all__ = ["RedisKeywords", "RedisOptions", "RedisTransport", "__version__", "from_url"]

"""The Redis transport in every form: by URL, by keywords, with TLS, users, secrets and sockets."""

# --8<-- [start:import_credentials]
from pathlib import Path

from redis.credentials import CredentialProvider

# --8<-- [end:import_credentials]
# --8<-- [start:import_app]
from wsrooms import WsApp

# --8<-- [end:import_app]
# --8<-- [start:import]
from wsrooms_redis import RedisTransport

# --8<-- [end:import]
# --8<-- [start:app]
ws = WsApp(broadcast_transport="redis://localhost:6379")
# --8<-- [end:app]

# --8<-- [start:options]
by_keywords = RedisTransport("redis://localhost:6379", namespace="staging", outbox_age=30.0)
by_url = RedisTransport("redis://localhost:6379?namespace=staging&outbox_age=30")
# --8<-- [end:options]


# --8<-- [start:tls]
def by_tls() -> RedisTransport:  # the file has to be there
    return RedisTransport("rediss://localhost:6380", ssl_ca_certs="ca.pem")


# --8<-- [end:tls]

# --8<-- [start:user]
by_user = RedisTransport("redis://wsrooms:p%40ssword@localhost:6379")
# --8<-- [end:user]


# --8<-- [start:credentials]
class FromFile(CredentialProvider):
    """A password that somebody else writes anew, such as Kubernetes or Vault."""

    def get_credentials(self) -> tuple[str, str]:
        return "wsrooms", Path("redis-password").read_text().strip()


by_provider = RedisTransport("redis://localhost:6379", credential_provider=FromFile())
# --8<-- [end:credentials]

# --8<-- [start:failover]
by_hosts = RedisTransport("redis://redis-1:6379,redis-2:6379")
by_sentinels = RedisTransport("redis+sentinel://sentinel-1,sentinel-2,sentinel-3/mymaster")
# --8<-- [end:failover]

# --8<-- [start:unix]
by_socket = RedisTransport("redis+unix:///run/redis/redis.sock")
# --8<-- [end:unix]

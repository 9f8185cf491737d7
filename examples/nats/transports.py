"""The NATS transport in every form: by URL, by keywords, with TLS, every login, and clusters."""

# --8<-- [start:import_app]
from wsrooms import WsApp

# --8<-- [end:import_app]
# --8<-- [start:import]
from wsrooms_nats import NatsTransport

# --8<-- [end:import]
# --8<-- [start:app]
ws = WsApp(broadcast_transport="nats://localhost:4222")
# --8<-- [end:app]

# --8<-- [start:options]
by_keywords = NatsTransport("nats://localhost:4222", namespace="staging", outbox_age=30.0)
by_url = NatsTransport("nats://localhost:4222?namespace=staging&outbox_age=30")
# --8<-- [end:options]


# --8<-- [start:tls]
def by_tls() -> NatsTransport:  # the file has to be there
    return NatsTransport("tls://localhost:4223", ssl_ca_certs="ca.pem")


# --8<-- [end:tls]

# --8<-- [start:user]
by_user = NatsTransport("nats://wsrooms:p%40ssword@localhost:4222")
by_token = NatsTransport("nats://s3cret@localhost:4222")
# --8<-- [end:user]


# --8<-- [start:signed]
def by_credentials() -> NatsTransport:  # a JWT and a seed, as `nsc` writes them
    return NatsTransport("nats://localhost:4222", user_credentials="wsrooms.creds")


def by_nkey() -> NatsTransport:  # a seed alone, whose public key the server has
    return NatsTransport("nats://localhost:4222", nkeys_seed="wsrooms.nk")


# --8<-- [end:signed]

# --8<-- [start:cluster]
by_servers = NatsTransport("nats://nats-1:4222,nats-2:4222,nats-3:4222")
by_distance = NatsTransport("nats://nats-1:4222,nats-2:4222,nats-3:4222", join_settle=0.5)
# --8<-- [end:cluster]

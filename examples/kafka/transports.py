"""The Kafka transport in every form: by URL, by keywords, with TLS, users, and several brokers."""

# --8<-- [start:import_app]
from wsrooms import WsApp

# --8<-- [end:import_app]
# --8<-- [start:import]
from wsrooms_kafka import KafkaTransport

# --8<-- [end:import]
# --8<-- [start:app]
ws = WsApp(broadcast_transport="kafka://localhost:9092")
# --8<-- [end:app]

# --8<-- [start:options]
by_keywords = KafkaTransport("kafka://localhost:9092", namespace="staging", outbox_age=30.0)
by_url = KafkaTransport("kafka://localhost:9092?namespace=staging&outbox_age=30")
# --8<-- [end:options]

# --8<-- [start:patient]
by_patience = KafkaTransport("kafka://localhost:9092", outbox_age=60.0, outbox_messages=40_000)
# --8<-- [end:patient]

# --8<-- [start:quick]
by_speed = KafkaTransport("kafka://localhost:9092", fetch_gather=0.0)
# --8<-- [end:quick]

# --8<-- [start:topic]
by_topic = KafkaTransport("kafka://localhost:9092", create_topic=False)
# --8<-- [end:topic]


# --8<-- [start:tls]
def by_tls() -> KafkaTransport:  # the file has to be there
    return KafkaTransport("kafka+ssl://localhost:9093", ssl_ca_certs="ca.pem")


# --8<-- [end:tls]

# --8<-- [start:user]
by_user = KafkaTransport("kafka://wsrooms:p%40ssword@localhost:9092")
by_scram = KafkaTransport(
    "kafka://localhost:9092",
    username="wsrooms",
    password="p@ssword",
    sasl_mechanism="SCRAM-SHA-512",
)
# --8<-- [end:user]

# --8<-- [start:brokers]
by_brokers = KafkaTransport("kafka://kafka-1:9092,kafka-2:9092,kafka-3:9092")
# --8<-- [end:brokers]

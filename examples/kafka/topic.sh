# The topic, made beforehand: for a transport that is given create_topic=False.
kafka-topics.sh --bootstrap-server localhost:9092 --create --topic wsrooms \
    --partitions 8 --replication-factor 3 --config min.insync.replicas=2 \
    --config cleanup.policy=delete --config retention.ms=300000 --config segment.ms=60000 \
    --config compression.type=producer --config message.timestamp.type=LogAppendTime

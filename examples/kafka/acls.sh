# A user that may do what the transport needs, and nothing else.
kafka-acls.sh --bootstrap-server localhost:9092 --command-config admin.properties \
    --add --allow-principal User:wsrooms --topic wsrooms --operation Read --operation Write

# And these, where it is to make the topic and to repair it: create_topic, which is the default.
kafka-acls.sh --bootstrap-server localhost:9092 --command-config admin.properties \
    --add --allow-principal User:wsrooms --topic wsrooms --operation Create --operation Alter

"""What only Kafka asks: what its settings do, and what the rooms of others cost."""

"""The product's loop played over a history with labels, without Kafka: `tidemark simulate`."""

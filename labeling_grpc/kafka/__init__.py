"""The labeling service beside Kafka: candidates in, labels out, one replica at a time."""

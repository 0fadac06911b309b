"""Bytewax flows over Kafka: thin flows, and the engine that makes them exactly-once and elastic."""

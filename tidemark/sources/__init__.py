"""Where rows come from besides Kafka: files to ingest, histories to learn from, frames in memory."""

"""Bytewax flows over Kafka: thin flows, and the engine that makes them exactly-once and elastic."""

import os

# Before Polars is imported: a round is too little work to share out among threads, and processes share the cores.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

"""The rules of the queue, in SQL that every store runs: see `labeling_grpc.queue.engine`."""

"""The labeling service: a durable queue of cases over gRPC, between `P.candidates` and `P.labels`."""

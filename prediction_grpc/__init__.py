"""Answers at once over gRPC: the service of a `stream` process whose pipeline has `[ask]`, and a client."""

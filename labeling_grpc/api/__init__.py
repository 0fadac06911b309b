"""The gRPC services: requests checked, dispatched, answered."""

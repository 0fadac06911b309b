"""The gRPC services: requests let in, checked, answered."""

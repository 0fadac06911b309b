"""Generated from proto/labeling_grpc/v1 by tools/generate_protos.py."""

"""Generated from proto/prediction_grpc/v1 by tools/generate_protos.py."""

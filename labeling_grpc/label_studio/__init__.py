"""A bridge to Label Studio, both ways: cases become its tasks, its annotations become labels.

`python -m labeling_grpc.label_studio PIPELINE` runs it, as `tidemark label-studio run` and `tidemark up` do. It is a
client of the labeling service, with an access token of its own, and a client of Label Studio's REST API.
"""

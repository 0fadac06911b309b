"""The name that clients of a queue's administration had before they moved to `labeling_grpc.client`."""

from labeling_grpc.client import (
    Annotator,
    AsyncLabelingAdminClient,
    AuditEntry,
    Changed,
    Gold,
    Imported,
    LabelingAdminClient,
    Quality,
)

__all__ = [
    "Annotator",
    "AsyncLabelingAdminClient",
    "AuditEntry",
    "Changed",
    "Gold",
    "Imported",
    "LabelingAdminClient",
    "Quality",
]

"""Clients of the labeling service: of those who answer cases, and of those who administer the queue."""

from labeling_grpc.client.administration import (
    Annotator,
    AsyncLabelingAdminClient,
    AuditEntry,
    Changed,
    Gold,
    Imported,
    LabelingAdminClient,
    Quality,
)
from labeling_grpc.client.channel import UnreachableError
from labeling_grpc.client.labeling import LabelingClient
from labeling_grpc.client.labeling_async import AsyncLabelingClient
from labeling_grpc.client.values import (
    Annotation,
    Case,
    CaseDetails,
    CaseEvent,
    CaseRecord,
    CaseState,
    Comment,
    Contribution,
    GivenAnswer,
    HistoryPoint,
    Progress,
    SimilarCase,
    Stats,
    Submitted,
    Task,
    Turn,
    Update,
)
from labeling_grpc.contract.errors import Reason, RefusedError

__all__ = [
    "Annotation",
    "Annotator",
    "AsyncLabelingAdminClient",
    "AsyncLabelingClient",
    "AuditEntry",
    "Case",
    "CaseDetails",
    "CaseEvent",
    "CaseRecord",
    "CaseState",
    "Changed",
    "Comment",
    "Contribution",
    "GivenAnswer",
    "Gold",
    "HistoryPoint",
    "Imported",
    "LabelingAdminClient",
    "LabelingClient",
    "Progress",
    "Quality",
    "Reason",
    "RefusedError",
    "SimilarCase",
    "Stats",
    "Submitted",
    "Task",
    "Turn",
    "UnreachableError",
    "Update",
]

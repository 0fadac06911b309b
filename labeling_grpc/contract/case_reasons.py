"""Why a case is asked: what records say, as messages say it."""

from __future__ import annotations

from typing import Final

from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Reason as CaseReason

REASONS: Final[dict[CaseReason, pb.Reason.ValueType]] = {
    "explore": pb.REASON_EXPLORE,
    "uncertain": pb.REASON_UNCERTAIN,
    "diverse": pb.REASON_DIVERSE,
    "cold": pb.REASON_COLD,
    "imported": pb.REASON_IMPORTED,
}

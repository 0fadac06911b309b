"""Why a call is refused: one exception with a machine-readable reason, and its way into and out of a gRPC status."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from labeling_grpc.contract.text import shortened
from tidemark.errors import LabelingError

DOMAIN: Final = "labeling.tidemark"
"""`domain` of the google.rpc.ErrorInfo in every refusal."""

_MAX_MESSAGE: Final = 900
_MAX_NAME: Final = 512
"""Bytes. A refusal travels in metadata, twice and encoded, and clients drop what has more than 8 KiB."""


class Reason(StrEnum):
    """`ErrorReason` of the contract, without its prefix."""

    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_CLASS = "UNKNOWN_CLASS"
    UNKNOWN_CASE = "UNKNOWN_CASE"
    UNKNOWN_PIPELINE = "UNKNOWN_PIPELINE"
    STALE_LEASE = "STALE_LEASE"
    CASE_CLOSED = "CASE_CLOSED"
    KEY_REUSED = "KEY_REUSED"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    STOPPING = "STOPPING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    UNKNOWN_ANNOTATION = "UNKNOWN_ANNOTATION"
    NOT_AMENDABLE = "NOT_AMENDABLE"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    ANNOTATOR_STOPPED = "ANNOTATOR_STOPPED"
    QUOTA_REACHED = "QUOTA_REACHED"
    UNKNOWN_ANNOTATOR = "UNKNOWN_ANNOTATOR"
    ANNOTATOR_ABSENT = "ANNOTATOR_ABSENT"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"


_CODES: Final[dict[Reason, grpc.StatusCode]] = {
    Reason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_CLASS: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KEY_REUSED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_CASE: grpc.StatusCode.NOT_FOUND,
    Reason.UNKNOWN_PIPELINE: grpc.StatusCode.NOT_FOUND,
    Reason.STALE_LEASE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CASE_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_MANY_CALLS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.STOPPING: grpc.StatusCode.UNAVAILABLE,
    Reason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.UNKNOWN_ANNOTATION: grpc.StatusCode.NOT_FOUND,
    Reason.NOT_AMENDABLE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.QUEUE_PAUSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ANNOTATOR_STOPPED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.QUOTA_REACHED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UNKNOWN_ANNOTATOR: grpc.StatusCode.NOT_FOUND,
    Reason.ANNOTATOR_ABSENT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.PROVIDER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


class RefusedError(LabelingError):
    """The labeling service refuses a call.

    reason: for programs.  field: the request's field at fault, "" where none is.  event_id: the case, "" where none is.
    retry_after: seconds after which the same call may pass, 0 where the service does not say.
    """

    def __init__(
        self, reason: Reason, message: str, *, field: str = "", event_id: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(shortened(message, _MAX_MESSAGE))
        self.reason = reason
        self.field = field
        self.event_id = event_id
        self.retry_after = retry_after

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code that goes with the reason."""
        return _CODES[self.reason]

    def status(self) -> status_pb2.Status:
        """Status with details: ErrorInfo always, BadRequest, ResourceInfo or RetryInfo where they apply."""
        number: int = self.code.value[0]
        info = error_details_pb2.ErrorInfo(reason=self.reason.value, domain=DOMAIN)
        if self.event_id:
            info.metadata["event_id"] = shortened(self.event_id, _MAX_NAME)
        details: list[any_pb2.Any] = [_packed(info)]
        if self.field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=str(self))
            details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
        if self.reason is Reason.UNKNOWN_CASE:
            resource = error_details_pb2.ResourceInfo(resource_type="case", resource_name=info.metadata["event_id"])
            details.append(_packed(resource))
        if self.retry_after:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(max(1, round(self.retry_after * 1_000)))
            details.append(_packed(retry))
        return status_pb2.Status(code=number, message=str(self), details=details)

    @classmethod
    def of(cls, status: status_pb2.Status) -> RefusedError | None:
        """The refusal that a status carries; None: the status is not one of ours."""
        if status.code == code_pb2.OK:
            return None
        info, field = error_details_pb2.ErrorInfo(), ""
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            bad = error_details_pb2.BadRequest()
            if detail.Is(bad.DESCRIPTOR) and detail.Unpack(bad) and bad.field_violations:
                field = bad.field_violations[0].field
            elif detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
            elif detail.Is(retry.DESCRIPTOR):
                detail.Unpack(retry)
        if info.domain != DOMAIN or info.reason not in Reason.__members__:
            return None
        return cls(
            Reason(info.reason),
            status.message,
            field=field,
            event_id=info.metadata.get("event_id", ""),
            retry_after=retry.retry_delay.ToMilliseconds() / 1_000,
        )


def unknown_case(event_id: str) -> RefusedError:
    """What is asked of a case that is not there."""
    return RefusedError(Reason.UNKNOWN_CASE, f"there is no case {event_id!r} in this queue", event_id=event_id)


def _packed(
    message: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.ResourceInfo
    | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed

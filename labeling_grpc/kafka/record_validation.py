"""What is asked of records from Kafka before the queue's database sees them: anybody may have written them."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from labeling_grpc.contract.text import MAX_EVENT_ID, is_name, storable
from tidemark.errors import RecordError
from tidemark.records import Candidate, Label

MAX_CLASSES: Final = 1_000
"""Probabilities of one case."""

MAX_TEXT: Final = 16_384
"""Bytes of a comment: 4,000 characters of any script fit."""

_INT64: Final = range(-(2**63), 2**63)


def misfit(candidate: Candidate) -> str | None:
    """Why a candidate that decodes can't be queued all the same; None if it can.

    Args:
        candidate: As it came.

    Returns:
        A sentence that holds numbers alone of what the candidate says.

    """
    if not is_name(candidate.event_id, MAX_EVENT_ID):
        return f"event_id must have 1 to {MAX_EVENT_ID} printable characters"
    for name in ("time", "tile", "tile_count", "expires_at"):
        value = getattr(candidate, name)
        if value is not None and value not in _INT64:
            return f"{name} does not fit 64 bits"
    probability = candidate.inclusion_probability
    if probability is not None and not 0.0 < probability <= 1.0:
        return f"inclusion_probability ({probability}) is not in (0, 1]"
    if not math.isfinite(candidate.priority):
        return "priority is not finite"
    if candidate.probabilities is not None and len(candidate.probabilities) > MAX_CLASSES:
        return f"{len(candidate.probabilities)} probabilities; at most {MAX_CLASSES} can be shown"
    return None


def fitting(label: Label) -> Label:
    """A label as the queue's database takes it.

    Args:
        label: As it came. What names something (event, annotation, annotator) is kept as it is or not at all; what is
            read by people alone loses what can't be stored.

    Returns:
        The label.

    Raises:
        RecordError: A name or a number can't be stored.

    """
    names = {
        "event_id": (label.event_id, MAX_EVENT_ID),
        "annotation_id": (label.annotation_id or "-", MAX_EVENT_ID),
        "supersedes": (label.supersedes or "-", MAX_EVENT_ID),
        "annotator": (label.annotator or "-", 128),
    }
    for field, (name, most) in names.items():
        if not is_name(name, most):
            raise RecordError("queue", f"{field} must have 1 to {most} printable characters")
    for field, value in (("known_at", label.known_at), ("answered_at", label.answered_at)):
        if value not in _INT64:
            raise RecordError("queue", f"{field} does not fit 64 bits")
    if label.consensus is not None and len(label.consensus) > MAX_CLASSES:
        raise RecordError("queue", f"{len(label.consensus)} probabilities; at most {MAX_CLASSES} are kept")
    return msgspec.structs.replace(
        label,
        label=None if label.label is None else storable(label.label, MAX_EVENT_ID),
        comment=None if label.comment is None else storable(label.comment, MAX_TEXT),
    )

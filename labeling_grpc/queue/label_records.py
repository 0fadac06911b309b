"""Records of `P.labels` from the annotations that the database keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from labeling_grpc.commands.labeling import Amend, Answer
from labeling_grpc.queue.consensus import GoldAnswer, Verdict, read
from labeling_grpc.queue.open_cases import OpenCase
from labeling_grpc.tables.schema import Tier
from tidemark.records import Candidate, Label, LabelSource


def bulk_of(content: object, rows: Iterable[Mapping[Any, Any]], supersedes: str | None) -> str | None:
    """The bulk that an annotation is of. What is corrected by itself is of its bulk no more.

    Args:
        content: what the annotation is made of.
        rows: what was said of the event before.
        supersedes: id of the annotation that it takes the place of.

    Returns:
        The bulk's name; None for none.

    """
    if isinstance(content, Answer | GoldAnswer):
        return content.bulk or None
    if not (isinstance(content, Amend) and content.bulk):
        return None
    bulk: str | None = next(row["bulk"] for row in rows if row["id"] == supersedes)
    return bulk


def sourced(record: Label, content: object, rows: Iterable[Mapping[Any, Any]], case: OpenCase | None) -> Label:
    """A record with whose word it is, where it does not tell by itself.

    Args:
        record: of the annotation.
        content: what the annotation is made of.
        rows: what was said of the event before.
        case: that it is of; None where it is not at hand, for it was closed before.

    Returns:
        The record. Its source is `import` for a label of a file, and none for what somebody said who was asked
        elsewhere; `review` for a reviewer's answer to a case that was for reviewers, and for what somebody else's
        answer was amended to.

    """
    source: LabelSource | None = None
    if record.status != "answered":
        return record
    if isinstance(content, Answer):
        if not content.token:
            source = None if content.asked else "import"  # whoever was asked here had a lease
        elif case is not None and case.tier == Tier.REVIEWERS:
            source = "review"
    elif isinstance(content, Amend):
        rows = list(rows)
        author = next((row["annotator"] for row in rows if row["id"] == record.supersedes), None)
        if record.annotator != author or any(row["status"] == "escalated" for row in rows):
            source = "review"
    return record if source is None else msgspec.structs.replace(record, source=source)


def label_of(row: Mapping[Any, Any], candidate: Candidate, verdict: Verdict | None = None) -> Label:
    """The record of an annotation, a row of the table. verdict: what a verdict on several answers is made of."""
    return Label(
        event_id=candidate.event_id,
        business_id=candidate.business_id,
        key=candidate.key,
        time=candidate.time,
        status=row["status"],
        label=row["label"],
        annotator=row["annotator"],
        known_at=row["known_at"],
        answered_at=row["answered_at"],
        reason=candidate.reason,
        inclusion_probability=candidate.inclusion_probability,
        tile=candidate.tile,
        tile_count=candidate.tile_count,
        policy=candidate.policy,
        features=candidate.features,
        definitions=candidate.definitions,
        probabilities=candidate.probabilities,
        uncertainty=candidate.uncertainty,
        model=candidate.model,
        confidence=row["confidence"],
        comment=row["comment"],
        annotation_id=row["id"],
        supersedes=row["supersedes"],
        answers=None if verdict is None else len(verdict.annotators),
        annotators=None if verdict is None else list(verdict.annotators),
        consensus=None if row["consensus"] is None else list(read(row["consensus"])),
        bulk=row["bulk"],
    )

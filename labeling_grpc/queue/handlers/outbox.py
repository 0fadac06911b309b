"""What Kafka holds already: labels of others are adopted, published records leave the outbox."""

from __future__ import annotations

import uuid
from typing import Any

from labeling_grpc.commands.labeling import AdoptLabels, MarkPublished
from labeling_grpc.queue import sql
from labeling_grpc.queue.case_state import case_outcome, counted
from labeling_grpc.queue.consensus import stored
from labeling_grpc.queue.handlers.intake import waiting_row
from labeling_grpc.queue.offsets import move
from labeling_grpc.queue.routing import Segments
from labeling_grpc.queue.unit_of_work import NOBODY, UnitOfWork, parts
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import positions
from tidemark.records.messages import decode_candidate


def adopt_labels(work: UnitOfWork, command: AdoptLabels) -> None:
    """Close cases that labels in Kafka close, and remember those whose candidates are yet to come.

    A label that this database has too leaves the outbox, if it is there: Kafka holds it.
    """
    events = {label.event_id for label in command.labels}
    work.load(events)
    known = {row["id"] for rows in work.annotations_by_event.values() for row in rows}
    published: list[str] = []
    for label in command.labels:
        annotation_id = label.annotation_id or uuid.uuid5(uuid.NAMESPACE_OID, label.event_id).hex
        if annotation_id in known:
            published.append(annotation_id)
            continue
        known.add(annotation_id)
        row = {
            "id": annotation_id,
            "event_id": label.event_id,
            "client_key": None,
            "token": None,
            "annotator": label.annotator,
            "status": label.status,
            "label": label.label,
            "confidence": label.confidence,
            "comment": label.comment,
            "known_at": label.known_at,
            "leased_at": None,
            "answered_at": label.answered_at,
            "supersedes": label.supersedes,
            "consensus": stored(label.consensus),
            "bulk": label.bulk,
        }
        _adopted(work, row)
    reopened = [_reopened(work, event_id) for event_id in sorted(events)]
    for part in parts(published):
        work.counts.unpublished -= work.connection.execute(sql.PUBLISHED, {"part": part}).rowcount
    work.flush()
    sql.ENQUEUE.execute(work.connection, [row for row in reopened if row is not None])


def _adopted(work: UnitOfWork, row: dict[str, Any]) -> None:
    """Close the case that an annotation closes, and count it so."""
    annotations = work.annotations_by_event.setdefault(row["event_id"], [])
    before = counted(annotations)
    work.annotate(row)
    after = counted(annotations)
    if before is not None:
        work.ended(before, -1)
    if after is not None:
        work.ended(after)
    case = work.cases.get(row["event_id"])
    if case is None or not case.in_queue:
        return
    if case_outcome(annotations).closing is not None:
        work.drop(case)
    else:
        case.place = work.placed(annotations)


def _reopened(work: UnitOfWork, event_id: str) -> dict[str, Any] | None:
    """Row of the queue for a closed case that the last label put back."""
    case, annotations = work.cases.get(event_id), work.annotations_by_event.get(event_id, [])
    if case is None or case.in_queue or not annotations or case_outcome(annotations).closing is not None:
        return None
    candidate = decode_candidate(case.candidate)
    row = waiting_row(work, case.case_id, candidate, len(case.candidate), annotations, Segments(work))
    work.waiting(row["lane"], 1)
    work.tell("requeued", event_id, NOBODY)
    return row


def mark_published(work: UnitOfWork, command: MarkPublished) -> None:
    """Drop from the outbox what Kafka holds."""
    up_to = sql.UP_TO_NUMBER if work.shared else sql.UP_TO
    work.counts.unpublished -= work.connection.execute(up_to, {"upto": command.seq}).rowcount
    work.write_meta(meta_keys.PUBLISHED, str(command.seq))
    for source, offset in command.tails:
        move(work.connection, "tail", source, offset)


def take_identity(work: UnitOfWork, publisher: str) -> None:
    """Publish as somebody else, who has read no tail."""
    work.write_meta(meta_keys.PUBLISHER, publisher)
    work.connection.execute(positions.delete().where(positions.c.reader == "tail"))

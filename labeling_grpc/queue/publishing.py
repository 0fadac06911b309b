"""What Kafka holds already: labels of others are adopted, published records leave the outbox."""

from __future__ import annotations

import uuid

from labeling_grpc.commands import AdoptLabels, MarkPublished
from labeling_grpc.queue import statements as sql
from labeling_grpc.queue.positions import move
from labeling_grpc.queue.votes import place, stored
from labeling_grpc.queue.work import ENDS, Work, parts
from labeling_grpc.schema import positions
from tidemark.records import ENDING


def adopt_labels(work: Work, command: AdoptLabels) -> None:
    """Close cases that labels in Kafka close, and remember those whose candidates are yet to come.

    A label that this database has too leaves the outbox, if it is there: Kafka holds it.
    """
    work.load({label.event_id for label in command.labels})
    known = {row["id"] for rows in work.said.values() for row in rows}
    published: list[str] = []
    for label in command.labels:
        annotation_id = label.annotation_id or uuid.uuid5(uuid.NAMESPACE_OID, label.event_id).hex
        if annotation_id in known:
            published.append(annotation_id)
            continue
        known.add(annotation_id)
        work.annotate(
            {
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
            }
        )
        if label.supersedes is None and label.status in ENDS:
            work.ended(label.status)
        case = work.cases.get(label.event_id)
        if case is None or not case.in_queue:
            continue
        if label.status in ENDING:
            work.drop(case)
        else:
            case.place = place(work.said[label.event_id], work.rules, work.stopped)
    for part in parts(published):
        work.counts.unpublished -= work.connection.execute(sql.PUBLISHED, {"part": part}).rowcount
    work.flush()


def mark_published(work: Work, command: MarkPublished) -> None:
    """Drop from the outbox what Kafka holds."""
    up_to = sql.UP_TO_NUMBER if work.shared else sql.UP_TO
    work.counts.unpublished -= work.connection.execute(up_to, {"upto": command.seq}).rowcount
    work.write_meta("published", str(command.seq))
    for source, offset in command.tails:
        move(work.connection, "tail", source, offset)


def take_identity(work: Work, publisher: str) -> None:
    """Publish as somebody else, who has read no tail."""
    work.write_meta("publisher", publisher)
    work.connection.execute(positions.delete().where(positions.c.reader == "tail"))

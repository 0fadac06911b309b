"""Earlier cases of an entity, as points or column by column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from labeling_grpc.api.category_names import CategoryNames
from labeling_grpc.contract.message_sizes import MAX_HISTORY, fit
from labeling_grpc.contract.text import lookup
from labeling_grpc.queue import queries
from labeling_grpc.queue.blinding import Blinding
from labeling_grpc.queue.case_state import Row, case_outcome
from labeling_grpc.queue.sql import PART
from labeling_grpc.tables.schema import answers, cases
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate

_NUMBER: Final = 8
_AROUND: Final = 40
"""Bytes that a case takes in columns beside its texts and its features."""
_EARLIER = (
    sa.select(cases.c.event_id, cases.c.candidate)
    .where(cases.c.key == sa.bindparam("whose"), cases.c.id < sa.bindparam("before"))
    .order_by(cases.c.id.desc())
    .limit(sa.bindparam("most"))
)
_TELLING = sa.select(
    answers.c.id, answers.c.event_id, answers.c.status, answers.c.label, answers.c.answered_at, answers.c.supersedes
).where(answers.c.event_id.in_(PART))


class CaseHistory:
    """Looks up what came before a case."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._label = pipeline.label

    def add(
        self,
        connection: sa.Connection,
        response: pb.GetCaseResponse,
        row: queries.CaseRow,
        most: int,
        blinding: Blinding,
        names: CategoryNames,
        *,
        columns: bool,
    ) -> bool:
        """Add the newest cases of the same entity that came before, by event time.

        Args:
            connection: To the queue's database.
            response: Written in place.
            row: The case.
            most: How many cases.
            blinding: What the caller must not be told.
            names: Of categories, for this response.
            columns: Column by column.

        Returns:
            Whether all fit.

        """
        if row.candidate.key is None:
            return True
        asked = {"whose": lookup(row.candidate.key), "before": row.number, "most": most}
        found = {event_id: decode_candidate(raw) for event_id, raw in connection.execute(_EARLIER, asked)}
        verdicts = self._verdicts(connection, found, blinding) if found else {}
        latest = sorted(found.values(), key=lambda candidate: candidate.time, reverse=True)
        if columns:
            kept = _fitting(latest)[::-1]
            if kept:
                self._fill(response.history_columns, kept, verdicts, names)
            return len(kept) == len(latest)
        points, all_ = fit((self._point(each, verdicts.get(each.event_id, "")) for each in latest), MAX_HISTORY)
        response.history.extend(reversed(points))
        for point in response.history:
            names.add(point.features, found[point.event_id].definitions)
        return all_

    def _verdicts(self, connection: sa.Connection, found: dict[str, Candidate], blinding: Blinding) -> dict[str, str]:
        """The labels that stand, and may be told, by event id."""
        annotations: dict[str, list[Row]] = {}
        for annotation in connection.execute(_TELLING, {"part": list(found)}).mappings():
            annotations.setdefault(annotation["event_id"], []).append(annotation)
        hidden = blinding.unanswered(connection, found)
        outcomes = {each: case_outcome(rows).verdict for each, rows in annotations.items() if each not in hidden}
        return {event_id: verdict["label"] or "" for event_id, verdict in outcomes.items() if verdict is not None}

    def _point(self, candidate: Candidate, verdict: str) -> pb.HistoryPoint:
        return pb.HistoryPoint(
            event_id=candidate.event_id,
            time_us=candidate.time,
            features=[feature_message(name, value) for name, value in candidate.features.items()],
            label=verdict,
            probability=self._chance(candidate),
        )

    def _fill(
        self, columns: pb.HistoryColumns, kept: Sequence[Candidate], verdicts: dict[str, str], names: CategoryNames
    ) -> None:
        for candidate in kept:
            chance = self._chance(candidate)
            columns.event_ids.append(candidate.event_id)
            columns.times_us.append(candidate.time)
            columns.labels.append(verdicts.get(candidate.event_id, ""))
            columns.probabilities.append(math.nan if chance is None else chance)
        for name in dict.fromkeys(name for candidate in kept for name in candidate.features):
            values = [candidate.features.get(name) for candidate in kept]
            column = columns.features.add(name=name)
            column.values.extend([math.nan if value is None else value for value in values])
            known = names.of(name, column.values, [candidate.definitions for candidate in kept])
            if any(known):
                column.categories.extend(known)

    def _chance(self, candidate: Candidate) -> float | None:
        """Of the positive class. One scored when the pipeline had other classes says nothing of these."""
        probabilities, classes = candidate.probabilities or (), self._label.classes
        if not classes or len(probabilities) != len(classes):
            return None
        return probabilities[classes.index(self._label.positive)]


def feature_message(name: str, value: float | None) -> pb.Feature:
    """A feature as the contract has it; NaN is missing."""
    return pb.Feature(name=name, value=None if value is None or math.isnan(value) else value)


def _fitting(latest: Sequence[Candidate]) -> list[Candidate]:
    """The first of some cases that fit into a response column by column."""
    room, columns = MAX_HISTORY, set[str]()
    for number, candidate in enumerate(latest):
        fresh = candidate.features.keys() - columns
        columns |= fresh
        texts = 2 * len(candidate.event_id.encode()) + sum(len(name.encode()) + _AROUND for name in fresh)
        # A column has a place for each case before it is first seen, too.
        room -= texts + _AROUND + _NUMBER * (len(columns) + number * len(fresh))
        if room < 0:
            return list(latest[:number])
    return list(latest)

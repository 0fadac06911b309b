"""One case with all that helps to decide it: what became of it, the entity's history, the model's reasons, its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa

from labeling_grpc import convert
from labeling_grpc.champion import Champion
from labeling_grpc.queue import reading
from labeling_grpc.queue.closings import Row, standing
from labeling_grpc.queue.remarks import remarks
from labeling_grpc.queue.work import decode_candidate
from labeling_grpc.ranking import rows_of
from labeling_grpc.refusals import unknown_case
from labeling_grpc.schema import answers, cases, gold_leases
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import MATRIX, Scope
from labeling_grpc.similar import SimilarCases
from labeling_grpc.text import lookup
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate

_GIVEN: Final = frozenset({"answered", "skipped", "expired", "withdrawn", "vote", "gold", "escalated", "retracted"})
_OWN_STATE: Final = {"answered": "answered", "vote": "answered", "gold": "answered", "skipped": "skipped"}
"""State of a case as one sees it who has answered it so, and may not know of others."""


class Details:
    """Looks cases up. Its methods read the database and count; call them off the event loop."""

    def __init__(self, pipeline: Pipeline, champion: Champion) -> None:
        self._pipeline = pipeline
        self._champion = champion
        self._similar = SimilarCases(pipeline)

    def case(self, connection: sa.Connection, event_id: str, most: int, caller: Caller) -> pb.GetCaseResponse:
        """The case. most: entries of its history, and of its like.

        Who may see only their own answers learns neither others' nor the verdict, and so not which cases have a known
        answer.

        Raises:
            RefusedError: there is no such case.

        """
        found = reading.case_row(connection, self._pipeline.labeling, event_id)
        if found is None:
            raise unknown_case(event_id)
        row, said = found
        blind = MATRIX["GetCase"][caller.role] is Scope.OWN
        given = [its for its in said if its["status"] in _GIVEN and not (blind and its["annotator"] != caller.name)]
        record = convert.case_record(row)
        if blind:
            self._cover(connection, record, given, caller.name)
        response = pb.GetCaseResponse(
            record=record,
            comments=[convert.comment(remark) for remark in remarks(connection, [event_id]).get(event_id, ())],
            history=self._history(connection, row, most),
            similar=[
                pb.SimilarCase(
                    event_id=its.event_id,
                    label=its.label,
                    distance=its.distance,
                    features=[
                        self._feature(*pair)
                        for pair in zip(self._pipeline.feature_names, its.features.tolist(), strict=True)
                    ],
                    time_us=its.time,
                )
                for its in self._similar.nearest(connection, row.candidate, most)
            ],
            answers=[_answer(its, blind=blind) for its in given],
        )
        self._explain(response, row.candidate)
        return response

    def _cover(self, connection: sa.Connection, record: pb.CaseRecord, own: Sequence[Row], name: str) -> None:
        """Leave of a record what its annotator knows anyway."""
        event_id = record.case.event_id
        gold = sa.select(gold_leases.c.token).where(gold_leases.c.event_id == event_id, gold_leases.c.annotator == name)
        held = record.annotator == name or connection.execute(gold).first() is not None
        last = next((its["status"] for its in reversed(own) if its["status"] in _OWN_STATE), "")
        state = "leased" if held else _OWN_STATE.get(last, "waiting")
        record.state = pb.CaseState.Value(f"CASE_STATE_{state.upper()}")
        record.annotator = name if held else ""
        record.answers = sum(its["status"] in {"answered", "vote", "gold"} for its in own)
        record.ClearField("label")
        record.ClearField("confidence")

    def _history(self, connection: sa.Connection, row: reading.CaseRow, most: int) -> list[pb.HistoryPoint]:
        """Cases of the same entity that came before, the newest `most` of them, by event time."""
        if row.candidate.key is None:
            return []
        earlier = (
            sa.select(cases.c.event_id, cases.c.candidate)
            .where(cases.c.key == lookup(row.candidate.key), cases.c.id < row.number)
            .order_by(cases.c.id.desc())
            .limit(most)
        )
        candidates = {event_id: decode_candidate(raw) for event_id, raw in connection.execute(earlier)}
        said: dict[str, list[Row]] = {event_id: [] for event_id in candidates}
        for annotation in connection.execute(sa.select(answers).where(answers.c.event_id.in_(candidates))).mappings():
            said[annotation["event_id"]].append(annotation)
        return [self._point(its, said[its.event_id]) for its in sorted(candidates.values(), key=lambda its: its.time)]

    def _point(self, candidate: Candidate, said: Sequence[Row]) -> pb.HistoryPoint:
        verdict = standing(said).verdict if said else None
        place = self._pipeline.label.classes.index(self._pipeline.label.positive)
        return pb.HistoryPoint(
            event_id=candidate.event_id,
            time_us=candidate.time,
            features=[self._feature(name, value) for name, value in candidate.features.items()],
            label="" if verdict is None else verdict["label"] or "",
            probability=None if candidate.probabilities is None else candidate.probabilities[place],
        )

    def _feature(self, name: str, value: float | None) -> pb.Feature:
        return pb.Feature(name=name, value=None if value is None or np.isnan(value) else value)

    def _explain(self, response: pb.GetCaseResponse, candidate: Candidate) -> None:
        """Add what moved the score of the positive class, largest effect first."""
        model = self._champion.current()
        if model is None:
            return
        (row,) = rows_of(self._pipeline, [candidate])
        row, names, classes = model.own(row[None, :])[0], model.manifest.features, model.manifest.classes
        parts = model.forest.contributions(row)
        if self._pipeline.label.positive not in classes:
            return  # a class that came after the model
        place = classes.index(self._pipeline.label.positive)
        # Where there are two classes, there is one score: the second one's.
        parts = parts[place] if parts.ndim == 2 else parts if place else -parts
        response.base_score, response.contributions_model = float(parts[-1]), model.version
        for index in np.argsort(-np.abs(parts[:-1]), kind="stable").tolist():
            value = None if np.isnan(row[index]) else float(row[index])
            name = names[index]
            response.contributions.add(name=name, value=value, contribution=float(parts[index]))


def _answer(row: Row, *, blind: bool) -> pb.GivenAnswer:
    return pb.GivenAnswer(
        annotation_id=row["id"],
        annotator=row["annotator"],
        status="answered" if blind and row["status"] == "gold" else row["status"],
        label=row["label"],
        confidence=row["confidence"],
        comment=row["comment"],
        answered_at_us=row["answered_at"],
        supersedes=row["supersedes"],
    )

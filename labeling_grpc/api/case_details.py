"""One case with all that helps to decide it: what became of it, the entity's history, the model's reasons, its like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import sqlalchemy as sa

from labeling_grpc.api import mapping
from labeling_grpc.api.case_history import CaseHistory, feature_message
from labeling_grpc.api.category_names import Categories, CategoryNames
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.assist.nearest_labeled import SimilarCases
from labeling_grpc.assist.nearest_waiting import AlikeCases
from labeling_grpc.assist.ranking import FeatureRows
from labeling_grpc.commands.labeling import Comment, LeaseCases
from labeling_grpc.contract.errors import unknown_case
from labeling_grpc.contract.message_sizes import (
    MAX_ANSWERS,
    MAX_COMMENTS,
    MAX_CONTRIBUTIONS,
    MAX_SIMILAR,
    fit,
)
from labeling_grpc.queue import queries
from labeling_grpc.queue.blinding import Blinding, Looks
from labeling_grpc.queue.case_state import Row
from labeling_grpc.queue.comments import before, comments_of
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.masks import masks
from labeling_grpc.security.roles import Role
from labeling_grpc.tables.schema import gold_leases
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate

_GIVEN: Final = frozenset({"answered", "skipped", "expired", "withdrawn", "vote", "gold", "escalated", "retracted"})
_OWN_STATE: Final = {"answered": "answered", "vote": "answered", "gold": "answered", "skipped": "skipped"}
"""State of a case as one sees it who has answered it so, and may not know of others."""


@dataclass(frozen=True, slots=True)
class Entries:
    """How much is told of a case. history, similar: entries of either.  columns: history column by column."""

    history: int
    similar: int
    columns: bool = False


class Details:
    """Looks cases up. Its methods read the database and count; call them off the event loop."""

    def __init__(self, pipeline: Pipeline, champion: Champion) -> None:
        self._pipeline = pipeline
        self._champion = champion
        self._similar = SimilarCases(pipeline)
        self._rows_of = FeatureRows(pipeline)
        self._past = CaseHistory(pipeline)
        self._waiting = AlikeCases(pipeline)
        self._masks = masks(pipeline)
        self._categories = Categories(pipeline)

    def case(self, connection: sa.Connection, event_id: str, most: int, caller: Caller) -> pb.GetCaseResponse:
        """The case, as `whole` gives it."""
        return self.whole(connection, event_id, Entries(most, most), caller)[0]

    def whole(
        self, connection: sa.Connection, event_id: str, asked: Entries, caller: Caller
    ) -> tuple[pb.GetCaseResponse, str]:
        """The case.

        Who may see only their own answers learns neither others' nor the verdict, and so not which cases have a known
        answer; nor does anybody else learn it of a case that they are to answer to be measured (`Blinding`).

        Args:
            connection: To the queue's database.
            event_id: The case.
            asked: How much of it.
            caller: Who asks.

        Returns:
            The response, and the place of its first comment, "" where there are none before.

        Raises:
            RefusedError: There is no such case.

        """
        blinding, row, annotations, looks = self._found(connection, event_id, caller)
        blind = blinding.blind or looks is not None
        answers_shown = [
            annotation
            for annotation in annotations
            if annotation["status"] in _GIVEN and not (blind and annotation["annotator"] != caller.name)
        ]
        names = self._categories.response()
        response = pb.GetCaseResponse(record=mapping.case_record(row, names))
        if blind:
            self._cover(connection, response.record, answers_shown, caller.name)
            response.record.assignee = ""  # a gold case has none, and must look like the others in their hands
        comments, earlier = comments_of(connection, [event_id]).get(event_id, ((), 0))
        place = self._comment(response, self._own(comments, caller, looks), more=earlier > 0 and looks is None)
        past = self._past.add(connection, response, row, asked.history, blinding, names, columns=asked.columns)
        whole = {"history": past}
        whole["similar"] = self._alike(connection, response, row, asked.similar, blinding, names)
        answered, whole["answers"] = fit(
            (_answer(annotation, blind=blind) for annotation in reversed(answers_shown)), MAX_ANSWERS
        )
        response.answers.extend(reversed(answered))
        whole["contributions"] = self._explain(response, row.candidate)
        response.shortened.extend(name for name, all_ in whole.items() if not all_)
        return response, place

    def alike(
        self, connection: sa.Connection, asked: LeaseCases, event_id: str, now: int, role: Role
    ) -> tuple[str, ...]:
        """Cases that wait and are much like one in somebody's hands, by what their role may see of them.

        Args:
            connection: To the queue's database.
            asked: Who asks, and for how many.
            event_id: The case.
            now: Queue time, µs.
            role: Of who asks.

        Returns:
            Event ids, nearest first.

        Raises:
            RefusedError: The case is not in their hands.

        """
        mask = self._masks.get(role)
        hidden = frozenset() if mask is None else mask.columns
        return self._waiting.nearest(connection, asked.annotator, event_id, asked.count, now, hidden)

    def earlier(
        self, connection: sa.Connection, event_id: str, place: str, caller: Caller
    ) -> tuple[pb.GetCaseResponse, str]:
        """Comments before others.

        Args:
            connection: To the queue's database.
            event_id: The case.
            place: What `whole`, or this, gave.
            caller: Who asks.

        Returns:
            The response, and the place of its first comment, "" where there are none before.

        Raises:
            RefusedError: There is no such case.

        """
        blinding, row, annotations, looks = self._found(connection, event_id, caller)
        names = self._categories.response()
        response = pb.GetCaseResponse(record=mapping.case_record(row, names))
        if blinding.blind or looks is not None:
            self._cover(
                connection,
                response.record,
                [annotation for annotation in annotations if annotation["annotator"] == caller.name],
                caller.name,
            )
        at, _, annotation_id = place.partition(" ")
        comments, more = before(connection, event_id, int(at), annotation_id)
        return response, self._comment(response, self._own(comments, caller, looks), more=more and looks is None)

    def _found(
        self, connection: sa.Connection, event_id: str, caller: Caller
    ) -> tuple[Blinding, queries.CaseRow, list[sa.RowMapping], Looks | None]:
        """The case with its annotations, and what it must look like, None: what it is."""
        case = queries.case_row(connection, self._pipeline.labeling, event_id)
        if case is None:
            raise unknown_case(event_id)
        blinding = Blinding(caller, golden=bool(self._pipeline.labeling.gold_every))
        row, annotations = case
        looks = blinding.over(connection, [event_id]).get(event_id)
        if looks is not None:
            row = queries.under(row, looks, blinding, connection, self._pipeline.labeling)
        return blinding, row, annotations, looks

    def _own(self, comments: Sequence[Comment], caller: Caller, looks: Looks | None) -> Sequence[Comment]:
        """Of a case whose answer is hidden, what others said tells its answer, and that it has one."""
        return comments if looks is None else [comment for comment in comments if comment.annotator == caller.name]

    def _comment(self, response: pb.GetCaseResponse, comments: Sequence[Comment], *, more: bool) -> str:
        shown = mapping.newest(comments, MAX_COMMENTS)
        response.comments.extend(mapping.comment_message(comment, cut=cut) for comment, cut in shown)
        if not shown or (len(shown) == len(comments) and not more):
            return ""
        first = shown[0][0]
        return f"{first.at} {first.id}"

    def _cover(self, connection: sa.Connection, record: pb.CaseRecord, own: Sequence[Row], name: str) -> None:
        """Leave of a record what its annotator knows anyway."""
        event_id = record.case.event_id
        gold = sa.select(gold_leases.c.token).where(gold_leases.c.event_id == event_id, gold_leases.c.annotator == name)
        held = record.annotator == name or connection.execute(gold).first() is not None
        last = next((annotation["status"] for annotation in reversed(own) if annotation["status"] in _OWN_STATE), "")
        state = "leased" if held else _OWN_STATE.get(last, "waiting")
        record.state = pb.CaseState.Value(f"CASE_STATE_{state.upper()}")
        record.annotator = name if held else ""
        record.answers = sum(annotation["status"] in {"answered", "vote", "gold"} for annotation in own)
        record.ClearField("label")
        record.ClearField("confidence")

    def _alike(
        self,
        connection: sa.Connection,
        response: pb.GetCaseResponse,
        row: queries.CaseRow,
        most: int,
        blinding: Blinding,
        categories: CategoryNames,
    ) -> bool:
        """Add the nearest labeled cases; whether all fit."""
        names = self._pipeline.feature_names
        hidden = partial(blinding.unanswered, connection)
        similar, all_ = fit(
            (
                pb.SimilarCase(
                    event_id=neighbor.event_id,
                    label=neighbor.label,
                    distance=neighbor.distance,
                    features=[feature_message(*pair) for pair in zip(names, neighbor.features.tolist(), strict=True)],
                    time_us=neighbor.time,
                )
                for neighbor in self._similar.nearest(connection, row.candidate, most, hidden)
            ),
            MAX_SIMILAR,
        )
        response.similar.extend(similar)
        for case in response.similar:
            categories.add(case.features, None)
        return all_

    def _explain(self, response: pb.GetCaseResponse, candidate: Candidate) -> bool:
        """Add what moved the number, or the score of the positive class, largest effect first; whether all fits."""
        model = self._champion.current()
        if model is None:
            return True
        rows = self._rows_of([candidate])
        row, names = model.own(rows)[0], model.manifest.features
        if self._pipeline.label.is_number:
            value, low, high = model.estimates(rows)[0].tolist()
            response.current_estimate.CopyFrom(pb.Estimate(value=value, low=low, high=high))
        else:
            response.current_probabilities.extend(model.probabilities(rows)[0].tolist())
        parts = model.contributions(rows, self._pipeline.label.positive)
        if parts is None:
            return True  # a class that came after the model
        response.base_score, response.contributions_model = float(parts[-1]), model.version
        order = np.argsort(-np.abs(parts[:-1]), kind="stable").tolist()
        contributions, all_ = fit((_contribution(names[at], row[at], parts[at]) for at in order), MAX_CONTRIBUTIONS)
        response.contributions.extend(contributions)
        return all_


def _contribution(name: str, value: float, part: float) -> pb.Contribution:
    return pb.Contribution(name=name, value=None if math.isnan(value) else float(value), contribution=float(part))


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
        bulk=row["bulk"],
    )

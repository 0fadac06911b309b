"""All that helps to decide a case, from responses of the service."""

from __future__ import annotations

import math
from typing import cast

from labeling_grpc.client.figures import progress_from
from labeling_grpc.client.history import History, HistoryPoint
from labeling_grpc.client.messages import case_record, categories_of, comments_of, estimate_of, features_of, tasks
from labeling_grpc.client.values import CaseDetails, Contribution, GivenAnswer, Leased, SimilarCase
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import LabelStatus


def leased(response: pb.LeaseTasksResponse) -> Leased:
    """The leased cases, and what is told with them."""
    given = tasks(response)
    told = [details_of(details) for details in response.details]
    progress = progress_from(response.progress) if response.HasField("progress") else None
    return Leased(given, [*told, *([None] * (len(given) - len(told)))], progress)


def details_of(response: pb.GetCaseResponse) -> CaseDetails:
    """A case with all that helps to decide it."""
    return CaseDetails(
        record=case_record(response.record),
        comments=tuple(comments_of(response.comments)),
        history=_history(response),
        contributions=tuple(
            Contribution(
                part.name,
                part.value if part.HasField("value") else None,
                part.contribution,
            )
            for part in response.contributions
        ),
        base_score=response.base_score,
        contributions_model=response.contributions_model,
        similar=tuple(
            SimilarCase(
                case.event_id,
                case.label,
                case.distance,
                features_of(case.features),
                case.time_us,
                categories_of(case.features),
            )
            for case in response.similar
        ),
        answers=tuple(
            GivenAnswer(
                annotation_id=answer.annotation_id,
                annotator=answer.annotator,
                status=cast("LabelStatus", answer.status),
                label=answer.label or None,
                confidence=answer.confidence if answer.HasField("confidence") else None,
                comment=answer.comment,
                at=answer.answered_at_us,
                supersedes=answer.supersedes or None,
                bulk=answer.bulk,
            )
            for answer in response.answers
        ),
        more_comments=bool(response.next_page_token),
        shortened=tuple(response.shortened),
        current_probabilities=tuple(response.current_probabilities),
        current_estimate=estimate_of(response.current_estimate) if response.HasField("current_estimate") else None,
    )


def _history(response: pb.GetCaseResponse) -> History:
    """Earlier cases; of a service that knows no columns, point by point."""
    if response.HasField("history_columns"):
        told = response.history_columns
        return History(
            list(told.event_ids),
            list(told.times_us),
            [label or None for label in told.labels],
            [None if math.isnan(chance) else chance for chance in told.probabilities],
            {column.name: (list(column.values), list(column.categories)) for column in told.features},
        )
    points = (
        HistoryPoint(
            event_id=point.event_id,
            time=point.time_us,
            features=features_of(point.features),
            label=point.label or None,
            probability=point.probability if point.HasField("probability") else None,
            categories=categories_of(point.features),
        )
        for point in response.history
    )
    return History.of([*points])

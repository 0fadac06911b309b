"""The queue's numbers as a part of a pipeline's status."""

from __future__ import annotations

from labeling_grpc.client.values import Stats
from tidemark.observe.status_record import AnnotatorStatus, LabelingStatus


def queue_status(stats: Stats, address: str, model: str) -> LabelingStatus:
    """What a service that answers tells.

    Args:
        stats: Its numbers.
        address: Where it listens.
        model: Version that it said it ranks cases by.

    Returns:
        Its part of the status.

    """
    return LabelingStatus(
        reachable=True,
        address=address,
        problem="; ".join(problem for problem in (stats.intake_problem, stats.publishing_problem) if problem),
        waiting_random=stats.waiting_explore,
        waiting_active=stats.waiting_active,
        leased=stats.leased,
        answered=stats.answered,
        skipped=stats.skipped,
        expired=stats.expired,
        unpublished=stats.unpublished,
        overdue=stats.overdue,
        first_due=stats.first_due / 1e6 if stats.first_due else None,
        model=model,
        annotators=[
            AnnotatorStatus(name=name, answered=answered, skipped=skipped)
            for name, (answered, skipped) in sorted(stats.annotators.items())
        ],
    )

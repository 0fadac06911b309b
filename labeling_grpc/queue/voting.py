"""Cases that get several answers: one asked for at a time, until they are sure, or there are as many as may be."""

from __future__ import annotations

from labeling_grpc.commands.labeling import Answer
from labeling_grpc.queue import consensus
from labeling_grpc.queue.open_cases import OpenCase
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.tables.schema import State, Tier
from tidemark.records import Candidate


def vote(
    work: UnitOfWork, case: OpenCase, candidate: Candidate, annotator: str, known_at: int, answer: Answer, key: str
) -> str:
    """Keep an answer or a skip as a vote, and end the case if that is enough; the annotation's id."""
    annotation_id = work.record(candidate, "vote", annotator, known_at, answer, key=key, token=answer.token)
    work.tell("voted", case.event_id, annotator, answer.label)
    if _for_people(work, case) or not settled(work, case, candidate):
        put_back(work, case, passed_by=None)
    return annotation_id


def _for_people(work: UnitOfWork, case: OpenCase) -> bool:
    """Whether programs alone have answered a case that people are to answer too."""
    voters = [row["annotator"] for row in work.cast(case.event_id)]
    return bool(voters) and all(work.audit.draws(case.event_id, name) for name in voters)


def settled(work: UnitOfWork, case: OpenCase, candidate: Candidate) -> bool:
    """End an open case whose votes suffice; whether they do."""
    cast = work.cast(case.event_id)
    rules, verdict = work.rules, work.judged(case.event_id, cast)
    over = len(cast) >= rules.most_answers
    if verdict is None:
        if over:
            last = cast[-1]
            skip = Answer(case.event_id, "", "skipped", comment=last["comment"])
            work.close(case, candidate, "skipped", last["annotator"], last["known_at"], answer=skip)
        return over
    sure = verdict.confidence >= rules.confidence
    decided = (sure and (over or len(verdict.annotators) >= rules.answers)) or (over and rules.max_answers is None)
    if decided:
        work.decide(case, candidate, verdict)
    return decided


def put_back(work: UnitOfWork, case: OpenCase, *, passed_by: str | None) -> None:
    """Return a leased case to where it belongs by what was said of it."""
    case.place = work.placed(work.annotations_by_event[case.event_id])
    case.tier = case.place.tier
    case.unassigned = case.assignee is not None and (case.assignee == case.annotator or case.tier == Tier.REVIEWERS)
    work.give_back(case, passed_by=passed_by)


def reconsidered(work: UnitOfWork, event_id: str, candidate: Candidate) -> None:
    """Let the verdict on votes, one of which was amended, follow them."""
    verdict = consensus.ended(work.annotations_by_event[event_id])
    case = work.cases.get(event_id)
    if verdict is None and case is not None and case.in_queue and not _for_people(work, case):
        if case.state == State.LEASED or case.tier == Tier.REVIEWERS or not settled(work, case, candidate):
            case.place = work.placed(work.annotations_by_event[event_id])
    elif verdict is not None and verdict["annotator"] == consensus.CONSENSUS and verdict["status"] == "answered":
        work.supersede(verdict, candidate, work.judged(event_id, consensus.votes(work.annotations_by_event[event_id])))

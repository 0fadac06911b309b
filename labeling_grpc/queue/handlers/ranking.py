"""Ranking anew what waits, by a newer model; what that is certain of is asked no more."""

from __future__ import annotations

from labeling_grpc.commands.labeling import Rescore
from labeling_grpc.queue import sql
from labeling_grpc.queue.unit_of_work import NOBODY, UnitOfWork
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import State
from tidemark.records.messages import decode_candidate


def rescore(work: UnitOfWork, command: Rescore) -> int:
    """Rank active cases that nobody has answered and no reviewer waits for; how many were withdrawn.

    Others are passed over, and so is what another replica has in its hands.
    """
    rows = work.connection.execute(sql.RANKABLE, {"part": [case.case_id for case in command.cases]}).all()
    state = {row.case_id: row.state for row in rows}
    withdrawn = [case for case in command.cases if case.withdraw and state.get(case.case_id) == State.WAITING]
    gone = {case.case_id for case in withdrawn}
    ranks = [
        {"case": case.case_id, "its_rank": -case.priority}
        for case in command.cases
        if case.case_id in state and case.case_id not in gone
    ]
    sql.RANK.execute(work.connection, ranks)
    work.load(case.event_id for case in withdrawn)
    for rescored in withdrawn:
        case = work.cases[rescored.event_id]
        candidate = decode_candidate(case.candidate)
        known_at = max(work.counts.event_clock, candidate.time)
        asked = f"asked with an uncertainty of {candidate.uncertainty:.3g}"
        why = f"{asked}, of which model {command.model} leaves {rescored.priority:.3g}"
        work.close(case, candidate, "withdrawn", NOBODY, known_at, comment=why)
    work.flush()
    if command.done:
        work.write_meta(meta_keys.RANKED_BY, command.model)
        work.counts.ranked_by = command.model
    return len(withdrawn)

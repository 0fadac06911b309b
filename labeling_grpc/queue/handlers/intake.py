"""Intake: candidates into the queue, each once, within its bound."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands.labeling import Arrival, TakeIn, TakenIn
from labeling_grpc.contract.message_sizes import weight
from labeling_grpc.contract.text import lookup
from labeling_grpc.queue import consensus, sql
from labeling_grpc.queue.case_state import case_outcome
from labeling_grpc.queue.offsets import move, position
from labeling_grpc.queue.routing import Segments, due_within, explores, skill_of
from labeling_grpc.queue.stacks import find_stacks
from labeling_grpc.queue.unit_of_work import NOBODY, UnitOfWork, parts
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import Lane, State, cases
from tidemark.records import Candidate

_LATEST: Final = 2**62
"""µs: no due time is later, whatever a record says."""

_ORDER: Final = b"explore.order"
"""Sets this hash apart from others over event ids."""


def take_in(work: UnitOfWork, command: TakeIn) -> TakenIn:
    """Put candidates into the queue, each once, as far as there is room; move the position with them."""
    held = position(work.connection, "intake", command.source)
    if held != command.start:
        return TakenIn(0, held or 0, moved=True)
    fresh = _unseen(work, command.arrivals)
    accepted, end = _room(work, command, fresh)
    added: dict[str, Arrival] = {}
    for arrival in command.arrivals[:accepted]:
        candidate = arrival.candidate
        if candidate is None:
            if arrival.dead_letter is not None:
                work.publish(arrival.dead_letter)
            work.counts.rejected += 1
            continue
        work.counts.event_clock = max(work.counts.event_clock, candidate.time)
        asked = candidate.time if arrival.at is None else arrival.at
        work.counts.asked_clock = max(work.counts.asked_clock, asked)
        if candidate.event_id in fresh:
            added.setdefault(candidate.event_id, arrival)
    if added:
        _enqueue(work, added)
    work.write_meta(meta_keys.EVENT_CLOCK, str(work.counts.event_clock))
    work.write_meta(meta_keys.ASKED_CLOCK, str(work.counts.asked_clock))
    work.write_meta(meta_keys.REJECTED, str(work.counts.rejected))
    move(work.connection, "intake", command.source, end)
    work.flush()
    work.expire_waiting()
    _displace(work)
    return TakenIn(accepted, end)


def _unseen(work: UnitOfWork, arrivals: Sequence[Arrival]) -> set[str]:
    ids = {a.candidate.event_id for a in arrivals if a.candidate is not None}
    for part in parts(sorted(ids)):
        ids -= set(work.connection.execute(sql.UNSEEN, {"part": part}).scalars())
    return ids


def _room(work: UnitOfWork, command: TakeIn, fresh: set[str]) -> tuple[int, int]:
    """How many arrivals fit: cases that others may displace always do, exploration cases up to the bound."""
    exploring = sum(explores(a.candidate) and a.candidate.event_id in fresh for a in command.arrivals if a.candidate)
    fixed = work.counts.open - _displaceable(work, exploring)
    for index, arrival in enumerate(command.arrivals):
        candidate = arrival.candidate
        if candidate is None or candidate.event_id not in fresh or not explores(candidate):
            continue
        fixed += 1
        if fixed > work.rules.max_open:
            return index, arrival.offset
    return len(command.arrivals), command.end


def _displaceable(work: UnitOfWork, exploring: int) -> int:
    """Waiting cases that may make room; of a shared queue, those that no other replica can give out meanwhile."""
    if not work.shared:
        return work.counts.waiting_active
    most = max(0, work.counts.open + exploring - work.rules.max_open)
    return len(_least_urgent(work, most)) if most else 0


def _least_urgent(work: UnitOfWork, most: int) -> list[str]:
    """Event ids of the waiting cases that make room first, the first of them first."""
    last: list[sa.Row[float, int, str]] = []
    for stack in find_stacks(work.connection):
        if stack.lane == Lane.ACTIVE:
            last += work.connection.execute(sql.LEAST_URGENT, stack.place | {"most": most}).all()
    return [row.event_id for row in heapq.nlargest(most, last, key=lambda row: (row.rank, row.case_id))]


def _enqueue(work: UnitOfWork, added: dict[str, Arrival]) -> None:
    segments = Segments(work)
    annotations: dict[str, list[consensus.Row]] = {}
    for row in work.annotated(list(added)):
        annotations.setdefault(row["event_id"], []).append(row)
    rows = []
    inserted = work.connection.execute(
        cases.insert().returning(cases.c.id, cases.c.event_id, sort_by_parameter_order=True),
        [{"event_id": event, "candidate": arrived.value, "key": _key(arrived)} for event, arrived in added.items()],
    )
    for case_id, event_id in inserted:
        candidate = added[event_id].candidate
        known = annotations.get(event_id, [])
        if candidate is None or case_outcome(known).closing is not None:
            continue
        arrival = added[event_id]
        row = waiting_row(
            *(work, case_id, candidate, len(arrival.value), known, segments),
            priority=arrival.priority,
            asked_at=arrival.at,
        )
        rows.append(row)
        work.waiting(row["lane"], 1)
        work.tell("added", event_id, NOBODY)
    sql.ENQUEUE.execute(work.connection, rows)


def waiting_row(
    work: UnitOfWork,
    case_id: int,
    candidate: Candidate,
    size: int,
    annotations: Sequence[consensus.Row],
    segments: Segments,
    *,
    priority: float | None = None,
    asked_at: int | None = None,
) -> dict[str, Any]:
    """Row of the queue for a case that nobody has.

    size: bytes of the candidate's JSON.  annotations: what was said of it before.  priority: None for the candidate's
    own.  asked_at: when it was asked by Kafka's clock, µs; None for the event's own time.
    """
    place = work.placed(annotations)
    lane = Lane.EXPLORE if explores(candidate) else Lane.ACTIVE
    return {
        "case_id": case_id,
        "state": int(State.WAITING),
        "lane": int(lane),
        "tier": int(place.tier),
        "segment": segments.of(candidate),
        "skill": skill_of(candidate, work.rules),
        "rank": _shuffled(candidate)
        if lane is Lane.EXPLORE
        else -(candidate.priority if priority is None else priority),
        "size": weight(candidate, size),
        "expires_at": candidate.expires_at,
        "due_at": _due_at(work, candidate, annotations, candidate.time if asked_at is None else asked_at),
        "leases": 0,
        "votes": place.votes,
        "seen": msgspec.json.encode(place.seen).decode() if place.seen else None,
    }


def _due_at(work: UnitOfWork, candidate: Candidate, annotations: Sequence[consensus.Row], asked_at: int) -> int | None:
    """By when a case should be answered, counted from when it was asked, or put back last: the same in each replay."""
    within = due_within(candidate, work.rules)
    if within is None:
        return None
    put_back = [row["answered_at"] for row in annotations if row["status"] == "requeued"]
    return min(max(put_back, default=asked_at) + within, _LATEST)


def _shuffled(candidate: Candidate) -> float:
    """Place of an exploration case among those that wait, 0 to 1: at random, and the same in every replica and replay.

    Whatever is answered of a backlog is then a random sample of it. In the order of arrival it would be its oldest
    tiles, and what is measured on it a picture of the past. The hash is not the one by which cases were drawn: those of
    the smallest coins would be asked first, and of tiles of many events before others.
    """
    digest = hashlib.blake2b(candidate.event_id.encode(), digest_size=8, person=_ORDER).digest()
    return int.from_bytes(digest, "big") / 2**64


def _key(arrival: Arrival) -> str | None:
    key = None if arrival.candidate is None else arrival.candidate.key
    return None if key is None else lookup(key)


def _displace(work: UnitOfWork) -> None:
    while (excess := work.counts.open - work.rules.max_open) > 0:
        least = _least_urgent(work, min(excess, sql.SWEEP))
        if not least:
            return  # the rest is leased, or of exploration: the bound was lowered
        work.load(least)
        for event_id in least:
            work.expire(work.cases[event_id], "displaced: the queue was full of more urgent cases")
        work.flush()

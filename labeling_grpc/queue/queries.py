"""What is read beside the queue's transactions: cases page by page, progress, annotators, labels in their order."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.commands.administration import AnnotatorRow
from labeling_grpc.contract.message_sizes import MAX_CASES, weight
from labeling_grpc.contract.text import lookup
from labeling_grpc.queue.annotator_access import annotator_row
from labeling_grpc.queue.blinding import Blinding, Looks
from labeling_grpc.queue.case_state import ENDS, NOTHING, Row, case_outcome
from labeling_grpc.queue.consensus import CONSENSUS, answered, votes
from labeling_grpc.queue.label_records import label_of
from labeling_grpc.queue.routing import named
from labeling_grpc.queue.sql import PART
from labeling_grpc.queue.unit_of_work import NOBODY
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import Lane, State, Tier, annotators, answers, cases, meta, queue
from tidemark.pipeline.model import Labeling
from tidemark.records import Candidate, Label
from tidemark.records.messages import decode_candidate

_CHUNK: Final = 500
_SCANNED: Final = 5_000
"""Cases that one page looks through at most; it may be short, or empty, and the list go on."""

_READ_AHEAD: Final = 20_000
"""Annotations that an export holds at most, shared among annotators."""

_TOLD: Final = 200
"""Annotations that an export looks up together."""

LAST: Final = 2**63 - 1
"""No case has this number: where a list begins that goes backwards."""
_ANNOTATIONS = sa.select(answers).where(answers.c.event_id.in_(PART))


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are asked for. states: names of `CaseState`, lower case; empty: all, as `segments` and `key`.

    due_by: open ones that are due by this time alone, wall clock, µs; None: whenever they are due.
    assigned: those that are assigned to somebody alone.  newest_first: what came last at first.
    """

    states: AbstractSet[str]
    segments: AbstractSet[str]
    key: str
    review: bool
    due_by: int | None = None
    assigned: bool = False
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case and where it is. state: name of a `CaseState`, lower case.  answers: answers so far, votes included.

    due: by when it should be answered, wall clock, µs; None of closed ones.
    """

    number: int
    candidate: Candidate
    state: str
    holder: str
    review: bool
    label: str | None
    confidence: float | None
    answers: int
    segment: str
    skill: str
    due: int | None = None
    assignee: str = NOBODY


@dataclass(frozen=True, slots=True)
class Overview:
    """What waits, by whom it is for. segments: of active cases.  paused: why nothing is given out, "" while all is.

    overdue: open cases whose due time has passed.  first_due: when the first is or was due, wall clock, µs, 0 for none.
    """

    segments: Mapping[str, int]
    review: int
    paused: str
    overdue: int = 0
    first_due: int = 0


NOTHING_WAITS: Final = Overview({}, 0, "")


def overview(connection: sa.Connection, wall: int) -> Overview:
    """What waits now, counted in the indexes. wall: µs."""
    kinds = (queue.c.lane, queue.c.tier, queue.c.segment)
    counted = sa.select(*kinds, sa.func.count().label("number")).where(queue.c.state == int(State.WAITING))
    segments: defaultdict[str, int] = defaultdict(int)
    review = 0
    for row in connection.execute(counted.group_by(*kinds)):
        if row.lane == Lane.ACTIVE:
            segments[row.segment] += row.number
        if row.tier == Tier.REVIEWERS:
            review += row.number
    paused = connection.execute(sa.select(meta.c.value).where(meta.c.key == meta_keys.PAUSED)).scalar_one_or_none()
    overdue: int = connection.execute(sa.select(sa.func.count()).where(queue.c.due_at <= wall)).scalar_one()
    first: int | None = connection.execute(
        sa.select(sa.func.min(queue.c.due_at)).where(queue.c.due_at.is_not(None))
    ).scalar_one()
    return Overview(dict(sorted(segments.items())), review, paused or "", overdue, first or 0)


def case_page(
    connection: sa.Connection,
    labeling: Labeling,
    asked: CaseFilter,
    after: int,
    most: int,
    blinding: Blinding | None = None,
) -> tuple[list[CaseRow], int | None]:
    """Cases after number `after` in the order that is asked for, and where to go on; None: there are no more.

    blinding: what the caller must not be told.
    """
    records: list[CaseRow] = []
    size = scanned = 0
    # Where rows are left out below, a small page must not mean as many queries as there are rows.
    sifted = bool(asked.segments or asked.states - {"waiting", "leased"} or len(asked.states) > 1)
    query = _cases(asked).limit(_CHUNK if sifted else min(_CHUNK, most + 1))

    def beyond(number: int) -> sa.ColumnElement[bool]:
        return cases.c.id < number if asked.newest_first else cases.c.id > number

    while rows := connection.execute(query.where(beyond(after))).mappings().all():
        covered = {} if blinding is None else blinding.over(connection, [row["event_id"] for row in rows])
        for row, case_annotations in _with_annotations(connection, rows):
            if len(records) == most or scanned == _SCANNED or size > MAX_CASES:
                return records, after
            record = _case_row(row, labeling, case_annotations)
            if blinding is not None and (looks := covered.get(row["event_id"])) is not None:
                record = under(record, looks, blinding, connection, labeling)
            if _passes(record, asked):
                records.append(record)
                size += weight(record.candidate, len(row["candidate"]))
            after = record.number
            scanned += 1
    return records, None


def case_row(
    connection: sa.Connection, labeling: Labeling, event_id: str
) -> tuple[CaseRow, list[sa.RowMapping]] | None:
    """A case with its annotations, oldest first; None: there is none."""
    rows = connection.execute(_CASE, {"event": event_id}).mappings().all()
    for row, case_annotations in _with_annotations(connection, rows):
        ordered = sorted(case_annotations, key=_order)
        return _case_row(row, labeling, ordered), ordered
    return None


def under(row: CaseRow, looks: Looks, blinding: Blinding, connection: sa.Connection, labeling: Labeling) -> CaseRow:
    """A case of which others' answers must not be told.

    Args:
        row: The case.
        looks: What it looks like to the caller.
        blinding: Whose, of the caller.
        connection: To the queue's database.
        labeling: The pipeline's.

    Returns:
        The case, as it looks.

    """
    due = None
    if labeling.due is not None and looks == "leased":
        due = blinding.told_due(connection, row.candidate.event_id)
    elif labeling.due is not None and looks == "waiting":  # as one that has waited ever since
        within = labeling.due.within(row.segment)
        due = None if within is None else row.candidate.time + within
    return replace(
        row,
        state=looks,
        due=due,
        holder=blinding.caller.name if looks == "leased" else NOBODY,
        review=False,
        label=None,
        confidence=None,
        answers=int(looks == "answered"),
    )


def _cases(asked: CaseFilter) -> sa.Select[Any]:
    held = (queue.c.state, queue.c.annotator, queue.c.tier, queue.c.due_at, queue.c.assignee)
    query = sa.select(cases.c.id, cases.c.event_id, cases.c.candidate, *held)
    open_ = asked.states and asked.states <= {"waiting", "leased"}
    inner = open_ or asked.review or asked.due_by is not None or asked.assigned
    joined = cases.join(queue, queue.c.case_id == cases.c.id, isouter=not inner)
    query = query.select_from(joined).order_by(cases.c.id.desc() if asked.newest_first else cases.c.id)
    if asked.key:
        query = query.where(cases.c.key == lookup(asked.key))
    if asked.review:
        query = query.where(queue.c.tier == int(Tier.REVIEWERS))
    if asked.due_by is not None:
        query = query.where(queue.c.due_at <= asked.due_by)
    if asked.assigned:
        query = query.where(queue.c.assignee.is_not(None))
    if open_ and len(asked.states) == 1:
        query = query.where(queue.c.state == int(State.WAITING if "waiting" in asked.states else State.LEASED))
    if asked.states and asked.states.isdisjoint({"waiting", "leased"}):
        query = query.where(queue.c.case_id.is_(None))
    return query


_CASE: Final = _cases(CaseFilter(states=frozenset(), segments=frozenset(), key="", review=False)).where(
    cases.c.event_id == sa.bindparam("event")
)


def _passes(row: CaseRow, asked: CaseFilter) -> bool:
    return (not asked.states or row.state in asked.states) and (not asked.segments or row.segment in asked.segments)


def _with_annotations(
    connection: sa.Connection, rows: Sequence[sa.RowMapping]
) -> Iterator[tuple[sa.RowMapping, list[sa.RowMapping]]]:
    """Rows of cases, each with its annotations."""
    by_event: defaultdict[str, list[sa.RowMapping]] = defaultdict(list)
    part = [row["event_id"] for row in rows]
    for annotation in connection.execute(_ANNOTATIONS, {"part": part}).mappings():
        by_event[annotation["event_id"]].append(annotation)
    return ((row, by_event[row["event_id"]]) for row in rows)


def _case_row(row: Row, labeling: Labeling, annotations: Sequence[Row]) -> CaseRow:
    candidate = decode_candidate(row["candidate"])
    stood = case_outcome(annotations) if annotations else NOTHING
    if row["state"] is not None:
        state = "leased" if row["state"] == State.LEASED else "waiting"
    else:
        state = stood.closing or "withdrawn"
    verdict = stood.verdict if stood.verdict is not None and stood.verdict["status"] == "answered" else None
    return CaseRow(
        number=row["id"],
        candidate=candidate,
        state=state,
        holder=row["annotator"] or NOBODY,
        review=row["tier"] == Tier.REVIEWERS,
        label=None if verdict is None else verdict["label"],
        confidence=None if verdict is None else verdict["confidence"],
        answers=len(answered(votes(annotations))) or int(verdict is not None),
        segment=named(candidate, labeling.segment),
        skill=named(candidate, labeling.skill),
        due=row["due_at"],
        assignee=row["assignee"] or NOBODY,
    )


def annotator_page(connection: sa.Connection, after: str, most: int) -> list[AnnotatorRow]:
    """Annotators after the name `after` in the order of names: who is in the table, or gave an annotation."""
    table = sa.select(annotators).where(annotators.c.name > after).order_by(annotators.c.name).limit(most)
    by_name = {row.name: annotator_row(row) for row in connection.execute(table)}
    for name, _ in zip(_names(connection, after), range(most), strict=False):
        by_name.setdefault(name, AnnotatorRow(name))
    return [by_name[name] for name in sorted(by_name)[:most]]


def _names(connection: sa.Connection, after: str = "") -> Iterator[str]:
    """Who gave annotations, each found through the index: there are few annotators and many annotations."""
    following = sa.select(sa.func.min(answers.c.annotator)).where(answers.c.annotator > sa.bindparam("name"))
    while (name := connection.execute(following, {"name": after}).scalar_one()) is not None:
        if name != CONSENSUS:
            yield name
        after = name


def labels(engine: sa.Engine, *, verdicts: bool, blinding: Blinding | None = None) -> Iterator[Label]:
    """All annotations as `P.labels` has them, in the order in which they were given.

    In bounded memory, and in short transactions, so that a slow reader holds nothing up.

    verdicts: one final label for each event alone, in the order of the verdicts.  What is only in the record of a
    verdict on several answers (their number, annotators and probabilities) is left out.  blinding: what must not be
    told is left out too.

    What is given while this goes on is not told, nor does it take the place of what is: an event whose verdict is
    amended meanwhile would be told twice, or not at all.
    """
    with engine.connect() as connection:
        names = [NOBODY, *_names(connection), CONSENSUS]
        until = max(_last(connection, name) for name in names)
    ahead = max(10, _READ_AHEAD // len(names))
    merged = heapq.merge(*(_given(engine, name, ahead, until) for name in names), key=_order)
    batch: list[sa.RowMapping] = []
    for row in merged:
        batch.append(row)
        if len(batch) == _TOLD:
            yield from _labels(engine, batch, until, verdicts=verdicts, blinding=blinding)
            batch.clear()
    yield from _labels(engine, batch, until, verdicts=verdicts, blinding=blinding)


def _last(connection: sa.Connection, name: str) -> int:
    """When an annotator has given the last annotation, µs, through the index; 0: there is none."""
    given = sa.select(sa.func.max(answers.c.answered_at)).where(answers.c.annotator == name)
    return connection.execute(given).scalar_one() or 0


def _order(row: Row) -> tuple[int, str]:
    return row["answered_at"], row["id"]


def _given(engine: sa.Engine, name: str, ahead: int, until: int) -> Iterator[sa.RowMapping]:
    """Annotations of one annotator in order, through the index. until: when the last of them was given, µs."""
    at, last = -1, ""
    while True:
        later = (answers.c.answered_at > at) | ((answers.c.answered_at == at) & (answers.c.id > last))
        query = (
            sa.select(answers)
            .where(answers.c.annotator == name, answers.c.answered_at.between(at, until), later)
            .order_by(answers.c.answered_at, answers.c.id)
            .limit(ahead)
        )
        with engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        yield from rows
        if len(rows) < ahead:
            return
        at, last = _order(rows[-1])


def _labels(
    engine: sa.Engine, rows: Sequence[sa.RowMapping], until: int, *, verdicts: bool, blinding: Blinding | None
) -> Iterator[Label]:
    events = sorted({row["event_id"] for row in rows})
    with engine.connect() as connection:
        kept = sa.select(cases.c.event_id, cases.c.candidate).where(cases.c.event_id.in_(events))
        candidates = {event: decode_candidate(raw) for event, raw in connection.execute(kept)}
        final = _final(connection, events, until) if verdicts else None
        covered = {} if blinding is None else blinding.over(connection, events)
    for row in rows:
        if row["event_id"] in covered:
            continue
        candidate = candidates.get(row["event_id"])
        if candidate is not None and (final is None or row["id"] in final):
            yield label_of(row, candidate)


def _final(connection: sa.Connection, events: Sequence[str], until: int) -> set[str]:
    by_event: defaultdict[str, list[sa.RowMapping]] = defaultdict(list)
    given = sa.select(answers).where(answers.c.event_id.in_(events), answers.c.answered_at <= until)
    for row in connection.execute(given).mappings():
        by_event[row["event_id"]].append(row)
    verdicts = [case_outcome(rows).verdict for rows in by_event.values()]
    return {row["id"] for row in verdicts if row is not None and row["status"] in ENDS}

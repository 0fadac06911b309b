"""What the Review page shows: a contested case laid out, and people's figures."""

from __future__ import annotations

from dataclasses import dataclass

from console.shown.answers import AnswerBook
from console.shown.facts import FactBook
from console.shown.formatting import NOTHING, duration, share
from labeling_grpc.client import CaseDetails, CaseRecord
from labeling_grpc.client.administration import Annotator, Drift
from tidemark.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of a case under review."""

    who: str
    status: str
    label: str
    when: str
    comment: str


@dataclass(frozen=True, slots=True)
class Contested:
    """A case for reviewers. facts: what the pipeline shows to who labels.  held: who has it in hand, or ""."""

    event_id: str
    name: str
    when: str
    facts: list[tuple[str, str]]
    said: list[Said]
    remarks: list[tuple[str, str]]
    held: str


@dataclass(frozen=True, slots=True)
class Person:
    """How well somebody labels."""

    name: str
    state: str
    why: str
    answered: int
    skipped: int
    gold: str
    gold_within: str
    consensus: str
    agreement: str
    agreement_within: str
    median: str
    median_within: str
    drift: str
    drift_within: str
    drifts: str
    suspicion: str


def contested(pipeline: Pipeline, record: CaseRecord, details: CaseDetails | None) -> Contested:
    """A case for reviewers laid out; details: None where it was closed meanwhile."""
    book = FactBook(pipeline)
    times = book.times
    answers = () if details is None else details.answers
    written = AnswerBook(pipeline.label).words
    told = {(each.annotator, each.comment) for each in answers}
    remarks = () if details is None else details.comments
    return Contested(
        record.case.event_id,
        name_of(record),
        times.moment(record.case.time),
        [(fact.words, fact.value) for fact in book.of(record.case, None).context],
        [
            Said(each.annotator, each.status, written(each.label or ""), times.minute(each.at), each.comment)
            for each in answers
        ],
        [(each.annotator, each.text) for each in remarks if (each.annotator, each.text) not in told],
        record.annotator,
    )


def name_of(record: CaseRecord) -> str:
    """What people call a case."""
    return record.case.business_id or record.case.event_id


def person_of(person: Annotator) -> Person:
    """Somebody's figures as people read them."""
    its = person.quality
    return Person(
        person.name,
        person.state,
        person.why,
        its.answered,
        its.skipped,
        *_share_of(its.gold_accuracy, its.gold_interval, its.gold_answered),
        _share(its.consensus_accuracy),
        *_share_of(its.agreement, its.agreement_interval, its.agreement_answers),
        duration(its.median_answer_ms / 1_000) if its.median_answer_ms else NOTHING,
        "" if its.median_interval is None else " to ".join(duration(each / 1_000) for each in its.median_interval),
        *_drift(its.drifted),
        its.suspicion,
    )


def _drift(drifted: Drift | None) -> tuple[str, str, str]:
    """The change in points, its interval, and whether it is one: good, bad, or "" where chance may be all."""
    if drifted is None:
        return NOTHING, "", ""
    shares = f"{share(drifted.recent)} of the last 100, {share(drifted.before)} of the {drifted.judged:,} before"
    within = f"{_points(drifted.low)} to {_points(drifted.high)}; {shares}"
    return f"{_points(drifted.change)} points", within, "bad" if drifted.high < 0 else "good" if drifted.low > 0 else ""


def _points(change: float) -> str:
    return f"{100 * change:+.0f}".replace("-", "\u2212")


def _share_of(value: float | None, interval: tuple[float, float] | None, count: int) -> tuple[str, str]:
    """A share, its interval and what it is of."""
    if value is None or interval is None:
        return NOTHING, ""
    low, high = interval
    return share(value), f"{share(low)} to {share(high)} of {count:,}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else share(value)

"""How well annotators label, from what the queue's database keeps of their answers: a bounded number of the newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import sqlalchemy as sa

from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.case_state import TELLING
from labeling_grpc.queue.consensus import CONSENSUS, Row, Trust, ended, read
from labeling_grpc.queue.sql import PART
from labeling_grpc.queue.unit_of_work import NOBODY, parts
from labeling_grpc.tables.schema import annotators, answers, confusion, gold
from tidemark.consensus import Agreement
from tidemark.consensus.scales import Scale
from tidemark.evaluation.intervals import newcombe, of_median, wilson

NEWEST: Final = 5_000
"""Annotations of one annotator that figures rest on at most."""

GOLD_FLOOR: Final = 0.6
"""Share of gold cases answered right below which somebody is set aside, unless others do no better."""

_GOLD_LEAST: Final = 10
_SCREENED: Final = 1_000
"""Votes of one annotator that a screening compares with the others' at most."""

_LAST: Final = 100
_BEFORE: Final = 30
"""Judged answers that drift compares, and those before them that it needs at least."""
_OWN: Final = 200
"""Votes of one annotator that are looked at to tell them how far others agree: it is asked with every case."""

_newer = answers.alias()
_OF = (
    sa.select(answers)
    .where(
        answers.c.annotator == sa.bindparam("name"),
        answers.c.answered_at >= sa.bindparam("since"),
        answers.c.status.in_(sa.bindparam("statuses", expanding=True)),
        ~sa.exists().where(_newer.c.supersedes == answers.c.id),
    )
    .order_by(answers.c.answered_at.desc(), answers.c.id)
    .limit(sa.bindparam("most"))
)
_TOLD = sa.select(
    answers.c.id,
    answers.c.event_id,
    answers.c.status,
    answers.c.label,
    answers.c.annotator,
    answers.c.answered_at,
    answers.c.supersedes,
).where(answers.c.event_id.in_(PART), answers.c.status.in_(TELLING))
_KNOWN_ANSWER = sa.select(gold.c.event_id, gold.c.label).where(gold.c.event_id.in_(PART))


@dataclass(frozen=True, slots=True)
class AnnotatorQuality:
    """Of the newest annotations of one annotator. None: nothing to tell it from.

    gold_accuracy: share of gold cases answered right, from gold_low to gold_high (95 %, Wilson).  consensus_accuracy:
    expected share of right answers by the consensus model.  agreement: share of the `agreement_answers` votes that the
    verdict agrees with, from agreement_low to agreement_high (95 %, Wilson).
    median_ms, fast_ms: from lease to answer, the median and the tenth part that is fastest, of answers that were given
    one by one; median_low_ms, median_high_ms: the median's 95 % interval.  recent, before: share of right ones among
    the last hundred judged answers, and among the `before_judged` before those; drift: the one less the other, from
    drift_low to drift_high (95 %, Newcombe).  suspicion: "" where nothing is suspicious.
    """

    answered: int = 0
    skipped: int = 0
    gold_answered: int = 0
    gold_accuracy: float | None = None
    gold_low: float | None = None
    gold_high: float | None = None
    consensus_accuracy: float | None = None
    agreement: float | None = None
    median_ms: int = 0
    fast_ms: int = 0
    drift: float | None = None
    suspicion: str = ""
    median_low_ms: int | None = None
    median_high_ms: int | None = None
    drift_low: float | None = None
    drift_high: float | None = None
    recent: float | None = None
    before: float | None = None
    before_judged: int = 0
    agreement_low: float | None = None
    agreement_high: float | None = None
    agreement_answers: int = 0

    @property
    def untold(self) -> AnnotatorQuality:
        """The same without what would tell somebody which of their own answers were to cases whose class is known."""
        return replace(
            self,
            gold_answered=0,
            gold_accuracy=None,
            gold_low=None,
            gold_high=None,
            drift=None,
            drift_low=None,
            drift_high=None,
            recent=None,
            before=None,
            before_judged=0,
        )


@dataclass(frozen=True, slots=True)
class OwnAgreement:
    """Share of somebody's answers that the verdicts agree with, and its 95 % interval (Wilson)."""

    share: float
    low: float
    high: float
    answers: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """An annotator to set aside, and why: a sentence for a person."""

    annotator: str
    why: str


def names(connection: sa.Connection) -> list[str]:
    """Everybody who ever answered, or whom an administrator made known."""
    annotators_seen = sa.select(answers.c.annotator).where(answers.c.annotator.not_in([NOBODY, CONSENSUS]))
    return sorted(connection.execute(annotators_seen.union(sa.select(annotators.c.name))).scalars())


def states(connection: sa.Connection) -> dict[str, tuple[str, str]]:
    """State, and why, of everybody who is not active."""
    stopped = sa.select(annotators).where(annotators.c.state != "active").order_by(annotators.c.name)
    return {row.name: (row.state, row.why) for row in connection.execute(stopped)}


def qualities(connection: sa.Connection, rules: QueueRules, wanted: Iterable[str]) -> dict[str, AnnotatorQuality]:
    """How well these annotators label, by name."""
    trust = Trust(connection, rules)
    doubts = {quality.annotator: quality.why for quality in _doubts(connection, rules)}
    figures = {}
    for name in wanted:
        rows = _newest(connection, name, ("answered", "skipped", "vote", "gold"), NEWEST)
        quality = _quality(rows, _truths(connection, rows, rules.scale), rules.scale)
        figures[name] = replace(quality, consensus_accuracy=trust.accuracy(name), suspicion=doubts.get(name, ""))
    return figures


def own_agreement(connection: sa.Connection, rules: QueueRules, name: str) -> OwnAgreement | None:
    """How far the verdicts agree with what somebody said of late, gold cases left out.

    Args:
        connection: to the queue's database.
        rules: of the queue.
        name: who.

    Returns:
        The share, None where none of their votes has a verdict yet.

    """
    rows = _newest(connection, name, ("vote",), _OWN)
    voted = _judged(rows, _truths(connection, rows, rules.scale), rules.scale)
    if not voted:
        return None
    found = float(np.mean(voted))
    return OwnAgreement(found, *wilson(found, len(voted)), len(voted))


def agreement(connection: sa.Connection, rules: QueueRules) -> Agreement:
    """How far annotators agree beyond chance on cases that several answered: Krippendorff's alpha."""
    return rules.scale.agreement(_votes(connection, rules, {}))


def suspects(connection: sa.Connection, rules: QueueRules) -> list[Suspect]:
    """Active annotators whose answers look like guesses, or like answers turned round.

    What somebody said before an administrator made them active again is not held against them.
    """
    stopped = set(connection.execute(sa.select(annotators.c.name).where(annotators.c.state != "active")).scalars())
    return [doubt for doubt in _doubts(connection, rules) if doubt.annotator not in stopped]


def _doubts(connection: sa.Connection, rules: QueueRules) -> list[Suspect]:
    again = sa.select(annotators.c.name, annotators.c.since).where(annotators.c.state == "active")
    cut = {row.name: row.since for row in connection.execute(again)}
    by_gold = _by_gold(connection, rules, cut)
    compared = [doubt for doubt in rules.scale.screened(_votes(connection, rules, cut)) if doubt.quarantined]
    reasons = {doubt.annotator: doubt.why for doubt in compared} | {doubt.annotator: doubt.why for doubt in by_gold}
    return [Suspect(name, why) for name, why in sorted(reasons.items())]


def _by_gold(connection: sa.Connection, rules: QueueRules, since: Mapping[str, int]) -> list[Suspect]:
    shares: dict[str, tuple[float, int]] = {}
    for name in _measured(connection):
        rows = _newest(connection, name, ("gold",), NEWEST, since.get(name, 0))
        right = _judged(rows, _truths(connection, rows, rules.scale), rules.scale)
        if len(right) >= _GOLD_LEAST:
            shares[name] = float(np.mean(right)), len(right)
    doubts = []
    for name, (share, number) in shares.items():
        others = [theirs for other, (theirs, _) in shares.items() if other != name]
        floor = min([GOLD_FLOOR, float(np.median(others))] if others else [GOLD_FLOOR])
        high = wilson(share, number)[1]
        if high < floor:
            why = (
                f"answers {share:.0%} of {number} cases with a known answer right, "
                f"at most {high:.0%}; {floor:.0%} are asked"
            )
            doubts.append(Suspect(name, why))
    return doubts


def _votes(connection: sa.Connection, rules: QueueRules, since: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Answers to cases as (case, annotator, answer)."""
    labels: dict[tuple[str, str], str] = {}
    for name in _measured(connection):
        for row in _newest(connection, name, ("vote",), _SCREENED, since.get(name, 0)):
            if rules.scale.holds(row["label"]):
                labels.setdefault((row["event_id"], name), row["label"])
    return sorted((event_id, name, label) for (event_id, name), label in labels.items())


def _measured(connection: sa.Connection) -> list[str]:
    """Annotators of whom something is known, from the small table of it."""
    known = sa.select(confusion.c.annotator).where(confusion.c.annotator != NOBODY).distinct()
    return sorted(connection.execute(known).scalars())


def _newest(connection: sa.Connection, name: str, statuses: Sequence[str], most: int, since: int = 0) -> Sequence[Row]:
    wanted = {"name": name, "statuses": statuses, "most": most, "since": since}
    return cast("Sequence[Row]", connection.execute(_OF, wanted).mappings().all())


def _verdicts(connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, str]:
    """Answers that became of cases."""
    annotations: dict[str, list[Row]] = {}
    for part in parts(sorted(set(event_ids))):
        rows = connection.execute(_TOLD, {"part": part}).mappings().all()
        for row in cast("Sequence[Row]", rows):
            annotations.setdefault(row["event_id"], []).append(row)
    verdicts = {event_id: ended(rows) for event_id, rows in annotations.items()}
    return {event_id: row["label"] for event_id, row in verdicts.items() if row is not None and row["label"]}


def _golden(connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, str]:
    """Known answers of gold cases."""
    labels: dict[str, str] = {}
    for part in parts(sorted(set(event_ids))):
        labels |= {row.event_id: row.label for row in connection.execute(_KNOWN_ANSWER, {"part": part})}
    return labels


def _truths(connection: sa.Connection, rows: Sequence[Row], scale: Scale) -> dict[str, str]:
    """What the right answer is, by the id of each of these annotations of which it is known.

    Of a gold case it is the text that is kept of it: the probabilities beside an old answer are in the order that the
    classes had then. They count only where the case is gold no more.
    """
    verdicts = _verdicts(connection, (row["event_id"] for row in rows if row["status"] == "vote"))
    golden = _golden(connection, (row["event_id"] for row in rows if row["status"] == "gold"))
    truths = {}
    for row in rows:
        truth = verdicts.get(row["event_id"]) if row["status"] == "vote" else None
        if row["status"] == "gold":
            truth = golden.get(row["event_id"]) or scale.truth(read(row["consensus"]))
            truth = truth if scale.holds(truth) else None
        if truth is not None:
            truths[row["id"]] = truth
    return truths


def _judged(rows: Iterable[Row], truths: Mapping[str, str], scale: Scale) -> list[bool]:
    """Whether each answer of which it is known was right, newest first. truths: by the annotation's id."""
    known = ((row["label"], truths.get(row["id"])) for row in rows)
    return [scale.agree(label, truth) for label, truth in known if label is not None and truth is not None]


def _quality(rows: Sequence[Row], truths: Mapping[str, str], scale: Scale) -> AnnotatorQuality:
    golden = _judged((row for row in rows if row["status"] == "gold"), truths, scale)
    voted = _judged((row for row in rows if row["status"] == "vote"), truths, scale)
    judged = _judged(rows, truths, scale)
    alone = [row for row in rows if row["leased_at"] is not None and row["bulk"] is None]
    took = [(row["answered_at"] - row["leased_at"]) / 1_000 for row in alone]
    low, high = wilson(float(np.mean(golden)), len(golden)) if golden else (None, None)
    agreed_low, agreed_high = wilson(float(np.mean(voted)), len(voted)) if voted else (None, None)
    around = of_median(took)
    return AnnotatorQuality(
        answered=sum(row["label"] is not None for row in rows),
        skipped=sum(row["label"] is None for row in rows),
        gold_answered=len(golden),
        gold_accuracy=float(np.mean(golden)) if golden else None,
        gold_low=low,
        gold_high=high,
        agreement=float(np.mean(voted)) if voted else None,
        agreement_low=agreed_low,
        agreement_high=agreed_high,
        agreement_answers=len(voted),
        median_ms=round(float(np.median(took))) if took else 0,
        fast_ms=round(float(np.quantile(took, 0.1))) if took else 0,
        median_low_ms=None if around is None else round(around[0]),
        median_high_ms=None if around is None else round(around[1]),
        **_drift(judged),
    )


def _drift(judged: Sequence[bool]) -> dict[str, Any]:
    """What the last judged answers are beside those before. judged: newest first."""
    if len(judged) < _LAST + _BEFORE:
        return {}
    recent, before = float(np.mean(judged[:_LAST])), float(np.mean(judged[_LAST:]))
    count = len(judged) - _LAST
    low, high = newcombe(recent, _LAST, before, count)
    return {
        "drift": recent - before,
        "drift_low": low,
        "drift_high": high,
        "recent": recent,
        "before": before,
        "before_judged": count,
    }

"""Several answers to a case: what they come to, and what that says of those who gave them.

All of it is a function of a case's annotations, whatever their number came in: so amendments, a restart and a rebuild
from Kafka come to the same. What is learnt of annotators is a sum of whole numbers over cases (table `confusion`), for
a sum of fractions would depend on its order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.case_state import case_outcome, current
from labeling_grpc.tables.schema import Tier, confusion
from tidemark.consensus.scales import Scale

CONSENSUS: Final = "consensus"
"""Annotator of a verdict on several answers."""

_COMMON: Final = ""
"""Annotator under whom the table keeps what is true of all."""

Row = Mapping[str, Any]
"""An annotation, as the table `annotations` has it."""

Evidence = Counter[tuple[str, str, str]]
"""(annotator, and the two texts of `tidemark.consensus.scales`): millionths of cases."""

_ADD = sa.text(
    "INSERT INTO confusion (annotator, truth, said, weight) VALUES (:annotator, :truth, :said, :weight) "
    "ON CONFLICT (annotator, truth, said) DO UPDATE SET weight = confusion.weight + excluded.weight"
)
_KNOWN = sa.select(confusion).where(confusion.c.annotator.in_(sa.bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What votes come to. consensus: probability of each class, in the rules' order; None for a number.

    annotators: who gave them.
    """

    label: str
    confidence: float
    consensus: tuple[float, ...] | None
    annotators: tuple[str, ...]
    known_at: int
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """What was said of a case whose answer is known.

    consensus: probability of each class, or the one number.  bulk: as `Answer`'s.
    """

    label: str | None
    confidence: float | None
    comment: str | None
    consensus: tuple[float, ...]
    bulk: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an open case belongs by what was said of it. seen: who is not asked again."""

    tier: Tier
    votes: int
    seen: tuple[str, ...]


FRESH: Final = Placement(Tier.ANYONE, 0, ())
"""Where a case belongs of which nothing was said."""


def votes(rows: Iterable[Row]) -> list[Row]:
    """The votes that stand, one an annotator, oldest first; one without an answer is an abstention."""
    rows = current(rows)
    superseded = {row["supersedes"] for row in rows}
    latest: dict[str, Row] = {}
    for row in sorted(rows, key=_order):
        if row["status"] == "vote" and row["id"] not in superseded:
            latest[row["annotator"]] = row
    return sorted(latest.values(), key=_order)


def answered(cast: Iterable[Row]) -> list[Row]:
    """The votes that say an answer."""
    return [row for row in cast if row["label"] is not None]


def ended(rows: Iterable[Row]) -> Row | None:
    """The annotation that says what became of the case; None: it is open."""
    stood = case_outcome(rows)
    return None if stood.closing is None else stood.verdict


def place(rows: Sequence[Row], rules: QueueRules, stopped: Container[str]) -> Placement:
    """Where an open case belongs. stopped: annotators whose votes do not count."""
    rows = current(rows)
    asked = sum(row["annotator"] not in stopped for row in votes(rows))
    seen = {row["annotator"] for row in rows if row["status"] == "vote"}
    unsettled = rules.several and asked >= rules.most_answers  # or it would have a verdict
    review = unsettled or any(row["status"] == "escalated" for row in rows)
    return Placement(Tier.REVIEWERS if review else Tier.ANYONE, asked, tuple(sorted(seen)))


def evidence(rows: Iterable[Row], scale: Scale) -> Evidence:
    """What a case says of its annotators.

    Gold cases do, and verdicts: a reviewer's for certain, a consensus as sure as it is. The consensus of one vote does
    not, for nobody is their own witness.
    """
    rows = list(rows)
    counts: Evidence = Counter()
    superseded = {row["supersedes"] for row in rows}
    for row in rows:
        if row["status"] == "gold" and row["id"] not in superseded and row["label"] is not None:
            for truth, answer, weight in scale.told(read(row["consensus"]), row["label"]):
                counts[row["annotator"], truth, answer] += weight
    labeled = [row for row in answered(votes(rows)) if scale.holds(row["label"])]
    verdict = ended(rows)
    if not labeled or verdict is None or not scale.holds(verdict["label"]):
        return counts
    if verdict["annotator"] != CONSENSUS:
        known = scale.known(verdict["label"])
    elif len(labeled) > 1:
        known = scale.of_votes(read(verdict["consensus"]), [row["label"] for row in labeled])
    else:
        return counts
    for truth, answer, weight in scale.frequent(known):
        counts[_COMMON, truth, answer] += weight
    for row in labeled:
        for truth, answer, weight in scale.told(known, row["label"]):
            counts[row["annotator"], truth, answer] += weight
    return counts


def stored(consensus: Sequence[float] | None) -> str | None:
    """Probabilities as the table keeps them."""
    return None if consensus is None else msgspec.json.encode(list(consensus)).decode()


def read(consensus: str | None) -> tuple[float, ...]:
    """Probabilities, from what the table keeps."""
    return tuple(msgspec.json.decode(consensus or "[]"))


class Trust:
    """What is known of annotators, in one transaction: read when it is asked for, written once at the end."""

    def __init__(self, connection: sa.Connection, rules: QueueRules) -> None:
        self._connection = connection
        self._rules = rules
        self._scale = rules.scale
        self._tallies: dict[str, Any] = {}
        self._learnt: Evidence = Counter()

    def learn(self, before: Evidence, after: Evidence) -> None:
        """Take what a case says now in the place of what it said before."""
        for key in before.keys() | after.keys():
            change = after[key] - before[key]
            self._learnt[key] += change
            if key[0] in self._tallies:
                self._count(*key, change)

    def verdict(self, cast_votes: Sequence[Row]) -> Verdict | None:
        """What votes with an answer come to; None of none."""
        given = [(row["annotator"], row["label"]) for row in cast_votes if self._scale.holds(row["label"])]
        if not given:
            return None
        self._load(name for name, _ in given)
        found = self._scale.weigh(
            self._tallies[_COMMON], [(self._tallies[name], label) for name, label in given], self._rules.consensus
        )
        return Verdict(
            found.answer,
            found.confidence,
            found.shares,
            tuple(name for name, _ in given),
            max(row["known_at"] for row in cast_votes),
        )

    def accuracy(self, annotator: str) -> float | None:
        """Expected share of right answers over cases as they come; None: nothing is known of the annotator."""
        self._load([annotator])
        return self._scale.right(self._tallies[_COMMON], self._tallies[annotator])

    def write(self) -> None:
        """Add what was learnt; in one order, so that no two replicas wait in a circle."""
        rows = [
            {"annotator": annotator, "truth": truth, "said": answer, "weight": weight}
            for (annotator, truth, answer), weight in sorted(self._learnt.items())
            if weight
        ]
        if rows:
            self._connection.execute(_ADD, rows)
        self._learnt.clear()

    def _load(self, names: Iterable[str]) -> None:
        unknown = sorted({_COMMON, *names} - self._tallies.keys())
        if not unknown:
            return
        self._tallies |= {name: self._scale.tally() for name in unknown}
        for row in self._connection.execute(_KNOWN, {"names": unknown}):
            self._count(*row)
        for (annotator, truth, answer), weight in self._learnt.items():
            if annotator in unknown:
                self._count(annotator, truth, answer, weight)

    def _count(self, annotator: str, truth: str, answer: str, weight: int) -> None:
        self._scale.count(self._tallies[annotator], truth, answer, weight)


def _order(row: Row) -> tuple[int, str]:
    return row["answered_at"], row["id"]

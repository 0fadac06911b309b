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
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.case_state import case_outcome, current
from labeling_grpc.tables.schema import Tier, confusion
from tidemark.consensus.glad import ability
from tidemark.consensus.glad import weighed as weighed_by_ease
from tidemark.consensus.online import cautious, weighed

CONSENSUS: Final = "consensus"
"""Annotator of a verdict on several answers."""

_UNIT: Final = 1_000_000
_PRIOR: Final = ""
"""Annotator under whom the table keeps how frequent the classes are."""

Row = Mapping[str, Any]
"""An annotation, as the table `annotations` has it."""

Evidence = Counter[tuple[str, str, str]]
"""(annotator, true class, class said): millionths of cases."""

_ADD = sa.text(
    "INSERT INTO confusion (annotator, truth, said, weight) VALUES (:annotator, :truth, :said, :weight) "
    "ON CONFLICT (annotator, truth, said) DO UPDATE SET weight = confusion.weight + excluded.weight"
)
_KNOWN = sa.select(confusion).where(confusion.c.annotator.in_(sa.bindparam("names", expanding=True)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What votes come to. consensus: probability of each class, in the rules' order.  annotators: who gave them."""

    label: str
    confidence: float
    consensus: tuple[float, ...]
    annotators: tuple[str, ...]
    known_at: int
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """What was said of a case whose class is known. consensus: probability of each class.  bulk: as `Answer`'s."""

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
    """The votes that stand, one an annotator, oldest first; one without a class is an abstention."""
    rows = current(rows)
    superseded = {row["supersedes"] for row in rows}
    latest: dict[str, Row] = {}
    for row in sorted(rows, key=_order):
        if row["status"] == "vote" and row["id"] not in superseded:
            latest[row["annotator"]] = row
    return sorted(latest.values(), key=_order)


def classes(cast: Iterable[Row]) -> list[Row]:
    """The votes that say a class."""
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


def evidence(rows: Iterable[Row], names: Sequence[str]) -> Evidence:
    """What a case says of its annotators.

    Gold cases do, and verdicts: a reviewer's for certain, a consensus by its probabilities. The consensus of one vote
    does not, for nobody is their own witness.
    """
    rows = list(rows)
    counts: Evidence = Counter()
    superseded = {row["supersedes"] for row in rows}
    for row in rows:
        if row["status"] == "gold" and row["id"] not in superseded and row["label"] is not None:
            for truth, weight in _weights(row, names):
                counts[row["annotator"], truth, row["label"]] += weight
    labeled = classes(votes(rows))
    verdict = ended(rows)
    if not labeled or verdict is None or verdict["label"] is None:
        return counts
    if verdict["annotator"] != CONSENSUS:
        truths = [(verdict["label"], _UNIT)]
    elif len(labeled) > 1:
        truths = _weights(verdict, names)
    else:
        return counts
    for truth, weight in truths:
        counts[_PRIOR, truth, truth] += weight
        for row in labeled:
            counts[row["annotator"], truth, row["label"]] += weight
    return counts


def stored(consensus: Sequence[float] | None) -> str | None:
    """Probabilities as the table keeps them."""
    return None if consensus is None else msgspec.json.encode(list(consensus)).decode()


def read(consensus: str | None) -> tuple[float, ...]:
    """Probabilities, from what the table keeps."""
    return tuple(msgspec.json.decode(consensus or "[]"))


def known(label: str, names: Sequence[str]) -> tuple[float, ...]:
    """Probabilities of the classes where one is the truth."""
    return tuple(float(label == name) for name in names)


class Trust:
    """What is known of annotators, in one transaction: read when it is asked for, written once at the end."""

    def __init__(self, connection: sa.Connection, rules: QueueRules) -> None:
        self._connection = connection
        self._rules = rules
        self._numbers = {name: number for number, name in enumerate(rules.classes)}
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._learnt: Evidence = Counter()

    def learn(self, before: Evidence, after: Evidence) -> None:
        """Take what a case says now in the place of what it said before."""
        for key in before.keys() | after.keys():
            change = after[key] - before[key]
            self._learnt[key] += change
            if key[0] in self._counts:
                self._count(*key, change)

    def verdict(self, cast_votes: Sequence[Row]) -> Verdict | None:
        """What votes with a class come to; None of none."""
        numbered = [
            (row["annotator"], self._numbers[row["label"]]) for row in cast_votes if row["label"] in self._numbers
        ]
        if not numbered:
            return None
        self._load(name for name, _ in numbered)
        consensus = tuple(round(float(share), 6) for share in self._posterior(numbered))
        best = int(np.argmax(consensus))
        return Verdict(
            self._rules.classes[best],
            consensus[best],
            consensus,
            tuple(name for name, _ in numbered),
            max(row["known_at"] for row in cast_votes),
        )

    def accuracy(self, annotator: str) -> float | None:
        """Expected share of right answers over cases as they come; None: nothing is known of the annotator."""
        self._load([annotator])
        counts = self._counts[annotator]
        if not counts.any():
            return None
        matrix = self._before + counts / _UNIT
        return float(self._priors() @ (np.diag(matrix) / matrix.sum(axis=1)))

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

    def _posterior(self, numbered: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
        if self._rules.consensus == "majority":
            return np.bincount([label for _, label in numbered], minlength=len(self._numbers)) / len(numbered)
        priors = self._priors()
        matrices = [(self._before + self._counts[name] / _UNIT, label) for name, label in numbered]
        if self._rules.consensus == "dawid_skene":
            return weighed(priors, matrices)
        able = [(ability(float(np.trace(matrix) / matrix.sum())), label) for matrix, label in matrices]
        return weighed_by_ease(priors, able)

    def _priors(self) -> NDArray[np.float64]:
        frequent = np.diag(self._counts[_PRIOR]) / _UNIT + 1.0
        return np.asarray(frequent / frequent.sum(), np.float64)

    @property
    def _before(self) -> NDArray[np.float64]:
        return cautious(len(self._numbers))

    def _load(self, names: Iterable[str]) -> None:
        unknown = sorted({_PRIOR, *names} - self._counts.keys())
        if not unknown:
            return
        size = len(self._numbers)
        self._counts |= {name: np.zeros((size, size), np.int64) for name in unknown}
        for row in self._connection.execute(_KNOWN, {"names": unknown}):
            self._count(*row)
        for (annotator, truth, answer), weight in self._learnt.items():
            if annotator in unknown:
                self._count(annotator, truth, answer, weight)

    def _count(self, annotator: str, truth: str, answer: str, weight: int) -> None:
        if truth in self._numbers and answer in self._numbers:  # of classes that the pipeline has now
            self._counts[annotator][self._numbers[truth], self._numbers[answer]] += weight


def _order(row: Row) -> tuple[int, str]:
    return row["answered_at"], row["id"]


def _weights(row: Row, names: Sequence[str]) -> list[tuple[str, int]]:
    shares = zip(names, read(row["consensus"]), strict=False)
    return [(name, weight) for name, share in shares if (weight := round(share * _UNIT))]

"""From annotations to one final label for each event: corrections, retractions, several annotators, several sources.

This is the one place where labels that contradict each other are decided between: whatever learns, measures, shows or
writes labels goes by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tidemark.records import ENDING, OUTCOME, PROGRAM, SOURCES, Label, LabelSource


@dataclass(frozen=True, slots=True)
class FinalLabel:
    """What the annotations of an event come to.

    label: the verdict, with the features of whoever has them.  source: whose word it is; None where nobody answered.
    drawn: the verdict as the random draw may count it, answered only if somebody who was asked has answered; None where
        the event was not drawn.
    conflict: whether different classes were said, none of which was taken back or corrected.
    share: by what chance the event's outcome was taken, whoever's word counts; None where none was, or nobody knows.
    """

    label: Label
    source: LabelSource | None
    drawn: Label | None
    conflict: bool
    share: float | None = None


def source_of(label: Label) -> LabelSource:
    """Whose word an annotation is."""
    if label.source is not None:
        return label.source
    if label.reason == OUTCOME:
        return "outcome"
    if label.reason == "imported":
        return "import"
    said = label.annotators or [label.annotator]
    return "program" if all(name.startswith(PROGRAM) for name in said) else "person"


def final_labels(labels: Iterable[Label], sources: Sequence[LabelSource] = SOURCES) -> list[Label]:
    """The verdicts of `resolved`, in order of first appearance; a retracted event is absent."""
    return [each.label for each in resolved(labels, sources)]


def drawn_labels(labels: Iterable[Label], sources: Sequence[LabelSource] = SOURCES) -> list[Label]:
    """Of events that were drawn at random the verdicts that may count for all others (`FinalLabel.drawn`)."""
    return [each.drawn for each in resolved(labels, sources) if each.drawn is not None]


def resolved(labels: Iterable[Label], sources: Sequence[LabelSource] = SOURCES) -> list[FinalLabel]:
    """What annotations come to, one for each event, in order of first appearance.

    The order in which annotations arrive changes no verdict, nor does one that arrives twice: annotations have their
    own order, by when they were given. What was said on the way to a verdict (votes, gold answers, escalations,
    comments) is passed over. An annotation that is superseded, or repeated by the same annotator, gives way to the
    newer one; of outcomes the one counts that was known last.

    Then the source that comes first in `sources` has the word. Of several annotators of that source the majority has
    it, and the latest of those at a tie. An event that nobody answered keeps its latest skip, expiry or withdrawal.

    An outcome says what a drawn event is where somebody who was asked has answered too. A drawn event that only has an
    outcome was left unanswered by the draw, and stays so for whatever is measured: who has an outcome is no accident.

    Args:
        labels: annotations of any events.
        sources: whose word counts, first to last; answers of others are passed over.

    Returns:
        A final label for each event that has one; a retracted event is absent.

    """
    ending = [label for label in labels if label.status in ENDING]
    superseded = {label.supersedes for label in ending if label.supersedes is not None}
    by_event: dict[str, list[Label]] = {}
    for label in ending:
        by_event.setdefault(label.event_id, []).append(label)
    rank = {source: place for place, source in enumerate(sources)}
    found = (_resolved(said, superseded, rank) for said in by_event.values())
    return [each for each in found if each is not None]


def _resolved(said: list[Label], superseded: set[str], rank: dict[LabelSource, int]) -> FinalLabel | None:
    asked = [label for label in said if source_of(label) != "outcome"]
    outcomes = [label for label in said if source_of(label) == "outcome"] if "outcome" in rank else []
    standing = _standing(asked, superseded)
    answers = [label for label in standing if label.status == "answered" and source_of(label) in rank]
    verdict = _verdict(standing, answers, rank)
    outcome = max(outcomes, key=_known, default=None)
    classes = {label.label for label in answers} | ({outcome.label} if outcome is not None else set())
    conflict = len(classes) > 1
    source = source_of(verdict) if verdict is not None and verdict.status == "answered" else None
    drawn = verdict if verdict is not None and verdict.inclusion_probability is not None else None
    if outcome is None:
        return None if verdict is None else FinalLabel(verdict, source, drawn, conflict)
    if verdict is None or source is None:
        base = verdict or max(asked, key=_given, default=outcome)
        told = msgspec.structs.replace(_told(base, outcome), reason=OUTCOME, inclusion_probability=None)
        return FinalLabel(told, "outcome", drawn, conflict, outcome.share)
    if rank["outcome"] > rank[source]:
        return FinalLabel(verdict, source, drawn, conflict, outcome.share)
    told = _told(verdict, outcome)
    return FinalLabel(told, "outcome", None if drawn is None else told, conflict, outcome.share)


def _standing(labels: list[Label], superseded: set[str]) -> list[Label]:
    """The newest annotation of each annotator, oldest first, of those that nothing has taken the place of."""
    newest: dict[str, Label] = {}
    for label in sorted(labels, key=_given):
        newest.pop(label.annotator, None)
        newest[label.annotator] = label
    return [
        label
        for label in newest.values()
        if label.status != "retracted" and (label.annotation_id is None or label.annotation_id not in superseded)
    ]


def _verdict(standing: list[Label], answers: list[Label], rank: dict[LabelSource, int]) -> Label | None:
    if not standing:
        return None
    if not answers:
        last = next((label for label in reversed(standing) if label.status != "answered"), None)
        return last or msgspec.structs.replace(standing[-1], status="withdrawn", label=None)
    first = min(rank[source_of(label)] for label in answers)
    heard = [label for label in answers if rank[source_of(label)] == first]
    votes = Counter(label.label for label in heard)
    most = max(votes.values())
    return next(label for label in reversed(heard) if votes[label.label] == most)


def _told(base: Label, outcome: Label) -> Label:
    """What an outcome says of an event that more is known of: its features, and how it came to be asked about."""
    return msgspec.structs.replace(
        base,
        status="answered",
        label=outcome.label,
        annotator=outcome.annotator,
        known_at=outcome.known_at,
        answered_at=outcome.answered_at,
        annotation_id=outcome.annotation_id,
        source="outcome",
        share=outcome.share,
        confidence=None,
        comment=None,
        supersedes=None,
        answers=None,
        annotators=None,
        consensus=None,
        bulk=None,
    )


def _given(label: Label) -> tuple[Any, ...]:
    """Annotations in the order in which they were given, whenever they arrive."""
    return label.answered_at, label.annotation_id or "", label.annotator, label.status, label.label or ""


def _known(label: Label) -> tuple[Any, ...]:
    """Outcomes in the order in which they were known."""
    return label.known_at, label.annotation_id or "", label.label or ""

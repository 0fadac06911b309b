"""From annotations to one verdict for each event: corrections, retractions and several annotators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tidemark.records import ENDING, Label


def final_labels(labels: Iterable[Label]) -> list[Label]:
    """One label for each event, in order of first appearance; a retracted event is absent.

    What was said on the way to a verdict (votes, gold answers, escalations, comments) is passed over. An annotation
    that is superseded, or repeated by the same annotator, gives way to the newer one. Several annotators' answers: the
    majority's, and the latest of those at a tie. An event that nobody answered keeps its latest skip, expiry or
    withdrawal.
    """
    labels = [label for label in labels if label.status in ENDING]
    superseded = {label.supersedes for label in labels if label.supersedes is not None}
    standing: dict[str, dict[str, Label]] = {}
    for label in labels:
        voices = standing.setdefault(label.event_id, {})
        voices.pop(label.annotator, None)
        voices[label.annotator] = label
    verdicts = []
    for voices in standing.values():
        kept = [
            label
            for label in voices.values()
            if label.status != "retracted" and (label.annotation_id is None or label.annotation_id not in superseded)
        ]
        if kept:
            verdicts.append(_verdict(kept))
    return verdicts


def _verdict(labels: list[Label]) -> Label:
    answered = [label for label in labels if label.status == "answered"]
    if not answered:
        return labels[-1]
    votes = Counter(label.label for label in answered)
    most = max(votes.values())
    return next(label for label in reversed(answered) if votes[label.label] == most)

"""A case laid out for the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from console.shown.answers import AnswerBook
from console.shown.facts import FactBook, Facts, words
from console.shown.formatting import due_in, number, share
from console.shown.timeline import Timeline, timeline
from labeling_grpc.client.foretelling import foretelling
from labeling_grpc.client.reasons import why_asked
from labeling_grpc.client.values import Case, CaseDetails, NumberRange, Task
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL

_LIKELY: Final = 8
"""Classes whose probabilities are shown where there are many."""
_TELLING: Final = 8
"""Contributions that are shown, the largest first."""
_ALIKE: Final = 5
_DIFFERENT: Final = 3
_CLOSE: Final = (0.5, 2.0)
_NARROWEST: Final = 0.6


@dataclass(frozen=True, slots=True)
class Chance:
    """What the model holds of a class. width: percent."""

    label: str
    kind: str
    chance: str
    width: float


@dataclass(frozen=True, slots=True)
class Part:
    """What a feature adds to the score. x, width: of its bar, percent.  up: towards the positive class."""

    words: str
    name: str
    value: str
    added: str
    up: bool
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Foretold:
    """A number that a model foretells.

    value, between: for people.  at, low: where it and the lower end of its interval lie between the label's bounds, %.
    width: of the interval, %.  least, greatest: the bounds, for people.
    """

    value: str
    between: str
    at: float
    low: float
    width: float
    least: str
    greatest: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the model thinks.

    chances: of the model in force, or of the one that asked.  earlier: of the latter.  moved: what its parts are about.
    estimate: of a number, instead of chances.
    """

    version: str
    chances: list[Chance]
    earlier: str
    parts: list[Part]
    more: int
    moved: str
    estimate: Foretold | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """A labeled case near this one."""

    label: str
    kind: str
    when: str
    near: str
    differs: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Said:
    """Something that somebody said or answered. answer: "" for a comment."""

    who: str
    when: str
    text: str
    answer: str
    cut: bool


@dataclass(frozen=True, slots=True)
class CaseView:
    """The case. opinion: None where it is hidden, or there is none.  left: seconds until it is due, None: it never is.

    due: in words, which the page's script keeps up to date.  due_at: the moment.
    """

    event_id: str
    name: str
    key: str
    key_words: str
    when: str
    iso: str
    until: str
    left: int | None
    due: str
    due_at: str
    assigned: bool
    why: str
    uncertainty: str
    review: bool
    seen: int
    facts: Facts
    hidden: list[str]
    opinion: Opinion | None
    blind: bool
    timeline: Timeline | None
    alike: list[Alike]
    said: list[Said]
    earlier_comments: int
    complete: bool


class CaseLayout:
    """Lays out cases of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._book = FactBook(pipeline)
        self._answers = AnswerBook(pipeline.label)
        self.blind = bool(pipeline.labeling.blind)

    def opinion(self, details: CaseDetails) -> Opinion | None:
        """What the model thinks of a case that was answered; None where there is no model."""
        return self._opinion(details.record.case, details)

    def of(self, task: Task, details: CaseDetails | None, now: int) -> CaseView:
        """A case.

        Args:
            task: the case.
            details: more about it; None where it could not be had.
            now: wall clock, µs.

        Returns:
            What the page shows.

        """
        history = None if details is None else details.history
        current = "" if details is None else details.contributions_model
        blind = self.blind
        times = self._book.times
        left = None if task.due is None else (task.due - now) // 1_000_000
        return CaseView(
            event_id=task.event_id,
            name=task.business_id or task.event_id,
            key=task.key or "",
            key_words=words(self._pipeline.keys[0]),
            when=times.moment(task.time),
            iso=times.iso(task.time),
            until="" if task.expires_at is None else times.moment(task.expires_at),
            left=left,
            due="" if left is None else due_in(left),
            due_at="" if task.due is None else times.moment(task.due),
            assigned=task.assigned,
            why=why_asked(task, current),
            uncertainty="" if blind or task.uncertainty is None else number(task.uncertainty, 2),
            review=task.review,
            seen=task.leases - 1,
            facts=self._book.of(task, history),
            hidden=[words(name) for name in task.hidden_columns],
            opinion=None if blind else self._opinion(task, details),
            blind=blind,
            timeline=timeline(self._pipeline, self._book, task, history),
            alike=[] if details is None else self._alike(task, details),
            said=self._said(task, details),
            earlier_comments=task.earlier_comments,
            complete=details is not None,
        )

    def _opinion(self, task: Case, details: CaseDetails | None) -> Opinion | None:
        classes, positive = self._pipeline.label.classes, self._pipeline.label.positive
        if self._answers.number is not None:
            return self._of_number(self._answers.number, task, details)
        chances, version, earlier = task.probabilities, "" if task.model == NO_MODEL else task.model, ""
        if details is not None and details.current_probabilities:
            if version and details.contributions_model != version and len(chances) == len(classes):
                then = share(chances[classes.index(positive)])
                earlier = f"{version} said {then} when it was asked"
            chances, version = details.current_probabilities, details.contributions_model
        if len(chances) != len(classes):
            return None
        likely = sorted(zip(classes, chances, strict=True), key=lambda each: -each[1])[:_LIKELY]
        shown = [
            Chance(name, self._answers.kind(name), share(chance), round(100 * chance, 2)) for name, chance in likely
        ]
        parts, more = ([], 0) if details is None else self._parts(task, details)
        return Opinion(version, shown, earlier, parts, more, f"What speaks against and for {positive}")

    def _of_number(self, number: NumberRange, task: Case, details: CaseDetails | None) -> Opinion | None:
        found = foretelling(task, details)
        if found is None:
            return None
        said, before = found.estimate, found.earlier
        earlier = "" if before is None else f"{found.earlier_version} said {number.foretold(before)} when it was asked"

        def place(value: float) -> float:
            return round(min(max(100 * (value - number.least) / (number.greatest - number.least), 0.0), 100.0), 2)

        foretold = Foretold(
            value=number.foretold(said),
            between=number.between(said),
            at=place(said.value),
            low=place(said.low),
            width=round(place(said.high) - place(said.low), 2),
            least=number.written(number.least),
            greatest=number.written(number.greatest),
        )
        parts, more = ([], 0) if details is None else self._parts(task, details)
        return Opinion(found.version, [], earlier, parts, more, "What makes it less and more", foretold)

    def _parts(self, task: Case, details: CaseDetails) -> tuple[list[Part], int]:
        telling = details.contributions[:_TELLING]
        largest = max((abs(part.contribution) for part in telling), default=0.0) or 1.0
        parts = []
        for part in telling:
            width = round(max(49.0 * abs(part.contribution) / largest, _NARROWEST), 2)
            up = part.contribution > 0
            added = f"{part.contribution:+.2f}".replace("-", "\u2212")
            value = self._book.feature(part.name, part.value, task.categories)
            parts.append(Part(words(part.name), part.name, value, added, up, 50.0 if up else 50.0 - width, width))
        return parts, len(details.contributions) - len(telling)

    def _alike(self, task: Task, details: CaseDetails) -> list[Alike]:
        found = []
        matters = {part.name: place for place, part in enumerate(details.contributions)}
        for case in details.similar[:_ALIKE]:
            telling = sorted(case.features, key=lambda name: matters.get(name, len(matters)))
            differing = (
                (words(name), self._book.feature(name, case.features[name], case.categories), self._ours(name, task))
                for name in telling
                if case.features[name] != task.features.get(name)
            )
            near, middling = _CLOSE
            close = "very near" if case.distance < near else "near" if case.distance < middling else "far"
            found.append(
                Alike(
                    self._answers.words(case.label),
                    self._answers.kind(case.label),
                    self._book.times.minute(case.time),
                    close,
                    _telling(differing),
                )
            )
        return found

    def _ours(self, name: str, task: Task) -> str:
        return self._book.feature(name, task.features.get(name), task.categories)

    def _said(self, task: Task, details: CaseDetails | None) -> list[Said]:
        times = self._book.times
        said = [Said(each.annotator, times.minute(each.at), each.text, "", each.cut) for each in task.comments]
        for answer in () if details is None else details.answers:
            told = self._answers.words(answer.label) if answer.label else answer.status
            said.append(Said(answer.annotator, times.minute(answer.at), answer.comment, told, cut=False))
        return said


def _telling(differing: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The first differences that can be read: not those that look the same."""
    return list(islice((each for each in differing if each[1] != each[2]), _DIFFERENT))

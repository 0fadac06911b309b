"""Answers as people read them: a class by its name, a number with its unit."""

from __future__ import annotations

from dataclasses import dataclass

from labeling_grpc.client import NumberRange
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.numbers import NumberReader


@dataclass(frozen=True, slots=True)
class Choice:
    """A class that can be answered. kind: positive or negative."""

    number: int
    name: str
    kind: str


class AnswerBook:
    """What answers of a pipeline look like. number: which can be answered; None: an answer is one of the classes."""

    def __init__(self, label: LabelSpec) -> None:
        self._label = label
        self.number: NumberRange | None = None
        if label.is_number:
            reader = NumberReader(label)
            tolerance = float(label.tolerance or 0.0)
            self.number = NumberRange(label.unit or "", reader.least, reader.greatest, tolerance)

    @property
    def choices(self) -> list[Choice]:
        """The classes in their order, from 1; none where an answer is a number."""
        kinds = ["positive" if name == self._label.positive else "negative" for name in self._label.classes]
        return [Choice(place, *each) for place, each in enumerate(zip(self._label.classes, kinds, strict=True), 1)]

    def words(self, answer: str) -> str:
        """An answer as it is shown. What is no answer of today stays as it is."""
        if self.number is None:
            return answer
        try:
            return self.number.written(float(answer))
        except ValueError:
            return answer

    def kind(self, answer: str | None) -> str:
        """How an answer is drawn: by shape and colour."""
        classes = self._label.classes
        if answer is None:
            return "open"
        if answer == self._label.positive:
            return "positive"
        return "negative" if len(classes) == 2 or answer in classes[:1] else "other"

    def group(self, answer: str | None) -> str:
        """Under which words answers drawn alike are counted."""
        if answer is None:
            return "not answered"
        if self.number is not None:
            return "answered"
        return "other classes" if self.kind(answer) == "other" else answer

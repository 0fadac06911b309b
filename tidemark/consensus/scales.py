"""What an answer is, a class or a number, and all that depends on it: one object that the labeling service asks.

Answers are texts. What is learnt of annotators is kept as sums of whole numbers, by two texts: for classes the true one
and the one that was said, for numbers nothing and the error's bin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.consensus.agreement import Agreement, krippendorff_alpha, krippendorff_alpha_of_numbers
from tidemark.consensus.answers import Answers
from tidemark.consensus.glad import ability
from tidemark.consensus.glad import weighed as weighed_by_ease
from tidemark.consensus.numbers import accuracy, error_bin, estimate, median, within
from tidemark.consensus.online import cautious, weighed
from tidemark.consensus.screening import Screening, screen, screen_numbers
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.numbers import NumberReader

UNIT: Final = 1_000_000
"""Whole numbers that one case counts."""

Method = Literal["majority", "dawid_skene", "glad"]
Cell = tuple[str, str, int]
"""What one answer tells of who gave it: the two texts by which it is kept, and millionths of a case."""
Triples = Iterable[tuple[str, str, str]]
"""Answers as (case, annotator, answer), one of each annotator a case."""

_STEPS: Final = 1_000
"""Parts of all from the least number to the greatest one; an error of one matters where there is no tolerance."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """What answers come to. confidence: probability that it is right.  shares: of each class; None for a number."""

    answer: str
    confidence: float
    shares: tuple[float, ...] | None


class Scale(Protocol):
    """What an answer is.

    `known` and its kin are the truth of a case as the queue keeps it: probabilities of the classes in their order, or
    the one number.  A tally is what is known of an annotator; that of nobody in particular, `common`, holds how
    frequent the classes are.
    """

    def read(self, text: str) -> str:
        """An answer as it is kept. Raises ValueError if it is none; says what was expected."""

    def holds(self, answer: str | None) -> bool:
        """Whether an answer that was kept is one by the pipeline's file of today."""

    def agree(self, first: str, second: str) -> bool:
        """Whether two answers say the same."""

    def known(self, answer: str) -> tuple[float, ...]:
        """The truth, where an answer is."""

    def truth(self, known: Sequence[float]) -> str | None:
        """The answer that is true; None: it is not known."""

    def of_votes(self, shares: Sequence[float], answers: Sequence[str]) -> tuple[float, ...]:
        """The truth by a verdict on several answers. shares: as the verdict has them."""

    def told(self, known: Sequence[float], answer: str) -> list[Cell]:
        """What an answer tells of its annotator."""

    def frequent(self, known: Sequence[float]) -> list[Cell]:
        """What a case tells of all."""

    def tally(self) -> Any:  # noqa: ANN401 - each scale's own
        """Of somebody of whom nothing is known."""

    def count(self, tally: Any, truth: str, said: str, weight: int) -> None:  # noqa: ANN401 - each scale's own
        """Add to a tally what was kept."""

    def weigh(self, common: Any, answers: Sequence[tuple[Any, str]], method: Method) -> Consensus:  # noqa: ANN401
        """What answers come to. answers: of each annotator the tally and what they said; one at least."""

    def right(self, common: Any, tally: Any) -> float | None:  # noqa: ANN401 - each scale's own
        """Expected share of right answers; None: nothing is known."""

    def agreement(self, triples: Triples) -> Agreement:
        """How far annotators agree beyond chance."""

    def screened(self, triples: Triples) -> list[Screening]:
        """Each annotator compared with the others."""


class ClassScale:
    """Answers are names of classes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._numbers = {name: number for number, name in enumerate(self._classes)}

    def read(self, text: str) -> str:
        """The name, if it is one."""
        if text not in self._numbers:
            raise ValueError(f"{text!r} is none of the classes: {', '.join(self._classes)}")
        return text

    def holds(self, answer: str | None) -> bool:
        """Whether it is a class."""
        return answer in self._numbers

    def agree(self, first: str, second: str) -> bool:
        """Whether they are one class."""
        return first == second

    def known(self, answer: str) -> tuple[float, ...]:
        """Probabilities of the classes where one is the truth."""
        return tuple(float(answer == name) for name in self._classes)

    def truth(self, known: Sequence[float]) -> str | None:
        """The likeliest class; None where none is, for the truth was none of these classes."""
        return self._classes[int(np.argmax(known))] if len(known) == len(self._classes) and any(known) else None

    def of_votes(self, shares: Sequence[float], answers: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """As the verdict says."""
        return tuple(shares)

    def told(self, known: Sequence[float], answer: str) -> list[Cell]:
        """What was said by what is true."""
        return [(name, answer, weight) for name, weight in self._weights(known)]

    def frequent(self, known: Sequence[float]) -> list[Cell]:
        """How frequent classes are."""
        return [(name, name, weight) for name, weight in self._weights(known)]

    def _weights(self, known: Sequence[float]) -> list[tuple[str, int]]:
        shares = zip(self._classes, known, strict=False)
        return [(name, weight) for name, share in shares if (weight := round(share * UNIT))]

    def tally(self) -> NDArray[np.int64]:
        """(true, said), millionths of cases."""
        size = len(self._classes)
        return np.zeros((size, size), np.int64)

    def count(self, tally: NDArray[np.int64], truth: str, said: str, weight: int) -> None:
        """Add it, if both are classes that the pipeline has now."""
        if truth in self._numbers and said in self._numbers:
            tally[self._numbers[truth], self._numbers[said]] += weight

    def weigh(
        self, common: NDArray[np.int64], answers: Sequence[tuple[NDArray[np.int64], str]], method: Method
    ) -> Consensus:
        """By shares of votes, or by what annotators said before, as two models have it."""
        shares = tuple(round(float(share), 6) for share in self._shares(common, answers, method))
        best = int(np.argmax(shares))
        return Consensus(self._classes[best], shares[best], shares)

    def _shares(
        self, common: NDArray[np.int64], answers: Sequence[tuple[NDArray[np.int64], str]], method: Method
    ) -> NDArray[np.float64]:
        numbered = [(self._known(tally), self._numbers[label]) for tally, label in answers]
        if method == "majority":
            return np.bincount([label for _, label in numbered], minlength=len(self._classes)) / len(numbered)
        priors = self._priors(common)
        if method == "dawid_skene":
            return weighed(priors, numbered)
        able = [(ability(float(np.trace(matrix) / matrix.sum())), label) for matrix, label in numbered]
        return weighed_by_ease(priors, able)

    def right(self, common: NDArray[np.int64], tally: NDArray[np.int64]) -> float | None:
        """Over cases as they come."""
        if not tally.any():
            return None
        matrix = self._known(tally)
        return float(self._priors(common) @ (np.diag(matrix) / matrix.sum(axis=1)))

    def _known(self, tally: NDArray[np.int64]) -> NDArray[np.float64]:
        """(true, said), cases and what is taken for known before any.

        What is below 0 counts as nothing: of an answer from before `classes` had another order, an amendment takes back
        another cell. It would make its annotator infallible.
        """
        return np.asarray(cautious(len(self._classes)) + np.maximum(tally, 0) / UNIT, np.float64)

    def _priors(self, common: NDArray[np.int64]) -> NDArray[np.float64]:
        frequent = np.maximum(np.diag(common), 0) / UNIT + 1.0
        return np.asarray(frequent / frequent.sum(), np.float64)

    def agreement(self, triples: Triples) -> Agreement:
        """Krippendorff's alpha, nominal."""
        return krippendorff_alpha(Answers.of(triples, self._classes))

    def screened(self, triples: Triples) -> list[Screening]:
        """By Dawid and Skene's model of the others."""
        return screen(Answers.of(triples, self._classes))


class NumberScale:
    """Answers are numbers within bounds, in their canonical texts.

    label: of a pipeline that was checked, whose type is `number`.
    """

    def __init__(self, label: LabelSpec) -> None:
        self._reader = NumberReader(label)
        self._tolerance = float(label.tolerance or 0.0)
        self._step = self._tolerance or (self._reader.greatest - self._reader.least) / _STEPS

    def read(self, text: str) -> str:
        """The canonical text of the number."""
        return self._reader.text(text)

    def holds(self, answer: str | None) -> bool:
        """Whether it is a number within the bounds."""
        if answer is None:
            return False
        try:
            self._reader.number(answer)
        except ValueError:
            return False
        return True

    def agree(self, first: str, second: str) -> bool:
        """Whether they are no further apart than the tolerance."""
        if first == second:
            return True
        return self.holds(first) and self.holds(second) and within(float(first), float(second), self._tolerance)

    def known(self, answer: str) -> tuple[float, ...]:
        """The number by itself."""
        return (float(answer),)

    def truth(self, known: Sequence[float]) -> str | None:
        """The number."""
        return repr(float(known[0])) if len(known) == 1 else None

    def of_votes(self, shares: Sequence[float], answers: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """The plain median: by a weighted one, whoever counts most would be right by definition."""
        return (median([float(answer) for answer in answers]),)

    def told(self, known: Sequence[float], answer: str) -> list[Cell]:
        """The bin of the error."""
        if len(known) != 1 or not self.holds(answer):
            return []
        return [("", str(error_bin(float(answer) - known[0], self._step)), UNIT)]

    def frequent(self, known: Sequence[float]) -> list[Cell]:  # noqa: ARG002 - of classes alone
        """Nothing."""
        return []

    def tally(self) -> Counter[int]:
        """Millionths of cases by the error's bin."""
        return Counter()

    def count(self, tally: Counter[int], truth: str, said: str, weight: int) -> None:
        """Add it, if it is a bin: the pipeline may have had classes once."""
        if not truth and said.lstrip("-").isdecimal() and said.isascii():
            tally[int(said)] += weight

    def weigh(self, common: object, answers: Sequence[tuple[Counter[int], str]], method: Method) -> Consensus:  # noqa: ARG002
        """By the weighted median (`tidemark.consensus.numbers`); `majority` takes all annotators for alike."""
        unweighed = method == "majority"
        told = [(float(label), self._accuracy(Counter() if unweighed else tally)) for tally, label in answers]
        found = estimate(told, self._tolerance)
        number = min(max(found.number, self._reader.least), self._reader.greatest)
        return Consensus(self._reader.text(number), round(found.confidence, 6), None)

    def right(self, common: object, tally: Counter[int]) -> float | None:  # noqa: ARG002 - of classes alone
        """Within the tolerance, without the bias."""
        return self._accuracy(tally).right if any(tally.values()) else None

    def _accuracy(self, tally: Counter[int]) -> Any:  # noqa: ANN401
        return accuracy(
            {place: weight / UNIT for place, weight in tally.items() if weight > 0}, self._step, self._tolerance
        )

    def agreement(self, triples: Triples) -> Agreement:
        """Krippendorff's alpha, interval."""
        return krippendorff_alpha_of_numbers([(case, float(answer)) for case, _, answer in triples])

    def screened(self, triples: Triples) -> list[Screening]:
        """By the median of the others, within the tolerance."""
        return screen_numbers([(case, who, float(said)) for case, who, said in triples], self._tolerance)


def scale_of(classes: Sequence[str], number: LabelSpec | None) -> Scale:
    """What answers of a pipeline are. number: its label, where that is a number."""
    return ClassScale(classes) if number is None else NumberScale(number)

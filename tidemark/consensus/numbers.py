"""What several annotators' numbers come to, by the bias and the spread that each of them has shown.

What is known of an annotator is a histogram of errors, in whole numbers: a sum that no order of the cases changes. The
verdict is the weighted median of the answers, each without its annotator's bias and weighed by one over the spread: the
maximum of the likelihood where errors are Laplace's (Edgeworth 1888, "On a new method of reducing observations"). Less
than half of the weight can't carry it away, however wrong those answers are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_PARTS: Final = 4
"""Bins of the histogram in one step; beyond, in a factor of e."""
_BEFORE: Final = 4.0
"""Answers that everybody is taken to have given before: unbiased, spread by one step."""
_HITS: Final = 3.0
"""Of those before, how many were right within the tolerance."""
_FARTHEST: Final = 10.0
"""Steps: an error counts as no larger in the spread, or one slip would outweigh a year."""
_CHANCE: Final = 0.5
"""Who is right less often than this tells nothing: a wrong number does not say which one is right."""
_SLACK: Final = 1e-9
"""Share of the tolerance, and of a number's last digits, that binary fractions of decimal numbers may be off."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How an annotator's numbers stand to the truth.

    bias: what they are too high, in the label's unit.  spread: mean distance from the truth without the bias, in the
    same unit, above 0.  right: share that is within the tolerance then, above 0 and below 1.
    """

    bias: float
    spread: float
    right: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What answers come to. confidence: probability that the number is right within the tolerance."""

    number: float
    confidence: float


def within(first: float, second: float, tolerance: float) -> bool:
    """Whether two numbers are no further apart than the tolerance, as their decimals are written: 1.1 is 0.1 from 1."""
    apart = abs(first - second)
    return apart <= tolerance + _SLACK * tolerance + 1e-15 * max(abs(first), abs(second))


def error_bin(error: float, step: float) -> int:
    """Bin of an error: quarters of a step up to one step, by its logarithm beyond.

    Args:
        error: an answer less the truth, in the label's unit, finite.
        step: an error that matters, in the same unit, above 0.

    Returns:
        The number of the bin: 0 for none, negative for too low.

    """
    steps = abs(error) / step
    place = round(_PARTS * steps) if steps <= 1.0 else _PARTS + max(math.ceil(_PARTS * math.log(steps)), 1)
    return -place if error < 0 else place


def error_of(place: int, step: float) -> float:
    """Error in the middle of a bin, in the step's unit."""
    beyond = abs(place) - _PARTS
    steps = abs(place) / _PARTS if beyond <= 0 else math.exp((beyond - 0.5) / _PARTS)
    return math.copysign(step * steps, place)


def accuracy(errors: Mapping[int, float], step: float, tolerance: float) -> Accuracy:
    """How an annotator's numbers stand to the truth, by the errors in cases whose truth is known.

    Args:
        errors: cases by the bin of the error (`error_bin`), each above 0.
        step: of the bins, in the label's unit, above 0.
        tolerance: within which a number is right, in the same unit; 0 where it must be the same.

    Returns:
        Bias, spread and share of right ones, drawn towards those of somebody of whom nothing is known.

    """
    places = sorted(errors)
    cases = sum(errors.values())
    weighed = {place: errors.get(place, 0.0) + (_BEFORE if place == 0 else 0.0) for place in {*places, 0}}
    low, high = _middle([(float(place), weight) for place, weight in sorted(weighed.items())])
    bias = error_of(round(0.5 * (low + high)), step)
    apart = {place: abs(error_of(place, step) - bias) for place in places}
    near = sum(errors[place] for place in places if within(apart[place], 0.0, tolerance))
    spread = sum(errors[place] * min(apart[place], _FARTHEST * step) for place in places)
    return Accuracy(bias, (_BEFORE * step + spread) / (_BEFORE + cases), (_HITS + near) / (_BEFORE + cases))


def median(numbers: Sequence[float]) -> float:
    """The median, half-way between the two in the middle where they are even."""
    low, high = _middle([(number, 1.0) for number in numbers])
    return low + 0.5 * (high - low)


def estimate(answers: Sequence[tuple[float, Accuracy]], tolerance: float) -> Estimate:
    """What several numbers come to.

    Whoever is within the tolerance of the median speaks for it, everybody else against it: the odds are the product of
    each one's (Nitzan and Paroush 1982, "Optimal decision rules in uncertain dichotomous choice situations"). Where two
    numbers share the middle, who speaks for it is near to both.

    Args:
        answers: of each annotator the number and what is known of them; one at least.
        tolerance: in the label's unit; 0 where numbers agree if they are the same.

    Returns:
        The number and how likely it is to be right.

    """
    numbers = [(number - known.bias, 1.0 / known.spread) for number, known in answers]
    low, high = _middle(sorted(numbers))
    odds = 0.0
    for (number, _), (_, known) in zip(numbers, answers, strict=True):
        right = max(known.right, _CHANCE)
        speaks = within(number, low, tolerance) and within(number, high, tolerance)
        odds += math.log(right / (1.0 - right)) * (1 if speaks else -1)
    return Estimate(low + 0.5 * (high - low), 1.0 / (1.0 + math.exp(-odds)))


def _middle(numbers: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Between which two numbers half of the weight lies: the same one twice, but where it is split evenly.

    numbers: (number, weight above 0), sorted.
    """
    numbers = sorted(numbers)
    half = 0.5 * math.fsum(weight for _, weight in numbers)
    before = 0.0
    for place, (number, weight) in enumerate(numbers):
        before += weight
        if math.isclose(before, half, rel_tol=1e-12) and place + 1 < len(numbers):
            return number, numbers[place + 1][0]
        if before >= half:
            return number, number
    return numbers[-1][0], numbers[-1][0]

"""The demo in one sentence."""

from __future__ import annotations

from tidemark.demo.curves import Comparison, compare
from tidemark.demo.result import DemoResult

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def compared(result: DemoResult) -> Comparison | None:
    """Both arms of a run over their whole curves; None where there is nothing to compare."""
    return compare(result.active, result.draws, result.base_rate)


def sentence(result: DemoResult) -> str:
    """What choosing labels was worth, over the whole run and against several random draws."""
    comparison = compared(result)
    if comparison is None or not result.active:
        return "The stream was too short for a model of each arm: there is nothing to compare."
    draws = len(comparison.random)
    several = f"{_NUMBERS[draws] if draws < len(_NUMBERS) else draws} draw{'s' if draws > 1 else ''}"
    low, high = min(comparison.random), max(comparison.random)
    mean = sum(comparison.random) / draws
    ahead = comparison.ahead_from
    end = (
        "at the end the random ones were ahead"
        if ahead is None
        else "they were never behind"
        if ahead == 0
        else f"from label {ahead:,} on they were never behind"
    )
    random = f"as many drawn at random {mean:.2f} ({several}: {low:.2f} to {high:.2f})"
    return (
        f"Over {comparison.labels:,} labels, chosen ones gave an average precision of {comparison.active:.2f} in the "
        f"mean, and {random}: {comparison.ratio:.1f} times as much; {end}."
    )

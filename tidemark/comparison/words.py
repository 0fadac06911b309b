"""Two models compared, in words: the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidemark.comparison.story import Compared, Figure, MadeOf
from tidemark.runtime import figures


def basis_words(found: Compared) -> str:
    """What the figures rest on, and what they tell of."""
    if found.drawn:
        which, tells = "randomly drawn answers", "each stands for the events it was drawn from"
    else:
        which = "answers"
        tells = "none was drawn at random: they tell of the cases that people were asked about, not of the stream"
    positives = f", {found.positives:,} of them {found.about}" if found.about else ""
    more = "" if found.complete else "; older labels were not read"
    return f"{found.n:,} {which} that neither has learnt from{positives}; {tells}{more}"


def figure_words(figure: Figure) -> str:
    """A figure with its interval."""
    if figure.value is None:
        return "can't be told"
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.low is None or figure.high is None:
        return f"{_written(figure.value, figure)}{unit}"
    low, high = _written(figure.low, figure), _written(figure.high, figure)
    return f"{_written(figure.value, figure)}{unit} (95 %: {low} to {high})"


def difference_words(figure: Figure) -> str:
    """Which of the two is better by a loss, if that is shown."""
    value, low, high = figure.value or 0.0, figure.low or 0.0, figure.high or 0.0
    better = (
        "The second is better" if high < 0 else "The first is better" if low > 0 else "Neither is shown to be better"
    )
    less = f"the second's {figure.name.partition(',')[0]} less the first's is {_signed(value, figure)}"
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.low is None or figure.high is None:
        return f"{better}: {less}{unit}"
    return f"{better}: {less}{unit} (95 %: {_signed(low, figure)} to {_signed(high, figure)})"


def made_words(made: MadeOf) -> Iterator[str]:
    """The labels that made a model, a sentence each."""
    classes = f": {_counts(made.classes)}" if made.classes else ""
    yield f"{made.labels:,} labels{classes}" if made.labels else "the labels that it was trained on are not known"
    if sum(made.drawn.values()):
        yield f"{sum(made.drawn.values()):,} of them drawn at random: {_counts(made.drawn)}"
    if made.source:
        yield f"trained on {made.source}"
    elif made.exact:
        yield "the labels topic holds exactly these"
    elif made.labels:
        yield f"the labels topic still holds {made.found:,} events of them, some are gone or corrected since"
    if made.annotators:
        yield f"answered by {_counts(made.annotators)}"
    if made.reasons:
        yield f"asked about because: {_counts(made.reasons)}"


def compared_words(found: Compared) -> Iterator[tuple[str, list[str]]]:
    """Names and lines of the rows of a table."""
    yield "unseen labels", [found.why or basis_words(found)]
    if found.difference is not None:
        yield "difference", [difference_words(found.difference)]
    for one, other in zip(found.first.figures, found.second.figures, strict=True):
        yield one.name, [f"{figure_words(one)}, {figure_words(other)}"]
    errors = [side.calibration_error for side in (found.first, found.second)]
    if None not in errors:
        yield "calibration", ["off by " + ", ".join(f"{error:.3f}" for error in errors) + " on average"]
    for side in (found.first, found.second):
        yield f"made {side.version}", list(made_words(side.made_of))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _written(number: float, figure: Figure) -> str:
    return f"{number:.3f}" if figure.unit is None else figures.figure(number, 4)


def _signed(number: float, figure: Figure) -> str:
    return ("+" if number >= 0 else "") + _written(number, figure).replace("-", "\u2212")

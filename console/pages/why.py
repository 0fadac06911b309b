"""The Why page: one event from its raw record to the models that learned its label, compared with what was recorded.

It shows records as they came: where a column is hidden from a role, that role does not see the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from console.pages.common import Visit, verified
from console.security.requests import RejectedError
from console.shown.answers import AnswerBook
from console.shown.facts import FactBook, words
from console.shown.formatting import NOTHING, number, share
from tidemark.errors import TidemarkError
from tidemark.lineage import Lineage
from tidemark.lineage.story import Shown, WindowPart
from tidemark.observe.words import word_words
from tidemark.pipeline import Pipeline
from tidemark.records import Reason

_LONGEST: Final = 1_000
_PARTS: Final = 12
_MODELS: Final = 6
_ASKED: Final[dict[Reason, str]] = {
    "explore": "drawn at random",
    "uncertain": "the model could not tell",
    "diverse": "unlike what was labeled before",
    "cold": "there was no model yet",
    "imported": "brought in by hand",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What a feature added to the score. x, width: percent."""

    name: str
    words: str
    value: str
    added: str
    up: bool
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Window:
    """A window with the rows that it saw: event id, when, value."""

    name: str
    words: str
    value: str
    count: int
    span: str
    rows: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said."""

    who: str
    status: str
    label: str
    when: str
    comment: str
    note: str


@dataclass(frozen=True, slots=True)
class View:
    """A lineage laid out."""

    told: Lineage
    when: str
    came: str
    columns: list[tuple[str, str]]
    windows: list[tuple[str, list[Window]]]
    features: list[tuple[str, str, str]]
    chances: list[tuple[str, str, str]]
    bars: list[Bar]
    more: int
    answers: list[Answer]
    models: list[tuple[str, str, int, bool]]
    later: int
    outcomes: list[tuple[str, str]]
    drawn: str
    asked: str
    differences: list[tuple[str, str, str, str]]
    word: str
    verdict: str


async def show(visit: Visit) -> Response:
    """The form, and the lineage of the event that is asked for."""
    role = await verified(visit)
    if any(role in roles for roles in visit.site.pipeline.labeling.hidden.values()):
        raise RejectedError(403, f"columns are hidden from the role {role}, and this page shows records as they came")
    asked = visit.request.query_params.get("event", "").strip()
    if len(asked) > _LONGEST:
        raise RejectedError(400, f"an event's id has at most {_LONGEST:,} characters")
    found, problem = None, ""
    if asked:
        try:
            await visit.site.watch.look()  # says within seconds that Kafka is down
            found = await visit.site.lineages.of(asked)
        except TidemarkError as error:
            problem = str(error)
    view = None if found is None else _view(visit, found)
    return visit.page("why.html", "why", 200, asked=asked, problem=problem, view=view)


def _view(visit: Visit, found: Lineage) -> View:
    pipeline, times = visit.site.pipeline, visit.site.times
    book, answers = FactBook(pipeline), AnswerBook(pipeline.label)
    windowed = {window.name for window in pipeline.windows}
    drawn = None if found.candidate is None else found.candidate.inclusion_probability
    return View(
        told=found,
        when=NOTHING if found.time is None else times.moment(found.time),
        came=NOTHING if found.raw is None or found.raw.came is None else times.moment(found.raw.came),
        columns=[(name, book.value(name, value)) for name, value in found.columns.items()],
        windows=_windows(found, book, visit),
        features=[
            (name, words(name), _feature(pipeline, book, name, value))
            for name, value in found.features.items()
            if name not in windowed
        ],
        chances=_chances(pipeline, found),
        bars=_bars(pipeline, found, book),
        more=max(len(found.contributions) - _PARTS, 0),
        answers=[
            Answer(
                each.annotator,
                each.status,
                answers.words(each.label or ""),
                times.minute(each.answered_at),
                each.comment or "",
                ", ".join(each.annotators),
            )
            for each in found.answers
        ],
        models=[(each.version, times.minute(each.made), each.labels, each.promoted) for each in found.models[:_MODELS]],
        later=max(len(found.models) - _MODELS, 0),
        outcomes=[(answers.words(each.label), times.minute(each.known_at)) for each in found.outcomes],
        drawn="" if drawn is None else number(drawn),
        asked="" if found.candidate is None else _ASKED[found.candidate.reason],
        differences=[(each.what, _any(each.derived), _any(each.recorded), each.where) for each in found.differences],
        word=word_words(found.word, conflict=found.conflict),
        verdict=answers.words(found.verdict or ""),
    )


def _windows(found: Lineage, book: FactBook, visit: Visit) -> list[tuple[str, list[Window]]]:
    groups: dict[str, list[Window]] = {}
    for part in found.windows:
        groups.setdefault(f"{words(part.key)} {part.key_value}", []).append(_window(part, book, visit))
    return list(groups.items())


def _window(part: WindowPart, book: FactBook, visit: Visit) -> Window:
    times = visit.site.times
    column = part.column or ""
    rows = [
        (row.event_id, times.moment(row.time), book.number(column, row.value) if column else "")
        for row in reversed(part.rows)
    ]
    span = f"after {times.moment(part.begin)}, {part.span}"
    return Window(part.name, words(part.name), book.number(part.name, part.value), part.count, span, rows)


def _feature(pipeline: Pipeline, book: FactBook, name: str, value: float | None) -> str:
    categories = next((feature.categories for feature in pipeline.features if feature.name == name), None)
    if categories and value is not None and value.is_integer() and 0 <= value < len(categories):
        return categories[int(value)]
    return book.number(name, value)


def _chances(pipeline: Pipeline, found: Lineage) -> list[tuple[str, str, str]]:
    """Of each class, or of a number and the ends of its interval: what was recorded, and what comes out now."""
    prediction = found.prediction
    if pipeline.label.is_number:
        numbers = None if prediction is None else [prediction.value, prediction.low, prediction.high]
        unit = f" {pipeline.label.unit}" if pipeline.label.unit else ""
        parts = ("number", "interval from", "to")
        return _pairs(parts, numbers, found.derived_estimate, lambda value: f"{number(value)}{unit}")
    said = None if prediction is None else prediction.probabilities
    now = found.derived_probabilities
    count = max(len(said or ()), len(now or ()))
    names = pipeline.label.classes if count == len(pipeline.label.classes) else [str(i) for i in range(count)]
    return _pairs(names, said, now, share)


def _pairs(
    names: Sequence[str],
    said: Sequence[float | None] | None,
    now: Sequence[float] | None,
    shown: Callable[[float], str],
) -> list[tuple[str, str, str]]:
    def of(numbers: Sequence[float | None] | None, at: int) -> str:
        number = None if numbers is None else numbers[at]
        return NOTHING if number is None else shown(number)

    return [
        (name, of(said, at), of(now, at))
        for at, name in enumerate(names)
        if (said is None or at < len(said)) and (now is None or at < len(now))
    ]


def _bars(pipeline: Pipeline, found: Lineage, book: FactBook) -> list[Bar]:
    parts = found.contributions[:_PARTS]
    largest = max((abs(part.contribution) for part in parts), default=0.0) or 1.0
    bars = []
    for part in parts:
        width = round(50 * abs(part.contribution) / largest, 1)
        up = part.contribution > 0
        added = ("+" if up else "") + number(part.contribution, 3)
        bars.append(
            Bar(
                part.name,
                words(part.name),
                _feature(pipeline, book, part.name, part.value),
                added,
                up,
                50 if up else 50 - width,
                width,
            )
        )
    return bars


def _any(value: Shown) -> str:
    if value is None:
        return NOTHING
    return repr(value) if isinstance(value, float) else str(value)

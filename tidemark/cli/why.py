"""`tidemark why PIPELINE EVENT`: how an event came to its score, and what was said of it, derived again."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.table import Table

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.fact_table import fact_table
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.observe.words import word_words
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from tidemark.lineage import Lineage
    from tidemark.records import Prediction

app = typer.Typer(add_completion=False)
_SHOWN: Final = 12
_DIFFERENT: Final = 2


@app.command()
def why(
    pipeline: PipelineFile,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's id, or the business's id for it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs, with all rows of windows.")] = False,
) -> None:
    """Tell how an event came to its score and what was said of it; compare that with what was recorded.

    Exits with 2 where something was recorded otherwise than it comes out now.
    """
    with told():
        from tidemark.lineage import Explainer  # half a second, which help need not wait for

        loaded = load(pipeline)
        with Explainer(loaded, started(loaded, pipeline, loaded.topics.predictions)) as explainer:
            found = explainer.of(event)
        if as_json:
            out.print(msgspec.json.format(msgspec.json.encode(found)).decode(), soft_wrap=True)
        else:
            _print(found)
    if found.differences:
        sys.exit(_DIFFERENT)


def _print(found: Lineage) -> None:
    out.print(fact_table(_lines(found)))
    if found.differences:
        differing = Table("differs", "derived", "recorded", "in", box=None, pad_edge=False, style="red")
        for each in found.differences:
            differing.add_row(safe(each.what), _value(each.derived), _value(each.recorded), safe(each.where))
        out.print(differing)
    elif found.compared:
        out.print(f"{found.compared} figures were compared with what was recorded: all are equal")
    else:
        out.print("nothing could be compared with what was recorded")
    for note in found.notes:
        out.print(safe(note), soft_wrap=True)


def _lines(found: Lineage) -> list[tuple[str, str]]:
    lines = [("event", found.event_id)]
    if found.business_id is not None:
        lines.append(("business id", found.business_id))
    if found.others:
        lines.append(("others of this id", "\n".join(found.others[:_SHOWN])))
    if found.key is not None:
        lines.append(("key", found.key))
    if found.time is not None:
        lines.append(("event time", _time(found.time)))
    if found.raw is not None:
        lines.append(("raw record", found.raw.value or "(no value)"))
    if found.refused is not None:
        lines.append(("refused", found.refused))
    if found.columns:
        lines.append(("cleaned", "\n".join(f"{name} = {_value(value)}" for name, value in found.columns.items())))
    if found.windows:
        lines.append(("windows", "\n".join(
            f"{part.name} = {_value(part.value)} of {part.count:,} rows, {part.key} {part.key_value}"
            for part in found.windows
        )))  # fmt: skip
    if found.features:
        lines.append(("features", "\n".join(f"{name} = {_value(value)}" for name, value in found.features.items())))
    return [*lines, *_judged(found)]


def _judged(found: Lineage) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if found.prediction is not None:
        chances = _said(found.prediction)
        lines.append(
            ("prediction", f"{chances} by {found.prediction.model}{', late' if found.prediction.late else ''}")
        )
    if found.contributions:
        parts = [f"{part.name} ({_value(part.value)}): {part.contribution:+.4g}" for part in found.contributions]
        lines.append(
            (f"to {found.of_class or 'the number'}", "\n".join([f"{found.base:+.4g} to begin with", *parts[:_SHOWN]]))
        )
    if found.score is not None:
        how = [
            name
            for name, is_so in (("by its coin", found.score.explore), ("by its score", found.score.active))
            if is_so
        ]
        proposed = f"proposed {' and '.join(how)}" if found.score.proposed else "not proposed"
        if found.score.offset is None:
            proposed = "its batch's proposals are gone"
        lines.append(("score", f"{_value(found.score.score)}, tile {found.score.tile}; {proposed}"))
    candidate = found.candidate
    if candidate is not None:
        drawn = candidate.inclusion_probability
        chance = "" if drawn is None else f", drawn with the chance {drawn:.6g}"
        lines.append(("candidate", f"{candidate.reason} of {candidate.tile_count:,} in tile {candidate.tile}{chance}"))
    elif found.score is not None:
        lines.append(("candidate", "no"))
    if found.answers:
        lines.append(("answers", "\n".join(
            f"{_time(each.answered_at)} {each.annotator}: {each.status} {each.label or ''} {each.comment or ''}"
            for each in found.answers
        )))  # fmt: skip
    if found.verdict is not None:
        lines.append(("verdict", f"{found.verdict}, {word_words(found.word, conflict=found.conflict)}"))
    if found.models:
        names = [f"{model.version}{'' if model.promoted else ' (refused)'}" for model in found.models]
        lines.append(
            (
                "learned by",
                ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""),
            )
        )
    lines += [("outcome", f"{each.label}, known {_time(each.known_at)}") for each in found.outcomes]
    return lines


def _said(one: Prediction) -> str:
    if one.value is not None and one.low is not None and one.high is not None:
        return f"{one.value:.6g} ({one.low:.6g} to {one.high:.6g})"
    if one.probabilities is None:
        return "none before the first model"
    return ", ".join(f"{each:.6g}" for each in one.probabilities)


def _value(value: str | float | bool | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.10g}"
    return safe(str(value))


def _time(us: int) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    except OverflowError:
        return f"{us} µs"
    return moment.isoformat(sep=" ", timespec="milliseconds")

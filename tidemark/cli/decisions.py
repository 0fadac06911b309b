"""`tidemark decisions PIPELINE`: what the rules of a pipeline file would have decided on the past."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.errors import ConfigError
from tidemark.pipeline.durations import parse_duration
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from confluent_kafka import Message

    from tidemark.deciding.trial import Trial, Tried
    from tidemark.evaluation.measures import Measured
    from tidemark.pipeline import Pipeline
    from tidemark.runtime.processor import Batch
    from tidemark.runtime.settings import Settings

app = typer.Typer(add_completion=False)
_LONGEST: Final = 3_600.0
_TOGETHER: Final = 10_000


@app.command()
def decisions(
    pipeline: PipelineFile,
    last: Annotated[
        str, typer.Option(metavar="DURATION", help="Predictions whose events are of so long before now: '7d', '12h'.")
    ] = "30d",
) -> None:
    """Play the rules of the file over the predictions that Kafka has. Nothing is written.

    Tells for each rule how many alerts a day it gives, what it holds back, and, by the outcomes that are known, how
    many alerts are right and how much they find.
    """
    with told():
        try:
            span = parse_duration(last)
        except ValueError as error:
            raise ConfigError(f"--last: {last!r} {error}") from error
        loaded = load(pipeline)
        if not loaded.decisions:
            raise ConfigError(f"{pipeline} has no [[decisions]]; declare one (docs/how-to/decisions.md)")
        trial = _trial(loaded, started(loaded, pipeline, loaded.topics.predictions), time.time_ns() // 1_000 - span)
        results = trial.results()
    out.print(f"{trial.events:,} predictions, {trial.scored:,} of them by a model", soft_wrap=True)
    if trial.scored:
        _print(results)


def _trial(pipeline: Pipeline, settings: Settings, since: int) -> Trial:
    from tidemark.deciding.trial import Trial  # half a second, which help need not wait for

    trial = Trial(pipeline, _threshold(pipeline, settings))
    topics = pipeline.topics
    for batch in _batches(settings, topics.outcomes):
        trial.add_outcomes(batch)
    from tidemark.errors import RecordError
    from tidemark.kafka.reading import each_record
    from tidemark.records import Prediction, decode

    for message in each_record(settings, topics.predictions, timeout=_LONGEST):
        try:
            one = decode(Prediction, message.value())
        except RecordError:
            continue  # whoever processes the topic has said so
        if one.time >= since:
            trial.add([one])
    return trial


def _batches(settings: Settings, topic: str) -> Iterator[Batch]:
    """A topic's records, some thousands of a partition together."""
    from tidemark.kafka.batches import batch_of
    from tidemark.kafka.reading import each_record
    from tidemark.runtime.processor import Partition

    held: dict[int, list[Message]] = {}
    for message in each_record(settings, topic, timeout=_LONGEST):
        waiting = held.setdefault(message.partition() or 0, [])
        waiting.append(message)
        if len(waiting) >= _TOGETHER:
            yield batch_of(Partition(topic, message.partition() or 0, ""), waiting)
            held[message.partition() or 0] = []
    for number, waiting in held.items():
        if waiting:
            yield batch_of(Partition(topic, number, ""), waiting)


def _threshold(pipeline: Pipeline, settings: Settings) -> float | None:
    """The newest threshold that is known to find enough, where a rule follows it."""
    if not any(rule.threshold == "recall" for rule in pipeline.decisions):
        return None
    from tidemark.deciding.step import followed
    from tidemark.kafka.reading import each_record

    found = None
    for message in each_record(settings, pipeline.topics.metrics, timeout=_LONGEST):
        found = followed(message.value()) or found
    return found


def _print(results: Sequence[Tried]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("rule", "from", "alerts a day", "suppressed", "over budget", "abstains", "right", "found"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    for each in results:
        table.add_row(*_row(each))
    out.print(table)
    unknown = [safe(each.rule.name) for each in results if each.bounds.alert is None]
    if unknown:
        out.print(
            f"{', '.join(unknown)}: no threshold is known yet to find enough, so it gives no alert", soft_wrap=True
        )
    if any(each.of_class or each.judged for each in results):
        out.print(
            "alerts a day: median, most. right, found: by the outcomes that are known, with 95 % intervals",
            soft_wrap=True,
        )
    else:
        out.print(
            "alerts a day: median, most. No outcome of these events is known, so nothing tells which are right",
            soft_wrap=True,
        )


def _row(tried: Tried) -> list[str]:
    middle, most = tried.alerts_a_day
    sums = {
        name: sum(getattr(day, name) for day in tried.days.values())
        for name in ("suppressed", "over_budget", "abstain")
    }
    return [
        safe(tried.rule.name),
        safe(tried.begins),
        f"{middle:,.0f}, {most:,}",
        *(f"{count:,}" for count in sums.values()),
        _share(tried.right, tried.judged),
        _share(tried.found, tried.of_class),
    ]


def _share(measured: Measured, count: int) -> str:
    if measured.value is None:
        return "unknown"
    return f"{measured.value:.0%} ({measured.low:.0%} to {measured.high:.0%}) of {count:,}"

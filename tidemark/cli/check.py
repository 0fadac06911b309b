"""`tidemark check PIPELINE`: whether a pipeline file is right, and what it says."""

from __future__ import annotations

import os

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import BrokerError, ConfigError
from tidemark.pipeline import Pipeline, format_duration, schema_hash
from tidemark.records.record_formats import FORMATS, ColumnFormat
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.stream.retention import events_retention

app = typer.Typer(add_completion=False)
_ASK = 3.0
_SAMPLED = 500


@app.command()
def check(pipeline: PipelineFile) -> None:
    """Check a pipeline file: a summary and what an edit costs if it is right, all that is wrong if it is not."""
    with told():
        loaded = load(pipeline)
        check_schemas(loaded)
        out.print(summary(loaded))
        for line in compared(loaded):
            out.print(Text(safe(line), style="dim"), soft_wrap=True)
        if any(name.startswith("TIDEMARK_OIDC_") for name in os.environ):
            from tidemark.cli.sign_in_checks import sentences  # asyncio and HTTP, which only few installations need

            for line in sentences():
                out.print(Text(safe(line), style="dim"), soft_wrap=True)


def check_schemas(pipeline: Pipeline) -> None:
    """Whether the raw topics' format finds the schemas and packages that it needs; nothing is asked of a registry.

    Raises:
        ConfigError: it does not.

    """
    if isinstance(FORMATS.get(pipeline.raw[0].format), ColumnFormat):
        from tidemark.formats.decoder import Decoder  # numba

        Decoder(pipeline)


def compared(pipeline: Pipeline) -> list[str]:
    """The file against what its flows ran with last, in sentences; why not, where Kafka can't be asked."""
    try:
        settings = connected()
        from tidemark.cli.costs import costs  # a Kafka client
        from tidemark.kafka import connect

        connect(settings, timeout=_ASK)
        lines = list(costs(pipeline, settings)) or ["its flows have not run yet"]
    except (BrokerError, ConfigError) as error:
        return [f"not compared with what runs, nor with the topics that exist: {error}"]
    lines += topics_of(pipeline, settings)
    return lines + [line for raw in pipeline.raw for line in keys_of(pipeline, settings, raw.topic)]


def topics_of(pipeline: Pipeline, settings: Settings) -> list[str]:
    """What topics that exist lack of what the pipeline needs, in sentences with the command that mends each."""
    from tidemark.cli.raw_topics import empty_topics
    from tidemark.cli.topics_compared import topics_lack

    try:
        lacks = topics_lack(pipeline, settings) or ["its topics that exist are as it needs them"]
        return [*lacks, *empty_topics(pipeline, settings)]
    except BrokerError as error:
        return [f"topics were not compared: {error}"]


def keys_of(pipeline: Pipeline, settings: Settings, topic: str) -> list[str]:
    """Whether a raw topic's records are keyed as the file says, and lie where their keys say, where that matters."""
    if not pipeline.needs_record_keys:
        return []
    from tidemark.cli.sampling import sample
    from tidemark.stream.key_sample import compare_keys, compare_places  # a decoder, and numba

    try:
        samples, partitions = sample(settings, topic, _SAMPLED, timeout=2 * _ASK)
    except BrokerError as error:
        return [f"the keys of records were not compared: {error}"]
    keys = compare_keys(pipeline, topic, [(one.key, one.value) for one in samples])
    places = compare_places(pipeline, topic, [(one.key, one.partition) for one in samples], partitions)
    return [line for line in (keys, places) if line is not None]


def summary(pipeline: Pipeline) -> RenderableType:
    """A pipeline as a person reads it."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    selection, label = pipeline.selection, pipeline.label
    facts.add_row("raw topics", safe(", ".join(pipeline.raw_topics)))
    facts.add_row("keys", safe(" → ".join(pipeline.keys)))
    facts.add_row(
        "event time",
        f"{safe(pipeline.time.column)} ({pipeline.time.format}), late by at most {_d(pipeline.time.lateness)}",
    )
    facts.add_row("columns", safe(", ".join(f"{name}: {column.type}" for name, column in pipeline.columns.items())))
    if label.is_number:
        from tidemark.pipeline.numbers import NumberReader  # numpy, which a class needs not

        facts.add_row("label", safe(f"{NumberReader(label).expected}, known after {_d(label.delay)}"))
    else:
        classes = f"{', '.join(label.classes)} (positive: {label.positive}), known after {_d(label.delay)}"
        facts.add_row("classes", safe(classes))
    facts.add_row(
        "selection",
        f"{selection.policy}: {selection.budget} cases in {_d(selection.tile)}, {selection.explore} of them at random",
    )
    kept, asked = events_retention(pipeline), pipeline.retention.events
    why = "" if kept == asked else f", not retention.events = {_d(asked)}: a restart reads so far back"
    for spec in pipeline.sources:
        facts.add_row("source", f"{spec.name}: {safe(spec.kind)}, into {safe(spec.topic or pipeline.raw_topics[0])}")
    facts.add_row("topics kept", f"{kept / 86_400_000_000:.1f} days{why}")
    facts.add_row("schema hash", schema_hash(pipeline))
    features = Table(title=f"{len(pipeline.feature_names)} features", title_justify="left", box=None, pad_edge=False)
    for heading in ("name", "from", "over"):
        features.add_column(heading, overflow="fold")
    for feature in pipeline.features:
        source = feature.function or feature.sql or feature.name
        features.add_row(
            feature.name, safe(source), f"{len(feature.categories)} categories" if feature.categories else ""
        )
    for window in pipeline.windows:
        source = window.aggregate if window.probability is None else f"{window.aggregate} {window.probability:g}"
        source += "" if window.column is None else f" of {window.column}"
        source += "" if window.half_life is None else f", half-life {_d(window.half_life)}"
        current = ", itself included" if window.include_current else ""
        features.add_row(window.name, safe(source), f"{window.span} by {safe(window.key)}{current}")
    for derived in pipeline.derived:
        features.add_row(derived.name, safe(derived.sql or derived.function or ""), "the other features")
    title = Text.assemble(("ok ", "green"), pipeline.name, f" · {safe(pipeline.title)}" if pipeline.title else "")
    return Group(title, facts, Text(), features)


def _d(duration: int) -> str:
    return format_duration(duration)

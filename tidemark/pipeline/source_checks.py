"""What `[[sources]]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from tidemark.pipeline.lines import key_of
from tidemark.pipeline.model import Pipeline, SourceSpec
from tidemark.pipeline.problem import Problem, unknown_column
from tidemark.records.record_formats import FORMATS, ColumnFormat
from tidemark.records.source_kinds import SOURCE_KINDS, SourceKind
from tidemark.runtime.suggestions import did_you_mean

_SHOWN: Final = 60


def source_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the sources of a pipeline.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    names = [source.name for source in pipeline.sources]
    for i, source in enumerate(pipeline.sources):
        key = f"sources[{i}]"
        if source.name in names[:i]:
            yield Problem(f"{key}.name", f"'{source.name}' is named twice; rename one")
        if source.topic is not None and source.topic not in pipeline.raw_topics:
            remedy = did_you_mean(source.topic, pipeline.raw_topics)
            yield Problem(f"{key}.topic", f"'{source.topic}' is no raw topic; {remedy}")
        kind = SOURCE_KINDS.get(source.kind)
        yield from _events(key, source, pipeline)
        yield from _batches(key, source, kind)
        yield from _columns(key, source, kind, pipeline)
        yield from _options(key, source, kind)


def _events(key: str, source: SourceSpec, pipeline: Pipeline) -> Iterator[Problem]:
    topic = source.topic or pipeline.raw_topics[0]
    if source.kind == "http" and any(raw.topic == topic and raw.format == "cloudevents" for raw in pipeline.raw):
        yield Problem(
            f"{key}.kind",
            f'http unwraps CloudEvents, so that the records of {topic} are their data; write format = "json" for it, '
            "and take what the events tell by columns",
        )


def _batches(key: str, source: SourceSpec, kind: SourceKind) -> Iterator[Problem]:
    if source.body == "arrow" and not kind.binary:
        instead = {
            "http": "leave it out: a request says by its Content-Type that it is Arrow",
            "folder": "leave it out: a file says by its ending that it is Arrow",
        }.get(source.kind, f"the bodies of {source.kind} are no messages of their own; use kafka, mqtt, http or folder")
        yield Problem(f"{key}.body", f'can\'t be "arrow" here; {instead}')


def _columns(key: str, source: SourceSpec, kind: SourceKind, pipeline: Pipeline) -> Iterator[Problem]:
    if source.is_text and not source.columns:
        yield Problem(f"{key}.columns", 'is missing: bodies are texts; say which column is what, as { note = "body" }')
    as_records = source.columns and not source.is_text and source.body != "arrow"
    if as_records and isinstance(FORMATS.get(pipeline.raw[0].format), ColumnFormat):
        yield Problem(
            f"{key}.columns",
            f"columns can't be written into records of format {pipeline.raw[0].format}; have their senders tell them",
        )
    known = [*kind.attributes, "body"]
    for column, attribute in source.columns.items():
        if column not in pipeline.columns:
            yield unknown_column(f"{key}.columns.{column}", column, pipeline.columns)
        elif as_records and any("." in name for name in (column, *(pipeline.columns[column].names or ()))):
            yield Problem(
                f"{key}.columns.{column}",
                "a column with a dot in its name can't be told by a source: a sender could tell another value of it in "
                "an object within the record; give it a name without",
            )
        if not any(_names(name, attribute) for name in known):
            yield Problem(
                f"{key}.columns.{column}",
                f"a source of kind {source.kind} tells no '{attribute[:_SHOWN]}'; {did_you_mean(attribute, known)}",
            )
        elif attribute == "body" and not source.is_text:
            yield Problem(f"{key}.columns.{column}", 'a body is a record here, no text; write body = "text" as well')


def _names(known: str, attribute: str) -> bool:
    return attribute.startswith(known) and attribute != known if known.endswith(".") else attribute == known


def _options(key: str, source: SourceSpec, kind: SourceKind) -> Iterator[Problem]:
    try:
        kind.options.model_validate(source.options)
    except ValidationError as error:
        known = list(kind.options.model_fields)
        for details in error.errors(include_url=False):
            location = details["loc"]
            where = f"{key}.options" + (f".{key_of(location)}" if location else "")
            if details["type"] == "extra_forbidden":
                text = f"is no option of kind {source.kind}; {did_you_mean(str(location[-1]), known)}"
            elif details["type"] == "missing":
                text = f"is missing; a source of kind {source.kind} needs it"
            else:
                text = details["msg"].removeprefix("Value error, ")
                text = f"{text[:1].lower()}{text[1:]}"
            yield Problem(where, text)

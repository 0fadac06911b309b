"""What a pipeline file must be beyond its shape: names that exist, budgets that add up, expressions that run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tidemark.pipeline.ask_checks import ask_problems
from tidemark.pipeline.budget_checks import budget_problems
from tidemark.pipeline.checked import CheckedTexts
from tidemark.pipeline.column_checks import column_problems, duplicate_problems, scale_problems
from tidemark.pipeline.decision_checks import decision_problems
from tidemark.pipeline.durations import format_duration
from tidemark.pipeline.label_checks import label_problems
from tidemark.pipeline.label_studio_checks import label_studio_problems
from tidemark.pipeline.model import Due, Pipeline
from tidemark.pipeline.problem import Expressed, Problem, unknown_column
from tidemark.pipeline.source_checks import source_problems
from tidemark.pipeline.training_params import problems as problems_of
from tidemark.pipeline.webhook_checks import webhook_problems
from tidemark.records.record_formats import FORMATS, ColumnFormat
from tidemark.runtime.suggestions import did_you_mean
from tidemark.strategies import STRATEGIES
from tidemark.times.time_formats import TIME_FORMATS
from tidemark.times.time_patterns import time_pattern

MOST_LAST_PARTITIONS: Final = 387
"""Partitions of the last stage whose watermarks `select` can keep with its offset: Kafka takes 4,000 bytes there."""
_EXPRESSED: Final = {"keys", "time", "columns", "clean", "features", "windows", "derived", "label", "start"}
"""Parts of the file by which expressions, and what reads their columns, are right or wrong."""
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LONGEST_TOPIC: Final = 249


RAW_SETTINGS: Final = ("schema_file", "registry", "message", "header", "separator")
"""Keys of `[[raw]]` that some formats take."""


def find_problems(pipeline: Pipeline, checked: CheckedTexts | None = None) -> list[Problem]:
    """Everything that is wrong with a pipeline whose shape is right.

    What follows from another mistake is no problem of its own: windows over a key whose entry in `keys` is wrong, and
    expressions of a time where it is unknown which column holds it.

    Args:
        pipeline: the pipeline.
        checked: expressions that were found right before are not tried again.

    Returns:
        The problems in the order of the file's parts, none if nothing is wrong.

    """
    keys = list(_keys(pipeline))
    tried = _expressed(pipeline, checked)
    return [
        *_topics(pipeline),
        *_outputs(pipeline),
        *decision_problems(pipeline),
        *_partitions(pipeline),
        *column_problems(pipeline),
        *duplicate_problems(pipeline),
        *keys,
        *_time(pipeline),
        *tried.expressions,
        *tried.names,
        *(problem for problem in tried.windows if not (keys and problem.key.endswith(".key"))),
        *label_problems(pipeline),
        *tried.context,
        *_labeling(pipeline),
        *scale_problems(pipeline),
        *_strategy(pipeline),
        *_selection(pipeline),
        *source_problems(pipeline),
        *webhook_problems(pipeline),
        *label_studio_problems(pipeline),
        *ask_problems(pipeline),
        *(
            Problem(f"training.params.{name}", wrong)
            for name, wrong in problems_of(pipeline.training.params, pipeline.learner)
        ),
    ]


def _expressed(pipeline: Pipeline, checked: CheckedTexts | None) -> Expressed:
    text = pipeline.model_dump_json(include=_EXPRESSED)
    if checked is not None and checked.has(text):
        return Expressed()
    from tidemark.pipeline.expression_checks import expressed  # noqa: PLC0415 - half a second for SQLGlot and Polars

    found = expressed(pipeline)
    if checked is not None and found.right:
        checked.add(text, pipeline)
    return found


def _own_topics(pipeline: Pipeline, raw: list[str]) -> set[str]:
    specs = pipeline.topics.specs(raw=raw, hops=pipeline.keys, partitions=1, retention_ms=1, decisions=True, asked=True)
    return {spec.name for spec in specs} | {pipeline.topics.webhooks}


def _topics(pipeline: Pipeline) -> Iterator[Problem]:
    raw = pipeline.raw_topics
    own = _own_topics(pipeline, [])
    for i, topic in enumerate(raw):
        if pipeline.raw[i].format != pipeline.raw[0].format:
            yield Problem(f"raw[{i}].format", "raw topics of one pipeline have one format; write the same in each")
        else:
            yield from _format_settings(pipeline, i)
        if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
            yield Problem(
                f"raw[{i}].topic", f"'{topic}' is no topic name; use letters, digits, '.', '_' and '-', at most 249"
            )
        if topic in own:
            yield Problem(f"raw[{i}].topic", f"'{topic}' is a topic that the pipeline writes itself; name another")
        if topic in raw[:i]:
            yield Problem(f"raw[{i}].topic", f"'{topic}' is named twice; remove one")
        else:
            alike = [name for name in [*raw[:i], *sorted(own)] if name.replace(".", "_") == topic.replace(".", "_")]
            if alike and alike[0] != topic:
                yield Problem(
                    f"raw[{i}].topic",
                    f"'{topic}' and '{alike[0]}' are one name to Kafka's metrics, which take '.' for '_'; rename one",
                )
    for name in sorted(own):
        if len(name) > _LONGEST_TOPIC:
            yield Problem(
                "name", f"the topic '{name[:60]}…' is no name for Kafka, which takes 249 characters; shorten it"
            )


def _outputs(pipeline: Pipeline) -> Iterator[Problem]:
    taken = _own_topics(pipeline, pipeline.raw_topics)
    for i, output in enumerate(pipeline.outputs):
        if not _TOPIC.fullmatch(output.topic) or output.topic in {".", ".."}:
            yield Problem(
                f"outputs[{i}].topic",
                f"'{output.topic}' is no topic name; use letters, digits, '.', '_' and '-', at most 249",
            )
        elif output.topic in taken:
            yield Problem(
                f"outputs[{i}].topic", f"'{output.topic}' has another use in this pipeline already; rename it"
            )
        taken.add(output.topic)
        if output.registry is not None and output.format != "avro":
            yield Problem(f"outputs[{i}].registry", f"is no setting of the format '{output.format}'; remove it")


def _format_settings(pipeline: Pipeline, number: int) -> Iterator[Problem]:
    raw, first = pipeline.raw[number], pipeline.raw[0]
    form = FORMATS.get(raw.format)
    taken = form.settings if isinstance(form, ColumnFormat) else ()
    for name in RAW_SETTINGS:
        value = getattr(raw, name)
        if value is not None and name not in taken:
            yield Problem(f"raw[{number}].{name}", f"is no setting of the format '{raw.format}'; remove it")
        elif value != getattr(first, name):
            yield Problem(f"raw[{number}].{name}", "raw topics of one pipeline have one format; write the same in each")
    for names in form.needs if isinstance(form, ColumnFormat) else ():
        given = [name for name in names if getattr(raw, name) is not None]
        if len(given) != 1:
            told = " or ".join(f"'{name}'" for name in names)
            which = "both are given; remove one" if given else f"the format '{raw.format}' needs it; add it"
            yield Problem(f"raw[{number}].{(given or names)[-1]}", f"{told}: {which}")


def _partitions(pipeline: Pipeline) -> Iterator[Problem]:
    topics = 1 if pipeline.hops else len(pipeline.raw)
    last = pipeline.partitions * topics
    if last > MOST_LAST_PARTITIONS:
        each = f" in each of {topics} raw topics" if topics > 1 else ""
        yield Problem(
            "partitions",
            f"{last} partitions' watermarks don't fit the 4,000 bytes that Kafka keeps with an offset; write at most "
            f"{MOST_LAST_PARTITIONS // topics}{each}",
        )


def _keys(pipeline: Pipeline) -> Iterator[Problem]:
    for i, key in enumerate(pipeline.keys):
        column = pipeline.columns.get(key)
        if column is None:
            yield unknown_column(f"keys[{i}]", key, pipeline.columns)
            continue
        bare = pipeline.keys == [pipeline.time.column] and not pipeline.windows  # it only names events' records
        if column.type not in ("string", "int") and not bare:
            yield Problem(f"keys[{i}]", f"column '{key}' is a {column.type}; a key is a string or an int")
        if not column.required:
            yield Problem(f"keys[{i}]", f"column '{key}' may be missing; remove 'required = false' from columns.{key}")
        if key in pipeline.keys[:i]:
            yield Problem(f"keys[{i}]", f"'{key}' is named twice; remove one")
        if key == pipeline.time.column and not bare:
            yield Problem(f"keys[{i}]", f"'{key}' is the time column; a key is an entity, such as a customer")


def _time(pipeline: Pipeline) -> Iterator[Problem]:
    time = pipeline.time
    column = pipeline.columns.get(time.column)
    if column is None:
        yield unknown_column("time.column", time.column, pipeline.columns)
        return
    written = TIME_FORMATS.get(time.format)
    if column.type not in written.types:
        wanted = " or ".join(f"'{name}'" for name in written.types)
        yield Problem(
            "time.format", f"'{time.format}' needs a column of type {wanted}, and '{time.column}' is a {column.type}"
        )
    for i, pattern in enumerate(time.patterns or []):
        try:
            time_pattern(pattern)
        except ValueError as error:
            yield Problem(f"time.patterns[{i}]", f"{pattern!r}: {error}")
    if time.patterns and not written.patterned:
        what = "has none" if "string" in written.types else "is a number, and patterns are of texts"
        yield Problem("time.patterns", f"'{time.format}' {what}; remove them")
    if not column.required:
        yield Problem(
            "time.column",
            f"column '{time.column}' may be missing; remove 'required = false' from columns.{time.column}",
        )
    if column.missing:
        yield Problem(f"columns.{time.column}.missing", "the time column can't have values for 'missing'; remove them")
    if time.skew is not None and time.skew > time.lateness:
        yield Problem(
            "time.skew",
            f"'{format_duration(time.skew)}' is more than time.lateness, so one clock that runs ahead would make other "
            f"rows late; write at most '{format_duration(time.lateness)}', or leave it out",
        )


def _labeling(pipeline: Pipeline) -> Iterator[Problem]:
    labeling, context = pipeline.labeling, pipeline.label.context
    named = [("segment", labeling.segment), ("skill", labeling.skill)]
    for key, column in [*named, *((f"hidden.{column}", column) for column in labeling.hidden)]:
        if column is not None and column not in context:
            remedy = did_you_mean(column, context) if context else "add it there"
            yield Problem(f"labeling.{key}", f"'{column}' is no column of label.context; {remedy}")
    for column, roles in labeling.hidden.items():
        if len(set(roles)) != len(roles) or not roles:
            yield Problem(f"labeling.hidden.{column}", "roles are missing or repeat; write each once")
    if labeling.max_answers is not None and labeling.max_answers < labeling.answers:
        yield Problem(
            "labeling.max_answers",
            f"{labeling.max_answers} is less than labeling.answers = {labeling.answers}; raise it, or leave it out",
        )
    if labeling.due is not None:
        yield from _due(labeling.due, labeling.segment)
        if labeling.due.error_cost is not None:
            yield from _error_cost(pipeline, labeling.due.error_cost)


def _due(due: Due, segment: str | None) -> Iterator[Problem]:
    if due.default is None and not due.segments:
        yield Problem("labeling.due", "no case gets a due time; write default = '4h', or times of segments")
    if due.segments and segment is None:
        yield Problem("labeling.due.segments", "there are no segments; name their column by labeling.segment")
    if due.together is not None and due.error_cost is None:
        yield Problem("labeling.due.together", "nothing goes by it; name a column by labeling.due.error_cost")


def _error_cost(pipeline: Pipeline, column: str) -> Iterator[Problem]:
    where, labeling = "labeling.due.error_cost", pipeline.labeling
    if column not in pipeline.label.context:
        remedy = did_you_mean(column, pipeline.label.context) if pipeline.label.context else "add it there"
        yield Problem(where, f"'{column}' is no column of label.context; {remedy}")
    elif pipeline.columns[column].type not in {"float", "int"}:
        yield Problem(where, f"column '{column}' is no number; name one of type float or int")
    if pipeline.label.is_number:
        yield Problem(where, "answers that are numbers are not right or wrong, so nobody's share of errors is known")
    elif labeling.gold_every == 0 and max(labeling.answers, labeling.max_answers or 1) == 1:
        yield Problem(
            where,
            "nobody's errors are ever known: every case has one answer and none a known one; set labeling.gold_every, "
            "or labeling.answers above 1",
        )


def _reaction(pipeline: Pipeline) -> Iterator[Problem]:
    reaction = pipeline.drift.reaction
    if reaction is None:
        return
    if len(set(reaction.alarms)) != len(reaction.alarms):
        yield Problem("drift.reaction.alarms", "an alarm is named twice; write each once")
    if not pipeline.drift.alarms_per_year:
        yield Problem("drift.reaction", "no alarm is looked for while drift.alarms_per_year is 0; raise it")
    unseen = [name for name in reaction.alarms if name in ("inputs_changed", "predictions_changed")]
    if unseen and not pipeline.sample.size:
        yield Problem(
            "drift.reaction.alarms", f"{unseen[0]} is looked for in the sample, and sample.size is 0; raise it"
        )


def _strategy(pipeline: Pipeline) -> Iterator[Problem]:
    selection = pipeline.selection
    if selection.options:  # else nothing of a strategy is looked at, which brings numpy
        for problem in STRATEGIES.get(selection.policy).problems(selection, pipeline.label.classes):
            yield Problem("selection.options", problem)
    segments = selection.segments
    if segments is not None and segments.column not in pipeline.label.context:
        remedy = did_you_mean(segments.column, pipeline.label.context) if pipeline.label.context else "add it there"
        yield Problem("selection.segments.column", f"'{segments.column}' is no column of label.context; {remedy}")
    if segments is not None and segments.least > segments.most:
        yield Problem("selection.segments.least", f"{segments.least} is more than segments.most = {segments.most}")


def _selection(pipeline: Pipeline) -> Iterator[Problem]:
    selection = pipeline.selection
    if selection.explore > selection.budget:
        yield Problem(
            "selection.explore",
            f"{selection.explore} is more than the budget of {selection.budget}; write at most {selection.budget}",
        )
    yield from budget_problems(pipeline)
    if selection.focused and (selection.policy == "random" or not selection.explore):
        yield Problem("selection.draw", "'focused' needs random cases beside active ones; set explore, or leave it out")
    yield from _reaction(pipeline)
    if selection.saved is not None and selection.total is None:
        yield Problem("selection.saved", "it is a share of selection.total, which is not given; add it")
    if pipeline.training.min_positive > pipeline.training.min_labels:
        yield Problem(
            "training.min_positive",
            f"{pipeline.training.min_positive} is more than training.min_labels = {pipeline.training.min_labels}",
        )

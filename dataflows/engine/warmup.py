"""Warms a stream flow before its process joins the group.

A process that has joined and then compiles its kernels for seconds holds its partitions meanwhile, and whoever waits
for their predictions. So a processor that is thrown away afterwards is given a few made-up records, and what it hands
on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime

import msgspec
import numpy as np

from tidemark.features.raw_records import Records
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Column
from tidemark.pipeline.units import conversion
from tidemark.records.record_formats import FORMATS, ColumnFormat
from tidemark.runtime.processor import Batch, Output, Partition, Processor
from tidemark.times.time_formats import TIME_FORMATS
from tidemark.warmup import EXAMPLES

_ROWS = 300
_START = datetime(2025, 1, 1, tzinfo=UTC)
_START_US = int(_START.timestamp()) * 1_000_000
_EXAMPLES: dict[str, object] = {"string": "1", "int": 1, "float": 1.5, "bool": True}


def rehearse(processor: Processor, pipeline: Pipeline) -> Counter[str]:
    """Run made-up records through all stages of `processor`, outside Kafka; how many outputs it gave to each topic."""
    raw = pipeline.raw_topics[0]
    records = Records(pipeline).records(made_up(pipeline))
    ready = {raw: [Output(raw, record.value, record.key) for record in records]}
    given: Counter[str] = Counter()
    for topic in (raw, *pipeline.hop_topics):
        partition = Partition(topic, 0, "00000000")
        processor.open(partition, "")
        for rows in (ready.get(topic, [])[:1], ready.get(topic, [])[1:]):  # few rows and many take different ways
            if rows:
                outputs = processor.process(_batch(partition, rows))
                given.update(output.topic for output in outputs)
                for name, group in _by_topic(outputs).items():
                    ready.setdefault(name, []).extend(group)
    return given


def load_reader(pipeline: Pipeline) -> None:
    """Load, or compile, the pass that reads large rounds of a pipeline's records: a rehearsal is of few rows."""
    own = f"scan_{pipeline.raw[0].format}"
    EXAMPLES[own if own in EXAMPLES else "scan_json"]()  # formats without a pass of their own hold JSON


def made_up(pipeline: Pipeline) -> list[bytes]:
    """JSON of rows a minute apart that fit the pipeline's columns."""
    records = []
    tell = TIME_FORMATS.get(pipeline.time.format).write
    for i in range(_ROWS):
        row = {name: _example(column) for name, column in pipeline.columns.items()}
        row[pipeline.time.column] = tell(_START_US + 60_000_000 * i)
        records.append(msgspec.json.encode(row))
    return records


def _example(column: Column) -> object:
    """A value of a column that its rules let through as it is."""
    if column.vocabulary:
        return column.vocabulary[0]
    if column.range is None:
        return _EXAMPLES[column.type]
    middle = sum(column.range) / 2
    if column.type == "int":
        return int(middle)
    if column.convert is None:
        return middle
    by = conversion(column.convert)
    return (middle * by.divisor - by.summand) / by.factor


def as_json(pipeline: Pipeline) -> Pipeline:
    """The pipeline with records in JSON where they are of a format that needs schemas, which nothing is made up for."""
    if not isinstance(FORMATS.get(pipeline.raw[0].format), ColumnFormat):
        return pipeline
    plain = dict.fromkeys(("schema_file", "registry", "message", "header", "separator")) | {"format": "json"}
    return pipeline.model_copy(update={"raw": [raw.model_copy(update=plain) for raw in pipeline.raw]})


def _batch(partition: Partition, rows: list[Output]) -> Batch:
    n = len(rows)
    return Batch(
        partition=partition,
        offsets=np.arange(n, dtype=np.int64),
        timestamps=np.full(n, int(_START.timestamp() * 1_000), np.int64),
        keys=[row.key for row in rows],
        values=[row.value for row in rows],
        headers=[list(row.headers) or None for row in rows],
    )


def _by_topic(outputs: list[Output]) -> dict[str, list[Output]]:
    groups: dict[str, list[Output]] = defaultdict(list)
    for output in outputs:
        groups[output.topic].append(output)
    return groups

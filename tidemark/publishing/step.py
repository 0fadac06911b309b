"""Reads predictions and candidates, and writes them in the forms that the pipeline file asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import polars as pl

from tidemark.errors import RecordError
from tidemark.pipeline import Pipeline
from tidemark.publishing import WRITTEN_BY
from tidemark.publishing.avro_schema import KINDS
from tidemark.publishing.forms import LARGEST, Arrow, Avro, Form, Json, Source, Written
from tidemark.records import decode
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.stream.outputs import shown_type
from tidemark.stream.stages import cleaned_schema

_STEP: Final = "publish"
_FAILURES: Final = (TypeError, ValueError, OverflowError, msgspec.ValidationError, pl.exceptions.PolarsError)
"""What the libraries raise of a record that has no place in a form."""


class PublishStep:
    """Writes records in other forms. numbers: of the schemas in a registry, by output."""

    def __init__(self, pipeline: Pipeline, numbers: Callable[[], Mapping[int, int]] = dict) -> None:
        self._header = ((WRITTEN_BY, pipeline.name.encode()),)
        of = {"predictions": pipeline.topics.predictions, "candidates": pipeline.topics.candidates}
        self._kinds = {of[name]: kind for name, kind in KINDS.items()}
        known = numbers()
        self._forms: dict[str, list[tuple[str, Form]]] = {}
        for number, output in enumerate(pipeline.outputs):
            kind = KINDS[output.of]
            form: Form
            if output.format == "avro":
                form = Avro(kind, known.get(number))
            elif output.format == "arrow":
                cleaned = cleaned_schema(pipeline)
                context = {name: shown_type(cleaned[name]) for name in pipeline.label.context}
                form = Arrow(kind, pipeline.feature_names, context)
            else:
                form = Json()
            self._forms.setdefault(of[output.of], []).append((output.topic, form))

    def process(self, received: Received, context: RoundContext) -> Outcome[list[Output]]:  # noqa: ARG002
        """The records in their forms, and those that are no records of ours or have no place in a form."""
        outputs: list[Output] = []
        refused: list[Refused] = []
        for batch in received.batches:
            found = self._read(batch, refused)
            for topic, form in self._forms.get(batch.partition.topic, ()):
                written = _written(form, batch, found, refused)
                outputs += [Output(topic, each.value, each.key, headers=self._header) for each in written]
        return Outcome(outputs, refused)

    def _read(self, batch: Batch, refused: list[Refused]) -> dict[int, Source]:
        found: dict[int, Source] = {}
        for row, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            try:
                record = decode(self._kinds[batch.partition.topic], value)
            except RecordError as error:
                refused.append(Refused(batch, row, _STEP, error.reason))
            else:
                found[row] = Source(key, value or b"", record)
        return found


def _written(form: Form, batch: Batch, found: Mapping[int, Source], refused: list[Refused]) -> Sequence[Written]:
    """All at once, and one by one where one has no place in the form."""
    try:
        written = form.write(list(found.values()), batch.partition.index)
    except _FAILURES:
        written = []
        for row, source in found.items():
            try:
                written += form.write([source], batch.partition.index)
            except _FAILURES as error:
                refused.append(Refused(batch, row, _STEP, f"has no place in the output's form: {error}"[:500]))
    kept = [each for each in written if len(each.value) <= LARGEST]
    if len(kept) == len(written):
        return written
    if len(found) == 1:
        (row,) = found
        refused.append(Refused(batch, row, _STEP, f"takes more than {LARGEST:,} bytes in the output's form"))
        return []
    return [each for row, source in found.items() for each in _written(form, batch, {row: source}, refused)]

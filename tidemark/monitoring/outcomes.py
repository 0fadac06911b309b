"""Outcomes in bulk: from the JSON of people's systems to columns of a `joined` table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.monitoring.decoding import Bad, hashes, time_problem
from tidemark.monitoring.joined import BY_BUSINESS, BY_EVENT, OUTCOME
from tidemark.pipeline.classes import ClassReader, Value
from tidemark.pipeline.model import ColumnType, LabelSpec, Pipeline
from tidemark.pipeline.numbers import NumberReader
from tidemark.records import Outcome, decode
from tidemark.runtime.broker_time import broker_times, wall_clock
from tidemark.runtime.json_names import given_again
from tidemark.runtime.processor import Batch

FIELDS: Final = (
    "an outcome is a JSON object with label (a class, or the number), known_at (µs since 1970 UTC, a whole number) and "
    "event_id (a text) or business_id"
)
"""What an outcome must hold, for people. `docs/how-to/labels.md` has the table."""
_STEP: Final = "monitor"
_WHOLE: Final = re.compile(r"-?[0-9]{1,19}")
_SHOWN: Final = 60
_WRITTEN: Final = tuple(f'"{name}"'.encode() for name in Outcome.__struct_fields__)
_EXACT: Final = 2**53
"""From here on a float may stand for a whole number beside it."""


Says = tuple[int, float]
"""The class's index and 0, or 0 and the number."""


class OutcomeReader:
    """Reads outcomes of a pipeline, whose labels and business ids they name as the pipeline types them."""

    def __init__(self, pipeline: Pipeline, clock: Callable[[], int] = wall_clock) -> None:
        self._clock = clock
        self._says = _numbers(pipeline.label) if pipeline.label.is_number else _classes(pipeline.label)
        self._max_ahead = pipeline.time.max_ahead
        self._column = pipeline.label.business_id
        column = pipeline.columns.get(self._column or "")
        self._type: ColumnType = "string" if column is None else column.type

    def read(self, batch: Batch) -> tuple[NDArray[Any], NDArray[np.int64], Bad]:
        """Rows of a batch of `P.outcomes`, the batch's rows they come from, and what is wrong with the others."""
        bad: Bad = []
        found: list[tuple[int, str, Says, int]] = []
        at: list[int] = []
        came = broker_times(batch.timestamps, self._clock()).tolist()
        for row, value in enumerate(batch.values):
            try:
                found.append(self._read(value, came[row]))
            except RecordError as error:
                bad.append((row, error))
                continue
            at.append(row)
        rows = np.zeros(len(found), OUTCOME)
        rows["partition"] = batch.partition.index
        rows["offset"] = batch.offsets[at]
        rows["by"] = [by for by, _, _, _ in found]
        rows["id"] = hashes([name for _, name, _, _ in found])
        rows["label"] = [label for _, _, (label, _), _ in found]
        rows["number"] = [number for _, _, (_, number), _ in found]
        rows["known_at"] = [known_at for _, _, _, known_at in found]
        rows["came"] = [came[row] for row in at]
        return rows, np.array(at, np.int64), bad

    def _read(self, value: bytes | None, came: int) -> tuple[int, str, Says, int]:
        """What an outcome names its event by, the name, what it says and the time. came: when the record did, µs.

        Raises:
            RecordError: it is no outcome of this pipeline; says what was expected.

        """
        try:
            outcome = decode(Outcome, value)
        except RecordError as error:
            raise RecordError(error.step, f"{error.reason}; {FIELDS}") from error
        if (twice := _given_again(value or b"")) is not None:
            raise RecordError(_STEP, f"{twice}: given more than once; write it once")
        try:
            label = self._says(outcome.label)
        except ValueError as error:
            raise RecordError(_STEP, str(error)) from error
        problem = time_problem(outcome.known_at) or self._ahead(outcome.known_at, came)
        if problem is not None:
            raise RecordError(_STEP, problem)
        if outcome.event_id is not None:
            return BY_EVENT, outcome.event_id, label, outcome.known_at
        if outcome.business_id == "":
            raise RecordError(_STEP, "business_id is an empty text, which is of every event without one; leave it out")
        if outcome.business_id is not None:
            return BY_BUSINESS, self._business_id(outcome.business_id), label, outcome.known_at
        raise RecordError(_STEP, f"an outcome that names neither event_id nor business_id; {FIELDS}")

    def _ahead(self, known_at: int, came: int) -> str | None:
        """What is wrong with a truth from the future: it would be waited for, and hold back all that come after it."""
        if known_at <= came + self._max_ahead:
            return None
        return (
            f"known_at {known_at} is more than time.max_ahead after the record's own time, {came}; "
            "both are µs since 1970"
        )

    def _business_id(self, value: str | float) -> str:
        """The text that predictions carry for an id.

        Raises:
            RecordError: the column can't hold it.

        """
        if self._type != "int":
            if isinstance(value, str):
                return value
            what = "the pipeline has no label.business_id" if self._column is None else f"{self._column!r} is a text"
            raise RecordError(_STEP, f"business_id is the number {value}, and {what}: write it in quotes as events do")
        if isinstance(value, float) and abs(value) >= _EXACT:
            raise RecordError(
                _STEP,
                f"business_id is {value!r}, by which several whole numbers may be meant; write it without a point",
            )
        whole = int(value) if not isinstance(value, str) and value == value // 1 else None
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            whole = int(value)
        if whole is None or not -(2**63) <= whole < 2**63:
            shown = repr(value)[:_SHOWN]
            raise RecordError(_STEP, f"business_id is {shown}, and {self._column!r} is an int of 64 bits")
        return str(whole)


def _classes(label: LabelSpec) -> Callable[[Value], Says]:
    reader = ClassReader(label.classes, label.positive)
    return lambda value: (reader.index(value), 0.0)


def _numbers(label: LabelSpec) -> Callable[[Value], Says]:
    reader = NumberReader(label)
    return lambda value: (0, reader.number(value))


def _given_again(value: bytes) -> str | None:
    """The first of an outcome's fields that it gives more than once: parsers differ in which of them they take."""
    if b"\\" not in value and all(value.count(name) < 2 for name in _WRITTEN):
        return None
    try:
        return next(iter(given_again(value, Outcome.__struct_fields__)), None)
    except RecursionError as error:
        raise RecordError(_STEP, f"it is nested too deeply; {FIELDS}") from error

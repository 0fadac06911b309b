"""Predictions in bulk: from JSON records to columns of a `joined` table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernels import hash_strings
from tidemark.errors import RecordError
from tidemark.monitoring.event_names import EventNames
from tidemark.monitoring.joined import NEVER, UNKNOWN, prediction_dtype
from tidemark.pipeline.model import LabelSpec
from tidemark.records import Prediction, decode
from tidemark.runtime.processor import Batch

_STEP: Final = "monitor"
_FARTHEST: Final = 2**62
_TOLERANCE: Final = 1e-3
_LONGEST_NAME: Final = 100
_FEWEST_CLASSES: Final = 2
_predictions: Final = msgspec.json.Decoder(list[Prediction])
Bad = list[tuple[int, RecordError]]


class Models:
    """Model versions by number, in order of appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Number of a version, a new one for a new version."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


def predictions(
    batch: Batch, spec: LabelSpec, models: Models, latest: NDArray[np.int64], names: EventNames | None = None
) -> tuple[NDArray[Any], NDArray[np.int64], Bad]:
    """Rows of a batch of `P.predictions`, the batch's rows they come from, and what is wrong with the others.

    latest: (n,) event time, µs, beyond which each record's can't be: an earlier version let such events through.
    names: where events' names are kept; None: they are not.
    """
    found, at, bad = sound_predictions(batch, spec, latest)
    classes = len(spec.classes)
    rows = np.zeros(len(found), prediction_dtype(classes, named=names is not None))
    rows["partition"] = batch.partition.index
    rows["event"] = hashes([one.event_id for one in found])
    rows["business"] = hashes([one.business_id or "" for one in found])
    rows["has_business"] = [one.business_id is not None for one in found]
    rows["time"] = [one.time for one in found]
    rows["model"] = [models.number(one.model) for one in found]
    rows["truth"], rows["truth_at"] = UNKNOWN, NEVER
    if spec.is_number:
        rows["number"] = np.nan
        said = [(one.value, one.low, one.high) for one in found]
        rows["said"] = np.array(said, np.float64).reshape(len(found), 3)  # None becomes NaN
    else:
        unscored = [np.nan] * classes
        scored = [of_these_classes(one.probabilities, classes) or unscored for one in found]
        rows["p"] = np.array(scored, np.float32).reshape(len(found), classes)
    if names is not None:
        names.number(rows, found, batch.offsets[at])
    return rows, np.array(at, np.int64), bad


def sound_predictions(
    batch: Batch, spec: LabelSpec, latest: NDArray[np.int64]
) -> tuple[list[Prediction], list[int], Bad]:
    """Predictions of a batch of `P.predictions`, the batch's rows they come from, and what is wrong with the others.

    Args:
        batch: of records.
        spec: what they are of.
        latest: (n,) event time, µs, beyond which each record's can't be: an earlier version let such events through.

    Returns:
        As many predictions as rows, and the rows that are none.

    """
    bad: Bad = []
    found, at = _decode(batch, bad)
    problems = [
        time_problem(one.time)
        or _ahead_problem(one.time, limit)
        or said_problem(one, spec)
        or _model_problem(one.model)
        for one, limit in zip(found, latest[at].tolist(), strict=True)
    ]
    if any(problems):
        bad += [(row, RecordError(_STEP, problem)) for row, problem in zip(at, problems, strict=True) if problem]
        kept = [i for i, problem in enumerate(problems) if not problem]
        found, at = [found[i] for i in kept], [at[i] for i in kept]
    return found, at, bad


def hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit hash of each text: two of 5 million events share one with a chance below 1 in a million."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
    return hash_strings(np.concatenate([np.zeros(1, np.int64), ends]), np.frombuffer(b"".join(encoded), np.uint8))


def said_problem(one: Prediction, spec: LabelSpec) -> str | None:
    """What is wrong with what a record says of its event, if anything is."""
    return _number_problem(one) if spec.is_number else probabilities_problem(one.probabilities, len(spec.classes))


def probabilities_problem(probabilities: Sequence[float] | None, classes: int) -> str | None:
    """What is wrong with a record's probabilities, if anything is. None stands for a record without a model.

    Those of another number of classes, two or more, are of an earlier pipeline file: see `of_these_classes`.
    """
    if probabilities is None:
        return None
    if len(probabilities) < min(classes, _FEWEST_CLASSES):
        return f"{len(probabilities)} probabilities for {classes} classes"
    if not all(0 <= p <= 1 for p in probabilities) or abs(sum(probabilities) - 1) > _TOLERANCE:
        return f"{list(probabilities)} are no probabilities that sum to 1"
    return None


def _number_problem(one: Prediction) -> str | None:
    """What is wrong with a record's number and its interval, if anything is. None of them: it is without a model."""
    numbers = [one.low, one.value, one.high]
    known = [each for each in numbers if each is not None]
    whole = len(known) in (0, len(numbers)) and all(map(math.isfinite, known))
    if not whole or known != sorted(known):
        return f"low, value, high are {numbers}, which are no number within its interval"
    return None


def of_these_classes(probabilities: list[float] | None, classes: int) -> list[float] | None:
    """The probabilities if there is one a class. Others can't be measured: which class each is of is not told."""
    return probabilities if probabilities is not None and len(probabilities) == classes else None


def time_problem(time: int) -> str | None:
    """What is wrong with a time (µs), if anything is."""
    return None if abs(time) < _FARTHEST else f"{time} is no time in µs since 1970"


def _ahead_problem(time: int, latest: int) -> str | None:
    if time <= latest:
        return None
    return f"time {time} is more than time.max_ahead after the record came: no event can be of it"


def _model_problem(model: str) -> str | None:
    return None if len(model) <= _LONGEST_NAME else f"a model's version of {len(model)} letters"


def _decode(batch: Batch, bad: Bad) -> tuple[list[Prediction], list[int]]:
    """All records in one call; one by one where that fails, to know which one does."""
    if all(batch.values):
        try:
            found = _predictions.decode(b"[" + b",".join(value for value in batch.values if value) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = []
        if len(found) == len(batch):
            return found, list(range(len(batch)))
    found, at = [], []
    for row, value in enumerate(batch.values):
        try:
            found.append(decode(Prediction, value))
        except RecordError as error:
            bad.append((row, error))
            continue
        at.append(row)
    return found, at

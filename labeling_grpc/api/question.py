"""The question that is asked of each case, and where it is of a number, which numbers are usual."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import sqlalchemy as sa

from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.tables.schema import answers
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.numbers import NumberReader

_NEWEST: Final = 500
"""Answers of which nine of ten are called usual."""
_LEAST: Final = 20
_FRESH_SECONDS: Final = 60.0

_ANSWERED = (
    sa.select(answers.c.label)
    .where(answers.c.status == "answered", answers.c.label.is_not(None))
    .order_by(answers.c.id.desc())  # ids are in the order of time
    .limit(_NEWEST)
)

log = logging.getLogger(__name__)


def question_of(label: LabelSpec) -> pb.Question:
    """The question as it is told to whoever labels."""
    if not label.is_number:
        asked = label.question or f"Which is it? ({', '.join(label.classes)})"
        return pb.Question(text=asked, classes=label.classes, positive=label.positive)
    reader = NumberReader(label)
    bounds = pb.NumberRange(
        unit=label.unit or "", min=reader.least, max=reader.greatest, tolerance=float(label.tolerance or 0)
    )
    return pb.Question(text=label.question or f"Which number is it? ({reader.expected})", number=bounds)


class AskedQuestion:
    """The question with the usual range, which is read now and then."""

    def __init__(self, pipeline: Pipeline, reader: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._question = question_of(pipeline.label)
        self._label = pipeline.label
        self._reader = reader
        self._clock = clock
        self._due = -math.inf if pipeline.label.is_number and not pipeline.labeling.blind else math.inf

    async def message(self) -> pb.Question:
        """The question as of now."""
        now = self._clock()
        if now >= self._due:
            self._due = now + _FRESH_SECONDS  # of all who ask meanwhile one reads
            try:
                usual = await self._reader.ask(usual_range, NumberReader(self._label))
            except RefusedError as error:
                log.info("what is usual is not known: %s", error)
            else:
                if usual is None:
                    self._due = now  # few answers are quickly read
                else:
                    self._question.number.usual_low, self._question.number.usual_high = usual
        return self._question


def usual_range(connection: sa.Connection, reader: NumberReader) -> tuple[float, float] | None:
    """Between which nine of ten of the newest answers lie; None while there are fewer than twenty.

    Args:
        connection: to the queue's database.
        reader: of the label's numbers; what was answered under other bounds, or as a class, is left out.

    Returns:
        The two numbers, each one that was answered.

    """
    numbers = []
    for text in connection.execute(_ANSWERED).scalars():
        try:
            numbers.append(reader.number(text))
        except ValueError:
            continue
    if len(numbers) < _LEAST:
        return None
    low = float(np.quantile(numbers, 0.05, method="inverted_cdf"))
    return low, float(np.quantile(numbers, 0.95, method="inverted_cdf"))

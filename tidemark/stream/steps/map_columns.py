"""Columns by a function of the user's own, between decoding and the features of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from tidemark.errors import ConfigError
from tidemark.features.rows import surviving
from tidemark.formats.decoder import BadRow
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import EvaluationError, columns_schema
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.stream.steps.decode import DecodedBatches

_STEP: Final = "columns"
_SHOWN: Final = 500


class MapColumnsStep:
    """Changes columns of the pipeline by a function, which looks at one row at a time.

    Rows on which it fails (with an error of Polars) are refused, each by itself.
    """

    def __init__(self, pipeline: Pipeline, columns: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._columns = columns
        self._schema = columns_schema(pipeline)
        self._time = pipeline.time.column

    def process(
        self,
        decoded: Sequence[DecodedBatches],
        context: RoundContext,  # noqa: ARG002 the columns of a row are of the row alone
    ) -> Outcome[list[DecodedBatches]]:
        """The rows with their new columns.

        Raises:
            ConfigError: the function gives other rows than it was given, or lacks a column of the pipeline.

        """
        mapped: list[DecodedBatches] = []
        refused: list[Refused] = []
        for rows in decoded:
            frame, reasons = surviving(self._checked, rows.frame)
            keep = np.ones(len(rows.frame), np.bool_)
            keep[list(reasons)] = False
            numbers = rows.decoded.rows
            refused += rows.refused([BadRow(int(numbers[i]), _STEP, reason) for i, reason in reasons.items()])
            mapped.append(rows.with_frame(frame, keep))
        return Outcome(mapped, refused)

    def _checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        try:
            given = self._columns(frame)
        except PolarsError as error:
            raise EvaluationError(str(error)[:_SHOWN]) from error
        if len(given) != len(frame):
            raise ConfigError(
                f"the function of a `map_columns` step gave {len(given)} rows for {len(frame)}; it must give one for "
                "each, in their order (a row to be left out is left out by the decoder)"
            )
        for name, dtype in self._schema.items():
            if given.schema.get(name) != dtype:
                raise ConfigError(
                    f"the function of a `map_columns` step gave {given.schema.get(name)} for column '{name}', which is "
                    f"{dtype} in the pipeline; cast it, or declare it so under [columns]"
                )
        if not given[self._time].equals(frame[self._time]):
            raise ConfigError(
                f"the function of a `map_columns` step changed '{self._time}', by which rows were ordered already; "
                "let the decoder give the right time"
            )
        return given.select(list(self._schema))

"""What the pipeline file says of the values of single columns: applied to what was decoded, and to a history alike."""

from __future__ import annotations

import polars as pl

from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import columns_schema


class ColumnRules:
    """The rules of a pipeline's columns, in their order: defaults, then values that mean "not measured"."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Prepare for a pipeline.

        Args:
            pipeline: whose columns have the rules.

        """
        schema = columns_schema(pipeline)
        self._steps: list[list[pl.Expr]] = [
            [
                pl.col(name).fill_null(pl.lit(column.default, dtype=schema[name]))
                for name, column in pipeline.columns.items()
                if column.default is not None
            ],
            [
                pl.when(pl.col(name).is_in(pl.Series(column.missing, dtype=schema[name]).implode()))
                .then(None)
                .otherwise(pl.col(name))
                .alias(name)
                for name, column in pipeline.columns.items()
                if column.missing
            ],
        ]

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns by the rules.

        Args:
            frame: the declared columns as records told them.

        """
        for step in self._steps:
            if step:
                frame = frame.with_columns(step)
        return frame

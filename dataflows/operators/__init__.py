"""Operators for flows of one's own: Bytewax custom operators over micro-batches, exactly once.

`import dataflows.operators as tm`, then compose them as `dataflows.stream.build` does. See docs/how-to/own-flow.md.

Operators over rows are imported on first use: flows without them need no Polars.
"""

from typing import TYPE_CHECKING

from dataflows.operators.envelope import Round
from dataflows.operators.rounds import (
    by_topic,
    commit,
    dead_letters,
    input,  # noqa: A004 as Bytewax calls it
    processor,
    step_with_errors,
    task_of,
    together,
)
from dataflows.operators.split import RowsAndErrors
from dataflows.operators.step import step, steps_of
from tidemark.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from dataflows.operators.rows import decode as decode
    from dataflows.operators.rows import map_columns as map_columns
    from dataflows.operators.rows import predict as predict
    from dataflows.operators.rows import propose as propose
    from dataflows.operators.rows import receive as receive
    from dataflows.operators.rows import repartition as repartition
    from dataflows.operators.rows import row_features as row_features
    from dataflows.operators.rows import window_features as window_features

__all__ = [
    "Round",
    "RowsAndErrors",
    "by_topic",
    "commit",
    "dead_letters",
    "decode",
    "input",
    "map_columns",
    "predict",
    "processor",
    "propose",
    "receive",
    "repartition",
    "row_features",
    "step",
    "step_with_errors",
    "steps_of",
    "task_of",
    "together",
    "window_features",
]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "dataflows.operators.rows"))

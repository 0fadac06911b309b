"""Operators for flows of one's own: Bytewax custom operators over micro-batches, exactly once.

`import dataflows.operators as tm`, then compose them as `dataflows.stream.build` does. See docs/how-to/own-flow.md.
"""

from dataflows.operators.envelope import Round
from dataflows.operators.rounds import by_topic, commit, dead_letters, input, processor  # noqa: A004 as Bytewax calls it
from dataflows.operators.rows import (
    RowsAndErrors,
    decode,
    map_columns,
    predict,
    propose,
    receive,
    repartition,
    row_features,
    window_features,
)
from dataflows.operators.step import step, steps_of

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
    "steps_of",
    "window_features",
]

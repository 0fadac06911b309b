"""Proposals: what a batch of one partition has to offer to selection. One Kafka record for each batch.

The value is an Arrow IPC stream of rows, possibly none; the header `meta` is a JSON `ProposalMeta`. Rows:

| column | type | |
|---|---|---|
| `event_id`, `business_id`, `key` | text | as in the prediction |
| `time`, `tile` | int | event time, µs; tile by the partition's watermark |
| `coin` | uint64 | the event's exploration coin |
| `explore` | bool | among the batch's `explore_rows` smallest coins of its tile |
| `score` | float | what the policy ranks by; NaN where there is no model and no rule, or the policy is random |
| `draw` | uint64 | a second, independent coin: settles equal scores, and ranks rows without a score |
| `active` | bool | among the batch's `active_rows` first of its tile by `ranked` |
| `probabilities` | list of float | null without a model; of a number what it is doubted by |
| `value`, `low`, `high` | float | of a number, as in the prediction; of classes there are none |
| `uncertainty` | float | as in the prediction; NaN without a model |
| `model` | text | version |
| `f_NAME` | float | each feature as scored; NaN is missing |
| `c_NAME` | text, int, float or bool | each column of `label.context`; times as ISO 8601 |

Nothing is pruned across batches: the first `k` of a tile over all batches are the first `k` of what the batches
propose, however tiles are merged and closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import polars as pl

from tidemark.errors import RecordError
from tidemark.formats.arrow import from_ipc, to_ipc
from tidemark.formats.arrow_columns import (
    LATEST_TILE,
    LATEST_TIME,
    check_columns,
    check_present,
    check_range,
    check_times,
)
from tidemark.pipeline.model import Pipeline, Selection, Start
from tidemark.records import Record, decode, encode
from tidemark.registry.estimates import COLUMNS
from tidemark.runtime.processor import Headers
from tidemark.strategies import STRATEGIES

META: Final = "meta"
"""Header that carries the `ProposalMeta`."""
_SCHEMA: Final[dict[str, pl.DataType]] = {
    "event_id": pl.String(),
    "business_id": pl.String(),
    "key": pl.String(),
    "time": pl.Int64(),
    "tile": pl.Int64(),
    "coin": pl.UInt64(),
    "explore": pl.Boolean(),
    "score": pl.Float64(),
    "draw": pl.UInt64(),
    "active": pl.Boolean(),
    "probabilities": pl.List(pl.Float64()),
    "uncertainty": pl.Float64(),
    "model": pl.String(),
}


_Index = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Offset = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=LATEST_TIME)]
_Tile = Annotated[int, msgspec.Meta(ge=0, le=LATEST_TILE)]
_Events = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Name = Annotated[str, msgspec.Meta(max_length=1_000)]
_SHOWN: Final = frozenset({pl.String, pl.Int64, pl.Float64, pl.Boolean})
"""Types of the columns that people are shown."""
_REQUIRED: Final = ["event_id", "time", "tile", "coin", "explore", "score", "draw", "active", "uncertainty", "model"]


class ProposalMeta(Record, frozen=True, kw_only=True):
    """What a batch was: `topic` and `partition` name the last stage's partition.

    first_offset, last_offset: of the batch's rows, inclusive; None in an idle record.
    watermark: after the batch, µs; None before the first row.
    tiles: number of all events of the batch in each tile.
    idle: nothing came for the idle time-out; tiles need not wait for this partition until it proposes again.
    policy: version of the selection policy.  model: version that scored the batch.
    definitions: by what definition each feature was computed (ids of `tidemark.pipeline.definitions`).
    unsure: mean of 1 - margin over all events of the batch in each tile; None without a model.
    stage: `positives` where scores tell how likely an event is positive, and not what the strategy makes of it.
    odd: the share of active cases for what the start looks for, by what labels have told: without a model for the rule
    and oddness, in the stage `positives` for the likeliest positives.
    """

    topic: _Name
    partition: _Index
    first_offset: _Offset | None
    last_offset: _Offset | None
    watermark: _Time | None
    tiles: dict[_Tile, _Events]
    idle: bool
    policy: str
    model: _Name
    definitions: dict[_Name, _Name] | None = None
    unsure: dict[_Tile, _Share] | None = None
    stage: Literal["", "positives"] = ""
    odd: _Share | None = None


@dataclass(frozen=True, slots=True)
class Proposals:
    """A decoded record."""

    meta: ProposalMeta
    rows: pl.DataFrame


def explore_rows(selection: Selection) -> int:
    """Smallest coins that a batch proposes of a tile: one more than are drawn, for the inclusion probability.

    A strategy such as `random`, or a mixture with chance, may have the whole budget drawn by coin, so that each label
    has that probability.
    """
    draws = selection.mixed or STRATEGIES.get(selection.policy).draws
    return (selection.budget if draws else selection.explore) + 1


def active_rows(selection: Selection) -> int:
    """Best rows that a batch proposes of a tile for the active choice."""
    return selection.candidates_per_pick * selection.budget


def has_start(selection: Selection, start: Start) -> bool:
    """Whether cases are chosen for what they are while there is no model."""
    return (start.anomalies > 0 or start.rule is not None) and STRATEGIES.get(selection.policy).ranks


def rows_to_propose(selection: Selection, start: Start, *, cold: bool, stage: str = "") -> tuple[int, int]:
    """Rows of a tile that a batch proposes by coin and by score.

    Args:
        selection: the pipeline's settings.
        start: those of the start, which leaves some of the budget to chance.
        cold: without a model.
        stage: of the ranking.

    Returns:
        Both numbers.

    """
    explore, active = explore_rows(selection), active_rows(selection)
    if stage or (cold and has_start(selection, start)):
        explore = selection.budget + 1
    return explore, max(active, start.pool) if cold and has_start(selection, start) else active


def rows_to_keep(selection: Selection, start: Start) -> tuple[int, int]:
    """Rows of a tile that are kept by coin, and without a model, whatever is found out while it is open."""
    explore, cold = rows_to_propose(selection, start, cold=True)
    if start.positives and STRATEGIES.get(selection.policy).ranks:
        explore = selection.budget + 1
    return explore, cold


def ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of the active choice: high scores first, none last, equal ones by their draw."""
    return rows.sort(
        pl.col("score").fill_nan(None),
        pl.col("draw"),
        pl.col("event_id"),
        descending=[True, False, False],
        nulls_last=True,
    )


def schema(pipeline: Pipeline, context: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Columns of a pipeline's proposals; `context` has the types of the columns that people are shown."""
    estimates = {name: pl.Float64() for name in COLUMNS} if pipeline.label.is_number else {}
    return {
        **_SCHEMA,
        **estimates,
        **{f"f_{name}": pl.Float64() for name in pipeline.feature_names},
        **{f"c_{name}": dtype for name, dtype in context.items()},
    }


def encode_proposals(meta: ProposalMeta, rows: pl.DataFrame) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Value and headers of a record."""
    return to_ipc(rows), ((META, encode(meta)),)


def decode_proposals(value: bytes | None, headers: Headers | None) -> Proposals:
    """What `encode_proposals` wrote.

    Raises:
        RecordError: the record is not one of proposals; the reason names what is missing.

    """
    meta = next((content for name, content in headers or [] if name == META), None)
    if meta is None:
        raise RecordError("decode", f"no header '{META}' where proposals were expected")
    rows = from_ipc(value, "proposals")
    check_columns(rows, _SCHEMA, "proposals")
    for name, dtype in rows.schema.items():
        if name.startswith("f_") and dtype != pl.Float64:
            raise RecordError("decode", f"proposals have {dtype} for '{name[:100]}', expected Float64")
        if name.startswith("c_") and dtype not in _SHOWN:
            raise RecordError("decode", f"proposals have {dtype} for '{name[:100]}', which people can't be shown")
    check_present(rows, _REQUIRED, "proposals")
    # Most methods of a Polars series run a query each, which costs more here than all else.
    probabilities = rows["probabilities"]
    scored = probabilities.drop_nulls() if probabilities.null_count() else probabilities
    if np.isinf(rows["score"].to_numpy()).any() or (len(scored) and scored.explode().null_count()):
        raise RecordError("decode", "proposals with an infinite score, or without some of their probabilities")
    check_times(rows, "time", "proposals")
    check_range(rows, "tile", 0, LATEST_TILE, "proposals")
    return Proposals(decode(ProposalMeta, meta), rows)

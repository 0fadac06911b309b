"""Proposals of a round, whose frame is built for all partitions together, beside those of each partition alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from streaming import DAY, START, shop

from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Segments
from tidemark.pipeline.sql.values import TIMESTAMP
from tidemark.runtime.processor import Partition
from tidemark.selection.proposals import decode_proposals
from tidemark.selection.scoring import Ranker, Ranking, Scores, score
from tidemark.stream.hops import event_ids
from tidemark.stream.outputs import Meta, Offers, Scored
from tidemark.stream.rows import Rows
from tidemark.stream.stages import cleaned_schema

ORIGINS = [Partition("shop.raw", index, "0000aaaa") for index in range(3)]
TOO_MANY = 100_000
"""Bytes of a row of which six are more than a record takes."""


def rows_of(seed: int, n: int) -> Rows:
    """Rows with nulls and NaN in each column that may have them."""
    rng = np.random.default_rng(seed)

    def some(values: list[str]) -> list[str | None]:
        return [None if rng.random() < 0.2 else str(value) for value in rng.choice(values, n)]

    times = START + rng.integers(0, DAY // 1_000, n)
    amount = np.where(rng.random(n) < 0.2, np.nan, rng.normal(50, 20, n))
    columns = pl.DataFrame(
        {
            "id": [f"P{i}" for i in range(n)],
            "at": pl.Series(times).cast(TIMESTAMP),
            "who": [f"who is called {i % 5}" for i in range(n)],
            "place": rng.integers(0, 9, n),
            "amount": pl.Series(amount).fill_nan(None),
            "kind": pl.Series(some(["a", "b", "ü of more than twelve bytes"]), dtype=pl.String),
        }
    )
    origin, offsets, keys = rng.integers(0, 3, n).astype(np.uint32), np.arange(n) * 2, [columns["who"]]
    features = pl.DataFrame({"amount": amount})
    return Rows(ORIGINS, origin, offsets, times, times, rng.random(n) < 0.2, keys, columns, features)


def cut(rows: Rows, begin: int, end: int) -> Rows:
    """Rows of their own, which share nothing with the others."""
    own = (np.arange(len(rows)) >= begin) & (np.arange(len(rows)) < end)
    return rows.only(own)


def beside_others(ranker: Ranker) -> Any:  # noqa: ANN401 - stands for the ranker of a user's strategy
    """Ranks rows by how they compare with the others of their batch."""

    def ranked(scores: Scores, features: pl.DataFrame, draws: NDArray[np.uint64]) -> Ranking:
        ranking = ranker(scores, features, draws)
        return replace(ranking, value=ranking.value - ranking.value.mean())

    return ranked


def scored(
    pipeline: Pipeline, offers: Offers, rows: Rows, features: pl.DataFrame, given: NDArray[np.float64] | None
) -> Scored:
    identity = offers.identity(rows, event_ids(rows.origins, rows.origin, rows.offsets))
    return Scored(rows, identity, score(pipeline.selection, "v1", given, len(rows)), features)


@pytest.mark.parametrize("kind", ["margin", "random", "density", "focused", "segments", "by batch"])
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    cold=st.booleans(),
    row_bytes=st.sampled_from([None, TOO_MANY]),
)
@settings(max_examples=25, deadline=None)
def test_a_partition_proposes_the_same_whatever_others_are_in_the_round(
    kind: str, seed: int, sizes: list[int], *, cold: bool, row_bytes: int | None
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "focused": {"draw": "focused"},
        "segments": {"segments": Segments(column="kind", least=0.1)},
        "by batch": {},
    }
    change = changes.get(kind)
    pipeline = shop(keys=1, policy=kind if change is None else "margin")
    pipeline = pipeline.model_copy(update={"selection": pipeline.selection.model_copy(update=change or {})})
    offers = Offers(pipeline, cleaned_schema(pipeline))
    if row_bytes is not None:
        offers._row_bytes = row_bytes
    if kind == "by batch":
        offers._ranker = beside_others(offers._ranker)
    n = sum(sizes)
    rng = np.random.default_rng(seed)
    rows, tiles = rows_of(seed, n), np.sort(rng.integers(0, 3, n))
    names = pipeline.feature_names
    numbers = np.where(rng.random((n, len(names))) < 0.2, np.nan, rng.normal(size=(n, len(names))))
    features = pl.DataFrame(numbers, schema=list(names))
    likely = rng.random(n)
    given_ = None if cold else np.column_stack([1 - likely, likely])
    ends = np.cumsum(sizes).tolist()
    metas = [
        (end - size, end, Meta(Partition("shop.raw", i, "0000aaaa"), i, i + size, START + i))
        for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
    together = offers.proposals(scored(pipeline, offers, rows, features, given_), tiles, metas)
    assert len(together) == len(metas)
    for (begin, end, meta), records in zip(metas, together, strict=True):
        own = slice(begin, end)
        probabilities = None if given_ is None else given_[own].copy()
        lonely = scored(pipeline, offers, cut(rows, begin, end), features[own].rechunk(), probabilities)
        (alone,) = offers.proposals(lonely, tiles[own].copy(), [(0, end - begin, meta)])
        assert [record.headers for record in records] == [record.headers for record in alone]
        for found, expected in zip(records, alone, strict=True):
            frames = [decode_proposals(one.value, list(one.headers)).rows for one in (found, expected)]
            assert_frame_equal(*frames, check_exact=True)
        if row_bytes is None:
            assert len(records) == 1

"""A history that is longer than may be held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from histories import frame, shop
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.sources.history import read_history
from tidemark.sources.thinning import Thinning


def rows(keys: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"key": [f"k{key}" for key in keys], "time": np.arange(len(keys)), "row": np.arange(len(keys))})


@given(st.lists(st.integers(0, 40), min_size=1, max_size=400), st.integers(1, 120), st.integers(1, 90))
@settings(max_examples=150, deadline=None)
def test_no_more_rows_than_asked_are_kept_in_their_order_and_of_kept_keys_all_or_the_latest(
    keys: list[int], most: int, portion: int
) -> None:
    whole, thinning = rows(keys), Thinning("key", "time", most)
    for begin in range(0, len(whole), portion):
        thinning.add(whole[begin : begin + portion])
    kept = thinning.frame()
    assert 0 < len(kept) <= most
    assert thinning.read == len(whole)
    assert kept["row"].is_sorted()
    if len(whole) <= most:
        assert kept.equals(whole)
    of_keys = whole.filter(pl.col("key").is_in(kept["key"].unique().implode()))
    if not thinning.latest:
        assert kept.equals(of_keys)
    if thinning.share == 1 and not thinning.latest:
        assert kept.equals(whole)


def test_half_of_the_keys_go_while_there_are_many_and_the_oldest_rows_where_there_is_one() -> None:
    many = Thinning("key", "time", 500)
    many.add(rows([at % 300 for at in range(3_000)]))
    assert 250 <= len(many.frame()) <= 500
    assert (many.share, many.latest) == (2.0**-3, False) or many.share == 2.0**-2
    one = Thinning("key", "time", 500)
    one.add(rows([7] * 3_000))
    assert one.frame()["row"].to_list() == list(range(2_500, 3_000))
    assert (one.share, one.latest) == (1.0, True)


def test_labels_of_a_thinned_history_stay_with_their_rows(tmp_path: Path) -> None:
    pipeline, whole = shop(), frame(2_000)
    whole.write_parquet(tmp_path / "h.parquet")
    thinning = Thinning("customer", "at", 900)
    kept = read_history(pipeline, tmp_path / "h.parquet", thinning=thinning)
    assert thinning.share < 1
    customers = kept["customer"].unique()
    same = whole.filter(pl.col("customer").is_in(customers.implode()))
    for name in ("customer", "x", "truth"):
        assert kept[name].to_list() == same[name].to_list()
    assert read_history(pipeline, tmp_path / "h.parquet")["truth"].to_list() == whole["truth"].to_list()


@pytest.mark.parametrize("most", [1, 3])
def test_few_rows_are_kept_too(most: int) -> None:
    thinning = Thinning("key", "time", most)
    thinning.add(rows([1, 2, 3, 4, 5, 6, 7, 8]))
    assert 1 <= len(thinning.frame()) <= most

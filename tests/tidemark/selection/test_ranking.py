"""Which rows of a batch are proposed, against a loop over its tiles."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tidemark.formats.arrow import least_bytes, to_ipc
from tidemark.selection.ranking import Choice
from tidemark.stream.pieces import in_pieces

ROW = st.tuples(
    st.integers(0, 4), st.integers(0, 3), st.sampled_from([0.0, -0.0, 0.5, 1.0, float("nan")]), st.integers(0, 3)
)


def first_of_tiles(rows: list[int], tiles: list[int], key: dict[int, tuple[float, ...]], most: int) -> set[int]:
    """The first few rows of each tile by a key; equal ones by their places in `rows`."""
    found: set[int] = set()
    for tile in set(tiles):
        own = sorted((row for row in rows if tiles[row] == tile), key=lambda row: (*key[row], rows.index(row)))
        found |= set(own[:most])
    return found


@given(st.lists(ROW, min_size=1, max_size=30), st.integers(1, 3), st.integers(1, 4), st.data())
def test_a_range_of_rows_is_chosen_from_as_if_it_had_been_the_batch(
    rows: list[tuple[int, int, float, int]], explore: int, active: int, data: st.DataObject
) -> None:
    tiles, coins, scores, draws = (list(column) for column in zip(*rows, strict=True))
    choice = Choice(
        np.array(tiles), np.array(coins, np.uint64), np.array(scores), np.array(draws, np.uint64), explore, active
    )
    begin = data.draw(st.integers(0, len(rows) - 1))
    end = data.draw(st.integers(begin + 1, len(rows)))
    by_tile = sorted(range(len(rows)), key=lambda row: tiles[row])[begin:end]
    own = sorted(by_tile) if len(by_tile) == len(rows) else by_tile
    by_coin: dict[int, tuple[float, ...]] = {row: (coins[row],) for row in own}
    by_score: dict[int, tuple[float, ...]] = {
        row: (float("inf") if np.isnan(scores[row]) else -scores[row], draws[row]) for row in own
    }
    explored = first_of_tiles(own, tiles, by_coin, explore)
    best = first_of_tiles(own, tiles, by_score, active)

    chosen = choice.of(begin, end)

    assert chosen.rows.tolist() == [row for row in own if row in explored | best]
    assert chosen.explore.tolist() == [row in explored for row in chosen.rows.tolist()]
    assert chosen.active.tolist() == [row in best for row in chosen.rows.tolist()]
    assert chosen.tiles == {tile: sum(tiles[row] == tile for row in own) for tile in {tiles[row] for row in own}}
    assert list(chosen.tiles) == sorted(chosen.tiles)


@given(st.integers(0, 60), st.sampled_from([None, "", "short", "a text of more than twelve bytes"]))
def test_a_record_has_at_least_the_bytes_that_its_rows_were_said_to_take(count: int, text: str | None) -> None:
    frame = pl.DataFrame(
        {
            "text": pl.Series([text] * count, dtype=pl.String),
            "whole": pl.Series([None] * count, dtype=pl.Int64),
            "coin": pl.Series(range(count), dtype=pl.UInt64),
            "number": pl.Series([None] * count, dtype=pl.Float64),
            "flag": pl.Series([True] * count, dtype=pl.Boolean),
            "list": pl.Series([None] * count, dtype=pl.List(pl.Float64)),
        }
    )
    assert least_bytes(frame.dtypes) == 40
    assert len(to_ipc(frame)) >= count * 40


def test_rows_that_are_surely_too_many_for_a_record_are_not_encoded_together() -> None:
    encode = Mock(side_effect=lambda begin, end: (b"x" * 10 * (end - begin), ()))
    pieces = list(in_pieces(16, 0, encode, most=50, least=lambda begin, end: 7 * (end - begin)))
    assert [(begin, end) for begin, end, _, _ in pieces] == [(i, i + 4) for i in range(0, 16, 4)]
    assert {call.args[1] - call.args[0] for call in encode.call_args_list} == {4}

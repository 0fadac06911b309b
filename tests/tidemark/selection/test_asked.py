"""What was asked is remembered: no near-duplicate is asked again, and no segment goes unseen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.labels.proposal_streams import Run, pipeline, stream
from tidemark.pipeline.checks import find_problems
from tidemark.pipeline.model import Selection
from tidemark.selection.asked import AskedCases, segment_of
from tidemark.selection.choice import choose
from tidemark.selection.clock import Watermarks
from tidemark.selection.proposals import decode_proposals
from tidemark.selection.reading import parts
from tidemark.selection.segments import due, first_of_segments
from tidemark.selection.tiles import Bars, OpenTile, Part, Proposal


def selection_of(**given: object) -> Selection:
    return pipeline(**{"budget": 6, "explore": 1, "policy": "margin", **given}).selection


def row(number: int, x: Iterable[float], *, score: float = 0.5, segment: str | None = "a") -> Proposal:
    return Proposal(
        event_id=f"e{number:05}",
        business_id=None,
        key=None,
        time=0,
        coin=(number * 2_654_435_761) % 2**32,
        draw=(number * 40_503) % 2**16,
        score=score,
        uncertainty=score,
        probabilities=[0.5, 0.5],
        model="m1",
        features={f"x{i}": None if math.isnan(value) else value for i, value in enumerate(x)},
        context={"site": segment},
        definitions={"x0": "0"},
    )


def tile_of(selection: Selection, rows: Sequence[Proposal]) -> OpenTile:
    """A tile of these rows, all of them proposed."""
    segments = None if selection.segments is None else selection.segments.column
    floors: dict[str, Proposal] = {}
    for each in sorted(rows, key=lambda r: r.draw):
        floors.setdefault(segment_of(each.context, "site"), each)
    tile = OpenTile(1, 0, Watermarks.unknown(1), 1, selection.explore, len(rows))
    coins = sorted(rows, key=lambda r: r.by_coin)[: selection.explore + 1]
    best = sorted(rows, key=lambda r: r.by_score)
    tile.merge(Part(1, len(rows), len(coins), len(rows), coins, best, 0.1, None, floors if segments else {}), "m1")
    return tile


def chosen(selection: Selection, rows: Sequence[Proposal], asked: AskedCases) -> list[Proposal]:
    """What is asked of a tile and not drawn."""
    picks = list(choose(tile_of(selection, rows), selection, None, None, asked))
    assert len({pick.proposal.event_id for pick in picks}) == len(picks) == min(selection.budget, len(rows))
    return [pick.proposal for pick in picks if pick.reason != "explore"]


def test_what_is_like_a_case_of_before_is_not_asked_again_while_there_are_others() -> None:
    rng = np.random.default_rng(1)
    selection = selection_of(memory=100)
    crowd = [row(i, rng.normal(size=3), score=0.1 + i / 1e4) for i in range(100)]
    alarm = [1.5, -0.5, 2.0]
    asked = AskedCases(selection)
    first = chosen(selection, [*crowd, *(row(200 + i, alarm, score=0.9) for i in range(20))], asked)
    assert sum(each.score == 0.9 for each in first) == 1  # one of twenty copies, and none of them twice
    asked.add(first)
    again = [row(300 + i, np.array(alarm) + 1e-3 * rng.normal(size=3), score=0.9) for i in range(20)]
    second = chosen(selection, [*crowd, *again], asked)
    assert not {each.event_id for each in second} & {each.event_id for each in again}
    forgetful = chosen(selection_of(), [*crowd, *again], AskedCases(selection_of()))
    assert {each.event_id for each in forgetful} <= {each.event_id for each in again}


def test_where_all_is_alike_the_budget_is_asked_all_the_same() -> None:
    selection = selection_of(memory=100)
    asked = AskedCases(selection)
    copies = [row(i, [1.0, math.nan]) for i in range(30)]
    for _ in range(3):
        picks = chosen(selection, copies, asked)
        assert len(picks) >= 5
        asked.add(picks)


def test_features_of_another_definition_say_nothing_of_likeness() -> None:
    selection = selection_of(memory=100)
    rng = np.random.default_rng(2)
    rows = [row(i, rng.normal(size=2)) for i in range(20)]
    asked = AskedCases(selection)
    asked.add(replace(each, definitions={"x0": "another"}) for each in rows)
    assert asked.parted(rows) == (rows, [])
    asked.add(rows[:5])
    assert asked.parted(rows) == (rows[5:], rows[:5])


def test_no_more_is_remembered_than_the_file_says() -> None:
    rng = np.random.default_rng(3)
    rows = [row(i, rng.normal(size=2)) for i in range(30)]
    asked = AskedCases(selection_of(memory=10))
    asked.add(rows)
    fresh, alike = asked.parted(rows)
    assert (len(asked.cases), alike) == (10, rows[20:])
    assert fresh == rows[:20]


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_every_row_is_fresh_or_alike_whatever_the_values(seed: int, n: int, before: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([0.0, 1.0, 1.01, -1e300, 1e300, np.nan], (n + before, features))
    rows = [row(i, each) for i, each in enumerate(x)]
    asked = AskedCases(selection_of(memory=50))
    asked.add(rows[n:])
    fresh, alike = asked.parted(rows[:n])
    assert sorted(r.event_id for r in (*fresh, *alike)) == [r.event_id for r in rows[:n]]
    told = {tuple(r.features.values()) for r in rows[n:]}
    assert not any(tuple(r.features.values()) in told for r in fresh if features)


@pytest.mark.parametrize("segments", [None, {"column": "x", "least": 0.2, "most": 0.5}])
@pytest.mark.parametrize("seed", range(3))
def test_a_restart_remembers_by_what_was_published_and_asks_the_very_same(
    seed: int, segments: dict[str, object] | None
) -> None:
    more = {} if segments is None else {"segments": segments}
    pipe = pipeline(budget=4, explore=1, policy="margin", memory=50, **more)
    log = stream(pipe, np.random.default_rng(seed), records=80, rows=30, pace=40.0, cold=20)
    whole = Run(pipe, log).crashing_at([])
    assert sum(each.topic == pipe.topics.candidates for each in whole) > 50
    assert Run(pipe, log).crashing_at(range(3, len(log), 7)) == whole
    forgetful = pipe.selection.model_copy(update={"memory": 0, "segments": None})
    assert Run(pipe.model_copy(update={"selection": forgetful}), log).crashing_at([]) != whole


def sited(**segments: object) -> Selection:
    return selection_of(budget=9, segments={"column": "site", **segments})


def test_a_segment_that_was_never_asked_about_is_asked_about_however_sure_the_model_is() -> None:
    rng = np.random.default_rng(4)
    selection = sited(least=0.05)
    asked = AskedCases(selection)
    for _ in range(30):
        rows = [row(int(i), rng.normal(size=2), score=0.5 + rng.random() / 2) for i in rng.integers(0, 10**4, 80)]
        rows = list({each.event_id: each for each in rows}.values())
        rows += [row(20_000 + i, rng.normal(size=2), score=0.0, segment="quiet") for i in range(2)]
        rows += [row(30_000, rng.normal(size=2), score=0.0, segment=None)]
        asked.add(chosen(selection, rows, asked))
    counts = asked.by_segment()
    for name in ("quiet", ""):
        assert 0.04 <= counts[name] / sum(counts.values()) <= 0.08


def test_floors_take_half_of_the_active_cases_at_most_the_least_seen_first() -> None:
    selection = sited(least=0.5)
    asked = AskedCases(selection)
    rows = [row(i, [float(i)], score=0.9 if i < 20 else 0.0, segment=f"s{i}") for i in range(60)]
    asked.add(rows[20:58])
    picks = chosen(selection, rows, asked)
    floors = [each for each in picks if each.score == 0.0]
    assert len(floors) <= 4
    assert len(picks) == 8


def test_no_segment_has_more_than_its_quota_while_others_have_events() -> None:
    selection = sited(least=0.0, most=0.25)
    rng = np.random.default_rng(6)
    loud = [row(i, rng.normal(size=2), score=0.9, segment="loud") for i in range(50)]
    others = [row(100 + i, rng.normal(size=2), score=0.1, segment=f"s{i % 5}") for i in range(40)]
    picks = chosen(selection, [*loud, *others], AskedCases(selection))
    assert max(Counter(each.context["site"] for each in picks).values()) == 2
    alone = chosen(selection, loud, AskedCases(selection))
    assert len(alone) == 8  # the budget is spent


def test_segments_asked_about_enough_are_not_due() -> None:
    floors = {name: row(i, [0.0], segment=name) for i, name in enumerate("abc")}
    assert due(floors, {"a": 50, "b": 1, "c": 0}, [], 0.05, 5) == [floors["c"], floors["b"]]
    assert due(floors, {"a": 50, "b": 1, "c": 0}, ["c"], 0.05, 5) == [floors["b"]]
    assert due(floors, {"a": 50, "b": 1, "c": 0}, [], 0.0, 5) == []
    assert len(due(floors, {}, [], 0.05, 2)) == 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_of_each_segment_of_a_tile_the_row_with_the_smallest_draw_is_proposed(seed: int, n: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 3, n)
    draws = rng.integers(0, 2**62, n).astype(np.uint64)
    sites = rng.choice(["a", "b", "c", ""], n).tolist()
    values = pl.Series([None if site == "" else site for site in sites], dtype=pl.String)
    best: dict[tuple[int, str], int] = {}
    for i in range(n):
        key = int(tiles[i]), sites[i]
        if key not in best or draws[i] < draws[best[key]]:
            best[key] = i
    expected = {
        i
        for tile in range(3)
        for i in sorted((at for (number, _), at in best.items() if number == tile), key=lambda at: draws[at])[:most]
    }
    assert set(np.flatnonzero(first_of_segments(tiles, draws, values, most)).tolist()) == expected


def test_a_record_gives_a_row_of_each_segment_that_it_proposes() -> None:
    pipe = pipeline(budget=2, explore=1, policy="margin", candidates_per_pick=1)
    log = stream(pipe, np.random.default_rng(7), records=5, rows=40, pace=30.0, quiet=0.0)
    record = decode_proposals(log[0].value, log[0].headers)
    for part in parts(record, lambda _: Bars(), "x"):
        mine = record.rows.filter(pl.col("tile") == part.tile)
        assert set(part.floors) == {str(x) for x in mine["c_x"].to_list()}
        assert all(str(each.context["x"]) == name for name, each in part.floors.items())
    assert all(not part.floors for part in parts(record, lambda _: Bars()))


def test_a_segment_column_that_people_are_not_shown_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="column"):
        pipeline(budget=2, explore=1, segments={})

    def problems(**segments: object) -> dict[str, str]:
        found = find_problems(pipeline(budget=2, explore=1, segments=segments))
        return {each.key: each.text for each in found if each.key.startswith("selection")}

    assert problems(column="x") == {}
    assert "label.context" in problems(column="place")["selection.segments.column"]
    assert list(problems(column="x", least=0.4, most=0.3)) == ["selection.segments.least"]

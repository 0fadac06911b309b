"""The select flow against a naive oracle, over random streams, budgets and crashes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selecting import closed_tiles

from benchmarks.labels.proposal_streams import Record, Run, pipeline, stream
from kernels import unit
from tidemark.pipeline.model import Pipeline, Start
from tidemark.records import Candidate, Metric, decode
from tidemark.runtime.processor import Output


def candidates(outputs: list[Output]) -> list[Candidate]:
    return [decode(Candidate, output.value) for output in outputs if output.topic == "p.candidates"]


streams = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "partitions": st.integers(1, 4),
        "budget": st.integers(1, 8),
        "explore": st.integers(0, 8),
        "total": st.none() | st.integers(1, 40),
        "policy": st.sampled_from(["margin", "margin_kmeans", "badge", "random"]),
        "records": st.integers(1, 40),
        "pace": st.sampled_from([5.0, 60.0, 700.0]),
        "cold": st.sampled_from([0, 10, 100]),
        "step": st.integers(1, 5),
    }
)


def made(options: dict[str, object]) -> tuple[Pipeline, list[Record]]:
    chosen = dict(options)
    seed, records, pace = chosen.pop("seed"), chosen.pop("records"), chosen.pop("pace")
    cold, _ = chosen.pop("cold"), chosen.pop("step")
    assert isinstance(chosen["explore"], int)
    assert isinstance(chosen["budget"], int)
    chosen["explore"] = min(chosen["explore"], chosen["budget"])
    pipe = pipeline(**chosen)
    assert isinstance(seed, int)
    assert isinstance(records, int)
    assert isinstance(pace, float)
    assert isinstance(cold, int)
    return pipe, stream(pipe, np.random.default_rng(seed), records=records, rows=30, pace=pace, cold=cold)


@given(streams, st.lists(st.integers(0, 40), max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_run_with_crashes_commits_the_very_outputs_of_one_without(
    options: dict[str, object], crashes: list[int]
) -> None:
    pipe, log = made(options)
    step = options["step"]
    assert isinstance(step, int)
    assert Run(pipe, log, step).crashing_at(crashes) == Run(pipe, log, 1).crashing_at([])


@given(streams)
@settings(max_examples=60, deadline=None)
def test_each_tiles_draw_is_the_bottom_k_of_all_its_events_with_exact_probabilities(options: dict[str, object]) -> None:
    pipe, log = made(options)
    pipe = pipe.model_copy(update={"start": Start(anomalies=0, positives=0)})  # which has more drawn without a model
    found = candidates(Run(pipe, log).crashing_at([len(log) // 2]))
    selection, spent = pipe.selection, 0
    tiles = closed_tiles(pipe, log)
    assert {candidate.tile for candidate in found} <= tiles.keys()
    for number, tile in tiles.items():
        mine = [candidate for candidate in found if candidate.tile == number]
        left = selection.budget if selection.total is None else min(selection.budget, selection.total - spent)
        reserved = selection.budget if selection.policy == "random" else selection.explore
        coins = sorted(tile.events)
        k = min(reserved, left)
        drawn = [candidate for candidate in mine if candidate.reason == "explore"]
        assert [candidate.event_id for candidate in drawn] == [event for _, event in coins[:k]]
        expected = unit(coins[k][0]) if len(coins) > k else 1.0
        assert {candidate.inclusion_probability for candidate in drawn} <= {expected}
        assert len(mine) == min(left, len(tile.events))
        assert all(candidate.tile_count == len(tile.events) for candidate in mine)
        assert all(c.inclusion_probability is None and c.priority < 1 for c in mine if c.reason != "explore")
        spent += len(mine)
    assert len({candidate.event_id for candidate in found}) == len(found)
    assert selection.total is None or len(found) <= selection.total


@given(streams)
@settings(max_examples=20, deadline=None)
def test_budget_metrics_add_up_to_the_candidates(options: dict[str, object]) -> None:
    pipe, log = made(options)
    outputs = Run(pipe, log).crashing_at([])
    metrics = [decode(Metric, output.value) for output in outputs if output.topic == "p.metrics"]
    tiles = closed_tiles(pipe, log)
    assert sum(metric.value or 0 for metric in metrics if metric.name == "budget_spent") == len(candidates(outputs))
    assert [metric.value for metric in metrics if metric.name == "tile_events"] == [
        len(tile.events) for _, tile in sorted(tiles.items())
    ]
    assert all(metric.source == "budget" for metric in metrics)


@given(streams)
@settings(max_examples=30, deadline=None)
def test_each_tiles_focused_draw_is_the_bottom_k_of_stretched_coins_with_exact_probabilities(
    options: dict[str, object],
) -> None:
    if options["policy"] == "random":
        options = {**options, "policy": "margin"}
    pipe, log = made({**options, "draw": "focused", "total": None})
    pipe = pipe.model_copy(update={"start": Start(anomalies=0, positives=0)})  # which has more drawn without a model
    found = candidates(Run(pipe, log).crashing_at([len(log) // 2]))
    for number, tile in closed_tiles(pipe, log).items():
        coins = sorted(tile.events)
        k = min(pipe.selection.explore, len(coins))
        drawn = [candidate for candidate in found if candidate.tile == number and candidate.reason == "explore"]
        assert [candidate.event_id for candidate in drawn] == [event for _, event in coins[:k]]
        for candidate in drawn:
            assert candidate.policy == "1/focused"
            spread = 1.0
            if candidate.probabilities is not None:
                spread = 0.1 + 1.8 * math.sqrt(candidate.probabilities[0] * candidate.probabilities[1])
            chance = unit(coins[k][0]) * spread / 0.1 if len(coins) > k else 1.0
            assert candidate.inclusion_probability == pytest.approx(min(chance, 1.0))

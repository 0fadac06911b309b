"""The fraud pipeline's flows, killed while events come: the small one of `make bench-faults`, and its checker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import polars as pl
import pytest

from benchmarks.loop.faults import Outcome, Plan, run
from benchmarks.loop.loop_invariants import Evidence, violations
from tidemark.records import Candidate

PLAN = Plan(
    seed=3, events=6_000, stream_kills=1, select_kills=1, swaps=1, joins=0, broker_restarts=1, gap=0.2, horizon=5.0
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(PLAN, tmp_path_factory.mktemp("storm"))


def test_nothing_is_lost_doubled_or_wrong_whatever_is_killed(outcome: Outcome) -> None:
    evidence = outcome.evidence
    assert len(evidence.raw) == PLAN.events
    assert set(outcome.faults) == {"stream", "select", "swap", "broker"}
    assert violations(outcome.pipeline, evidence) == dict.fromkeys(violations(outcome.pipeline, evidence), 0)
    assert len({prediction.model for prediction in evidence.predictions}) == 2, "the swap reached the stream"
    assert any(prediction.late for prediction in evidence.predictions), "some events are beyond the lateness"
    assert len(evidence.candidates) > 100
    assert max(outcome.takeovers) < 40


def doubled_prediction(evidence: Evidence) -> Evidence:
    return replace(evidence, predictions=[*evidence.predictions, evidence.predictions[0]])


def missing_prediction(evidence: Evidence) -> Evidence:
    return replace(evidence, predictions=evidence.predictions[1:])


def altered_probability(evidence: Evidence) -> Evidence:
    first, *others = evidence.predictions
    given = first.probabilities or [0.5, 0.5]
    changed = msgspec.structs.replace(first, probabilities=[given[0] - 0.001, given[1] + 0.001])
    return replace(evidence, predictions=[changed, *others])


def another_model(evidence: Evidence) -> Evidence:
    first, *others = evidence.predictions
    return replace(evidence, predictions=[msgspec.structs.replace(first, model="v000009-00000000"), *others])


def altered_feature(evidence: Evidence) -> Evidence:
    row = pl.int_range(pl.len()) == 7
    count = pl.col("customer_count_1d")
    return replace(
        evidence, features=evidence.features.with_columns(pl.when(row).then(count + 1).otherwise(count).name.keep())
    )


def missing_features(evidence: Evidence) -> Evidence:
    return replace(evidence, features=evidence.features[1:])


def event_not_handed_on(evidence: Evidence) -> Evidence:
    return replace(evidence, hops={key: records[1:] for key, records in evidence.hops.items()})


def event_handed_on_twice(evidence: Evidence) -> Evidence:
    again = {
        key: [*records, replace(records[-1], offset=records[-1].offset + 1)] for key, records in evidence.hops.items()
    }
    return replace(evidence, hops=again)


def offsets_not_complete(evidence: Evidence) -> Evidence:
    first, *others = evidence.positions
    return replace(evidence, positions=[replace(first, committed=first.committed - 1), *others])


def doubled_candidate(evidence: Evidence) -> Evidence:
    return replace(evidence, candidates=[*evidence.candidates, evidence.candidates[0]])


def missing_candidate(evidence: Evidence) -> Evidence:
    return replace(evidence, candidates=evidence.candidates[:-1])


def tile_above_its_budget(evidence: Evidence) -> Evidence:
    def moved(candidate: Candidate) -> Candidate:
        return msgspec.structs.replace(candidate, tile=evidence.candidates[0].tile)

    return replace(evidence, candidates=[moved(candidate) for candidate in evidence.candidates])


TAMPERINGS: dict[Callable[[Evidence], Evidence], str] = {
    doubled_prediction: "predictions too many",
    missing_prediction: "events not predicted",
    altered_probability: "predictions other than the model's",
    another_model: "predictions other than the model's",
    altered_feature: "features other than offline",
    missing_features: "features other than offline",
    event_not_handed_on: "features other than offline",
    event_handed_on_twice: "features other than offline",
    offsets_not_complete: "partitions not complete",
    doubled_candidate: "candidates too many",
    missing_candidate: "candidates other than chosen again",
    tile_above_its_budget: "candidates above the budget",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_the_checker_counts_what_is_wrong(outcome: Outcome, tampering: Callable[[Evidence], Evidence]) -> None:
    found = violations(outcome.pipeline, tampering(outcome.evidence))
    assert found[TAMPERINGS[tampering]] > 0

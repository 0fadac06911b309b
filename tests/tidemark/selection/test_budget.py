"""Nothing is asked beyond the budget of an hour, of a day and in all, whatever dies and whatever clocks say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.labels.proposal_streams import INCARNATION, Run, pipeline, stream
from tidemark.pipeline.model import Selection
from tidemark.records import Candidate, Metric, decode
from tidemark.runtime.processor import Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.selection.checkpoint import Checkpoint
from tidemark.selection.ledger import Ledger
from tidemark.selection.restart import Stored, anew, ledger

HOUR, DAY = 3_600_000_000, 86_400_000_000


def spending(outputs: list[Output]) -> list[tuple[int, int]]:
    """Kafka's clock (µs) and the cases of each tile, as the metrics tell."""
    metrics = [decode(Metric, output.value) for output in outputs if output.topic == "p.metrics"]
    return [(metric.at, int(metric.value or 0)) for metric in metrics if metric.name == "budget_spent"]


histories = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "partitions": st.integers(1, 3),
        "budget": st.integers(1, 6),
        "total": st.none() | st.integers(6, 40),
        "per_hour": st.none() | st.integers(1, 12),
        "per_day": st.none() | st.integers(1, 30),
        "saved": st.none() | st.sampled_from([0.2, 0.5, 1.0]),
        "apart": st.sampled_from([1_000, 400_000, 3_000_000, 20_000_000]),
        "crashes": st.lists(st.integers(0, 25), max_size=5),
    }
)


def _cost(case: int, other: int | None) -> dict[str, object]:
    plain: dict[str, object] = {"unit": "minutes", "case": case}
    return plain | ({"column": "kind", "of": {"left": other}} if other else {})


costs = st.builds(_cost, st.integers(1, 5), st.none() | st.integers(1, 5))


def run(history: dict[str, int], cost: dict[str, object] | None = None) -> tuple[Selection, list[Output], str]:
    chosen: dict[str, object] = dict(history)
    seed, apart, crashes = (chosen.pop(name) for name in ("seed", "apart", "crashes"))
    assert isinstance(crashes, list)
    if chosen["total"] is None:
        chosen["saved"] = None
    pipe = pipeline(explore=1, policy="margin", **chosen, **({} if cost is None else {"cost": cost}))
    log = stream(pipe, np.random.default_rng(int(str(seed))), records=25, rows=12, pace=150.0)
    flow = Run(pipe, log, apart=int(str(apart)))
    flow.crashing_at(crashes)
    return pipe.selection, flow.committed, flow.metadata


@given(histories)
@settings(max_examples=40, deadline=None)
def test_no_hour_no_day_and_no_history_spends_more_than_it_may_whatever_dies(history: dict[str, int]) -> None:
    selection, outputs, _ = run(history)
    hours, days, in_all = Counter[int](), Counter[int](), 0
    for at, cases in spending(outputs):
        hours[at // HOUR] += cases
        days[at // DAY] += cases
        in_all += cases
        assert cases <= selection.budget
    assert in_all == sum(output.topic == "p.candidates" for output in outputs)
    assert selection.total is None or in_all <= selection.total
    assert selection.per_hour is None or max(hours.values(), default=0) <= selection.per_hour
    assert selection.per_day is None or max(days.values(), default=0) <= selection.per_day


@given(histories, costs)
@settings(max_examples=60, deadline=None)
def test_what_is_asked_costs_no_more_than_it_may_whatever_dies(
    history: dict[str, int], cost: dict[str, object]
) -> None:
    selection, outputs, metadata = run(history, cost)
    came = {metric.detail["tile"]: metric.at for metric in _metrics(outputs)}
    cases = [decode(Candidate, output.value) for output in outputs if output.topic == "p.candidates"]
    hours, days, in_all, tiles = Counter[int](), Counter[int](), 0, Counter[int]()
    for case in cases:
        price = _price(cost, case)
        hours[came[case.tile] // HOUR] += price
        days[came[case.tile] // DAY] += price
        in_all += price
        tiles[case.tile] += 1
    assert max(tiles.values(), default=0) <= selection.budget
    assert selection.total is None or in_all <= selection.total
    assert selection.per_hour is None or max(hours.values(), default=0) <= selection.per_hour
    assert selection.per_day is None or max(days.values(), default=0) <= selection.per_day
    assert not metadata or Checkpoint.decode(metadata).ledger.in_all == in_all
    told = [metric for metric in _metrics(outputs) if metric.name == "budget_spent"]
    assert sum(int(metric.detail["cost"] or 0) for metric in told) == in_all
    assert {metric.detail["unit"] for metric in told} <= {"minutes"}


def _price(cost: dict[str, object], case: Candidate) -> int:
    left = "of" in cost and case.context["kind"] == "left"
    return int(str(cost["of"]["left"] if left else cost["case"]))  # type: ignore[index]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_how_many_cases_are_drawn_at_random_does_not_depend_on_what_they_cost(
    seed: int, case: int, other: int, hour: int
) -> None:
    """Else the drawn ones would be the cheap ones, and their recorded chances wrong."""
    drawn = []
    for left, right in ((case, other), (other, case)):
        cost = _cost(right, left)
        pipe = pipeline(explore=3, budget=3, policy="margin", per_hour=hour, cost=cost, partitions=1)
        log = stream(pipe, np.random.default_rng(seed), records=12, rows=12, pace=150.0)
        flow = Run(pipe, log)
        flow.to(len(log))
        first = min((int(str(metric.detail["tile"])) for metric in _metrics(flow.committed)), default=0)
        cases = [decode(Candidate, each.value) for each in flow.committed if each.topic == "p.candidates"]
        drawn.append(
            [
                (each.event_id, each.inclusion_probability)
                for each in cases
                if each.tile == first and each.reason == "explore"  # what later tiles may spend follows from the first
            ]
        )
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) <= hour // max(case, other)


@given(histories)
@settings(max_examples=20, deadline=None)
def test_a_lost_ledger_is_found_again_in_what_was_asked(history: dict[str, int]) -> None:
    selection, outputs, metadata = run(history)
    counted = selection.per_hour is not None or selection.per_day is not None
    came = {(metric.detail["tile"]): metric.at for metric in _metrics(outputs)}
    stored = [
        Stored(place, came[decode(Candidate, each.value).tile] // 1_000, each.value, None)
        for place, each in enumerate(outputs)
        if each.topic == "p.candidates"
    ]
    chosen = {**history, "saved": history["saved"] if history["total"] else None}
    for name in ("seed", "apart", "crashes"):
        del chosen[name]
    pipe = pipeline(explore=1, policy="margin", **chosen)
    found = Checkpoint.decode(anew(pipe, ledger(pipe, stored, ()))).ledger
    kept = Checkpoint.decode(metadata).ledger
    assert found.in_all == kept.in_all
    if counted and stored:
        later = kept.hour * HOUR
        assert found.at(later).in_hour == kept.in_hour
        assert found.at(later).in_day == kept.in_day


def _metrics(outputs: list[Output]) -> list[Metric]:
    return [decode(Metric, output.value) for output in outputs if output.topic == "p.metrics"]


def test_a_new_hour_may_be_spent_and_one_that_is_over_does_not_come_back() -> None:
    selection = pipeline(budget=5, explore=1, per_hour=3, per_day=5).selection
    first = Ledger().at(10 * HOUR).spent(3)
    assert first.left(selection) == 0
    assert first.at(9 * HOUR).left(selection) == 0
    assert first.at(11 * HOUR).left(selection) == 2
    assert first.at(34 * HOUR).left(selection) == 3


def test_a_timestamp_ahead_of_the_clock_uses_up_no_hour_to_come() -> None:
    pipe = pipeline(budget=2, explore=1, per_hour=100, partitions=1)
    log = stream(pipe, np.random.default_rng(1), records=12, rows=12, pace=300.0, quiet=0.0)
    flow = Run(pipe, log, apart=3_600_000)
    now = flow.came(2) * 1_000
    flow.to(12, processor=SelectProcessor(pipe, lambda: now))
    assert Checkpoint.decode(flow.metadata).ledger.hour == now // HOUR


def test_a_checkpoint_of_a_version_without_hours_is_taken_up() -> None:
    pipe = pipeline(budget=2, explore=1, total=100, partitions=1)
    log = stream(pipe, np.random.default_rng(2), records=12, rows=12, pace=300.0, quiet=0.0)
    flow = Run(pipe, log)
    flow.to(6)
    before = Checkpoint.decode(flow.metadata)
    assert before.ledger.windows == (0, 0, 0, 0)
    flow.pipe = pipeline(budget=2, explore=1, total=100, per_day=before.ledger.in_all + 1, partitions=1)
    flow.to(12)
    after = Checkpoint.decode(flow.metadata).ledger
    assert after.in_all - before.ledger.in_all == after.in_day <= before.ledger.in_all + 1
    processor = SelectProcessor(pipe)
    processor.open(Partition("p.proposals", 0, INCARNATION), flow.metadata)


@pytest.mark.parametrize("saved", [0.25, 0.5, 1.0])
def test_most_is_spent_at_the_start_and_something_is_always_left_for_change(saved: float) -> None:
    selection = pipeline(budget=20, explore=1, total=1_000, saved=saved).selection
    book = Ledger()
    asked: list[int] = []
    while (left := book.left(selection)) and len(asked) < 5_000:
        asked.append(min(book.allowance(selection), left))
        book = book.spent(asked[-1])
    assert book.in_all == 1_000
    assert asked == sorted(asked, reverse=True)
    whole = int((1 - saved) * 1_000 / 20)
    assert asked[:whole] == [20] * whole
    assert len(asked) > 2 * 1_000 * saved / 20 + whole

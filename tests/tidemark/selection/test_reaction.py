"""An alarm of drift: for a time tiles ask more and draw more at random, within its bound, whatever dies."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.labels.proposal_streams import Record, Run, pipeline, stream
from tidemark.pipeline.model import Drift, Pipeline
from tidemark.records import Candidate, Metric, decode
from tidemark.selection.checkpoint import Checkpoint, encoded_size
from tidemark.selection.ledger import Ledger
from tidemark.selection.reaction import widest
from tidemark.selection.restart import Stored, anew, ledger

APART = 60_000
MINUTE = 60_000_000


def reacting(reaction: dict[str, object] | None = None, **selection: object) -> Pipeline:
    plain = pipeline(**{"budget": 4, "explore": 1, "policy": "margin", "partitions": 1, **selection})
    drift = {"reaction": {"lasts": "10m", "budget": 3.0, "explore": 2.0, "most": 20, **(reaction or {})}}
    return plain.model_copy(update={"drift": Drift.model_validate(drift)})


def log(pipe: Pipeline, seed: int = 0, records: int = 40) -> list[Record]:
    return stream(pipe, np.random.default_rng(seed), records=records, rows=40, pace=80.0, quiet=0.0)


def tiles(run: Run) -> list[Metric]:
    found = [decode(Metric, each.value) for each in run.committed if each.topic == "p.metrics"]
    return [each for each in found if each.name == "budget_spent"]


def played(pipe: Pipeline, records: list[Record], crashes: list[int], alarms: list[int]) -> Run:
    run = Run(pipe, records, step=1, apart=APART, alarms=alarms)
    run.crashing_at(crashes)
    return run


def test_after_an_alarm_more_is_asked_and_drawn_for_a_time_and_then_as_before() -> None:
    pipe = reacting({"most": 1_000})
    run = played(pipe, log(pipe), [], [10])
    alarm = run.came(10) * 1_000
    during = [each for each in tiles(run) if alarm <= each.at < alarm + 10 * MINUTE]
    others = [each for each in tiles(run) if each not in during]
    assert len(during) > 3
    assert others[-1].at > alarm + 10 * MINUTE
    assert max(each.value or 0 for each in others) == 4
    assert {each.detail["explore"] for each in others} == {1}
    assert "follows_until" not in others[-1].detail
    assert max(each.value or 0 for each in during) == 12
    assert {each.detail["explore"] for each in during if each.n > 2} == {2}
    assert during[0].detail["follows_until"] == alarm + 10 * MINUTE
    assert during[-1].detail["extra"] == sum(max(int(each.value or 0) - 4, 0) for each in during)


def test_random_cases_have_the_chance_that_they_had_during_a_reaction_too() -> None:
    pipe = reacting({"explore": 3.0})
    records = log(pipe, 3)
    run = played(pipe, records, [], [8])
    coins: dict[int, list[int]] = {}
    for record in records:
        for tile, coin in zip(record.tile.tolist(), record.coin.tolist(), strict=True):
            coins.setdefault(tile, []).append(coin)
    cases = [decode(Candidate, each.value) for each in run.committed if each.topic == "p.candidates"]
    drawn = [each for each in cases if each.reason == "explore"]
    by_tile = {each.tile: sum(other.tile == each.tile for other in drawn) for each in drawn}
    assert set(by_tile.values()) == {1, 3}
    checked = 0
    for case in drawn:
        held = sorted(coins.get(case.tile, []))
        if case.tile_count == len(held) and len(held) > by_tile[case.tile]:  # no late rows came to it
            assert case.inclusion_probability is not None
            assert abs(case.inclusion_probability - held[by_tile[case.tile]] / 2**64) < 1e-9
            checked += 1
    assert checked > 5


def test_alarms_that_come_while_one_is_followed_begin_nothing_more() -> None:
    pipe = reacting({"most": 15})
    records = log(pipe)
    assert tiles(played(pipe, records, [], [10, 12, 17])) == tiles(played(pipe, records, [], [10]))
    twice = tiles(played(pipe, records, [], [10, 22]))
    assert sum(max(int(each.value or 0) - 4, 0) for each in twice) == 30


histories = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "most": st.integers(1, 30),
        "alarms": st.lists(st.integers(0, 24), max_size=4),
        "crashes": st.lists(st.integers(0, 25), max_size=5),
        "total": st.none() | st.integers(6, 80),
        "per_hour": st.none() | st.integers(4, 40),
        "saved": st.none() | st.sampled_from([0.3, 1.0]),
    }
)


@given(histories)
@settings(max_examples=25, deadline=None)
def test_no_bound_is_broken_and_a_crash_changes_nothing_whatever_alarms_come(history: dict[str, object]) -> None:
    bounds = {name: history[name] for name in ("total", "per_hour")}
    saved = history["saved"] if history["total"] else None
    pipe = reacting({"most": history["most"]}, **bounds, saved=saved)
    alarms = history["alarms"]
    crashes = history["crashes"]
    assert isinstance(alarms, list)
    assert isinstance(crashes, list)
    records = log(pipe, int(str(history["seed"])), records=25)
    run = played(pipe, records, crashes, alarms)
    assert tiles(run) == tiles(played(pipe, records, [], alarms))
    asked = [int(each.value or 0) for each in tiles(run)]
    assert pipe.selection.total is None or sum(asked) <= pipe.selection.total
    extra: dict[object, int] = {}
    for each in tiles(run):
        if "alarm" in each.detail:
            extra[each.detail["alarm"]] = int(str(each.detail["extra"]))
        else:
            assert (each.value or 0) <= 4
    assert pipe.drift.reaction is not None
    assert all(found <= pipe.drift.reaction.most for found in extra.values())
    usual = 4 * len(asked)
    assert sum(asked) <= usual + sum(extra.values())
    hours: dict[int, int] = {}
    for each in tiles(run):
        hours[each.at // (60 * MINUTE)] = hours.get(each.at // (60 * MINUTE), 0) + int(each.value or 0)
    assert pipe.selection.per_hour is None or max(hours.values(), default=0) <= pipe.selection.per_hour


def test_what_is_saved_for_change_is_spent_after_an_alarm() -> None:
    pipe = reacting({"most": 100, "lasts": "1h"}, total=300, saved=1.0)
    records = log(pipe)
    calm, alarmed = played(pipe, records, [], []), played(pipe, records, [], [20])
    assert tiles(calm)[-1].value == 1
    assert sum(int(each.value or 0) for each in tiles(calm)) < 200
    assert sum(int(each.value or 0) for each in tiles(alarmed)) > 220


def test_a_lost_ledger_knows_the_alarm_that_is_followed() -> None:
    pipe = reacting({"most": 1_000, "lasts": "1h"})
    run = played(pipe, log(pipe), [], [10])
    kept = Checkpoint.decode(run.metadata).ledger
    metrics = [Stored(at, 0, each.value, None) for at, each in enumerate(run.committed) if each.topic == "p.metrics"]
    found = Checkpoint.decode(anew(pipe, ledger(pipe, (), metrics))).ledger
    assert (found.alarm, found.extra) == (kept.alarm, kept.extra)
    assert kept.extra > 0


@given(st.integers(1, 300), st.booleans(), st.integers(1, 2**61), st.integers(0, 2**40))
def test_a_checkpoint_tells_the_alarm_and_is_as_long_as_was_said(
    partitions: int, hours: bool, alarm: int, extra: int
) -> None:
    empty = Run(pipeline(budget=2, explore=1, partitions=partitions), [])
    empty.to(0)
    processor_made = Checkpoint.decode(played(reacting(), log(reacting(), records=3), [], []).metadata)
    plain = Ledger(7, 5, 2, 3, 2) if hours else Ledger(7)
    ledger = replace(plain, alarm=alarm, extra=extra)
    watermarks = replace(processor_made.watermarks, times=(None,) * partitions, idle=(False,) * partitions)
    text = replace(processor_made, ledger=ledger, watermarks=watermarks).encode()
    assert Checkpoint.decode(text).ledger == ledger
    assert len(text) == encoded_size(partitions, windows=hours, alarm=True)


def test_a_pipeline_that_follows_no_alarm_is_as_it_was() -> None:
    plain = partial(pipeline, budget=4, explore=1, policy="margin", partitions=1)
    records = log(plain())
    assert played(plain(), records, [], [5]).committed == played(plain(), records, [], []).committed


def test_the_largest_budget_is_not_raised_beyond_what_a_file_may_say() -> None:
    pipe = reacting({"budget": 100.0}, budget=1_000_000_000)
    assert widest(pipe).budget == 1_000_000_000
    assert widest(reacting({"budget": 100.0}, budget=4)).budget == 400

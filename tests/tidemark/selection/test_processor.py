import math
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from benchmarks.labels.proposal_streams import Events, Record, Run, pipeline, propose, silence, stream
from tidemark.errors import ConfigError, TopicError
from tidemark.pipeline.model import Pipeline, Start
from tidemark.records import Candidate, Metric, decode
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.selection.proposals import decode_proposals, encode_proposals

PARTITION = Partition("p.proposals", 0, "0badcafe")


def events(times: list[int], partition: int = 0, start: int = 0, positive: list[float] | None = None) -> Events:
    n = len(times)
    return Events(
        partition,
        np.arange(start, start + n),
        np.array(times),
        np.full(n, np.nan) if positive is None else np.array(positive),
        np.zeros((n, 2)),
    )


def chosen(outputs: list[Output]) -> list[Candidate]:
    return [decode(Candidate, output.value) for output in outputs if output.topic == "p.candidates"]


def single(**selection: object) -> Pipeline:
    return pipeline(partitions=1, **{"policy": "margin_kmeans", **selection})


def test_exploration_cases_come_before_any_active_one() -> None:
    pipe = single(budget=6, explore=2, policy="margin")
    log = [propose(pipe, events([1, 2, 3, 4, 5, 6, 7, 8, 2_000], positive=[0.5, 0.1, 0.4, 0.9, 1, 0, 0.45, 0.3, 0]), 0)]
    found = chosen(Run(pipe, log).crashing_at([]))
    assert [candidate.reason for candidate in found] == ["explore"] * 2 + ["uncertain"] * 4
    priorities = [candidate.priority for candidate in found]
    assert priorities == sorted(priorities, reverse=True)
    assert priorities[1] == 1.0 > priorities[2]


def test_margin_asks_for_the_highest_scores_that_were_not_drawn() -> None:
    pipe = single(budget=4, explore=1, policy="margin")
    positive = [0.5, 0.1, 0.4, 0.9, 1.0, 0.0, 0.45, 0.3]
    log = [propose(pipe, events([*range(8), 2_000], positive=[*positive, 0.0]), 0)]
    drawn, *active = chosen(Run(pipe, log).crashing_at([]))
    ranked = sorted((abs(2 * p - 1), offset) for offset, p in enumerate(positive))
    expected = [f"p.raw-0-{offset}-0badcafe" for _, offset in ranked]
    assert [candidate.event_id for candidate in active] == [e for e in expected if e != drawn.event_id][:3]


def test_a_candidate_carries_what_the_person_and_the_learner_need() -> None:
    pipe = single(budget=1, explore=1, expires_after="2s")
    log = [propose(pipe, events([4, 1_000], positive=[0.25, 0.5]), 0)]
    assert chosen(Run(pipe, log).crashing_at([])) == [
        Candidate(
            event_id="p.raw-0-0-0badcafe",
            business_id=None,
            key="k",
            time=4,
            tile=0,
            tile_count=1,
            reason="explore",
            priority=1.0,
            inclusion_probability=1.0,
            policy="1",
            features={"x": 0.0, "y": 0.0},
            context={"x": 0.0},
            probabilities=[0.75, 0.25],
            uncertainty=0.5,
            model="m1",
            expires_at=1_700_000_000_000_000 + 2_000_000,
        )
    ]


def test_candidates_are_keyed_by_event_and_metrics_by_name() -> None:
    pipe = single(budget=2, explore=1)
    pipe = pipe.model_copy(update={"start": Start(anomalies=0, positives=0)})  # which has more drawn of a young model
    outputs = Run(pipe, [propose(pipe, events([4, 5, 1_000]), 0)]).crashing_at([])
    assert [output.key for output in outputs] == [
        *(candidate.event_id.encode() for candidate in chosen(outputs)),
        b"budget_spent",
        b"budget_offered",
        b"tile_events",
    ]
    metric = decode(Metric, outputs[2].value)
    assert metric.value == 2
    assert metric.detail == {
        "tile": 0,
        "explore": 1,
        "active": 1,
        "budget": 2,
        "spent_in_all": 2,
        "total": None,
        "policy": "1",
    }


def test_events_of_a_closed_tile_count_in_the_first_open_one() -> None:
    pipe = pipeline(partitions=2, budget=9, explore=9)
    log = [
        silence(pipe, 1, None),
        propose(pipe, events([10, 3_500]), None),
        propose(pipe, events([20, 30], partition=1), None),
        propose(pipe, events([4_100], partition=1, start=2), 30),
        propose(pipe, events([4_200], start=2), 3_500),
    ]
    found = chosen(Run(pipe, log, 1).crashing_at([2, 3]))
    assert [
        (candidate.event_id, candidate.tile, candidate.tile_count) for candidate in found if candidate.tile == 0
    ] == [("p.raw-0-0-0badcafe", 0, 1)]
    assert {candidate.event_id for candidate in found if candidate.tile == 3} == {
        "p.raw-0-1-0badcafe",
        "p.raw-1-0-0badcafe",
        "p.raw-1-1-0badcafe",
    }


def test_silence_of_all_partitions_closes_no_tile_that_time_has_not_passed() -> None:
    pipe = single(budget=5, explore=5)
    log = [propose(pipe, events([10, 20]), None), silence(pipe, 0, 20), silence(pipe, 0, 20)]
    assert Run(pipe, log).crashing_at([]) == []


def test_a_partition_that_never_spoke_holds_tiles_open_until_it_is_idle() -> None:
    pipe = pipeline(partitions=2, budget=5, explore=5)
    log = [propose(pipe, events([10, 5_000]), None)]
    assert Run(pipe, log).crashing_at([]) == []
    assert len(chosen(Run(pipe, [*log, silence(pipe, 1, None)]).crashing_at([]))) == 1


def test_the_total_is_never_exceeded_and_exploration_goes_first_when_it_runs_short() -> None:
    pipe = single(budget=4, explore=2, total=5)
    log = [propose(pipe, events([*range(tile * 1_000, tile * 1_000 + 9)], start=9 * tile), None) for tile in range(5)]
    found = chosen(Run(pipe, log).crashing_at([2, 4]))
    assert [(candidate.tile, candidate.reason) for candidate in found] == [
        *[(0, "explore")] * 2,
        *[(0, "cold")] * 2,
        (1, "explore"),
    ]


def test_what_one_tile_leaves_of_its_budget_is_not_spent_in_another() -> None:
    pipe = single(budget=5, explore=2)
    log = [propose(pipe, events([1, *range(1_000, 1_020), 2_000]), None)]
    found = chosen(Run(pipe, log).crashing_at([]))
    assert [sum(candidate.tile == tile for candidate in found) for tile in (0, 1)] == [1, 5]


def test_a_stream_that_still_proposes_for_a_smaller_draw_lowers_the_draw_and_stays_exact() -> None:
    old, new = single(budget=9, explore=2), single(budget=9, explore=6)
    many = events([*range(40), 1_000], positive=[0.9] * 41)
    outputs = Run(new, [propose(old, many, None)]).crashing_at([])
    as_before = Run(old, [propose(old, many, None)]).crashing_at([])
    drawn = [candidate for candidate in chosen(outputs) if candidate.reason == "explore"]
    assert drawn == [candidate for candidate in chosen(as_before) if candidate.reason == "explore"]
    assert len(drawn) == 2
    assert len(chosen(outputs)) == 9


def test_a_replay_gives_no_output() -> None:
    pipe = single(budget=2, explore=1)
    processor = SelectProcessor(pipe)
    processor.open(PARTITION, "")
    record = propose(pipe, events([1, 5_000]), None)
    batch = Batch(PARTITION, np.array([3]), np.array([0]), [None], [record.value], [record.headers], replay=True)
    assert processor.process(batch) == []


def altered(record: Record, **meta: object) -> Record:
    decoded = decode_proposals(record.value, record.headers)
    value, headers = encode_proposals(msgspec.structs.replace(decoded.meta, **meta), decoded.rows)
    return replace(record, value=value, headers=list(headers))


def with_rows(record: Record, rows: pl.Expr) -> Record:
    decoded = decode_proposals(record.value, record.headers)
    value, headers = encode_proposals(decoded.meta, decoded.rows.with_columns(rows))
    return replace(record, value=value, headers=list(headers))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda record: replace(record, value=b"{}"), "not an Arrow IPC stream"),
        (lambda record: replace(record, headers=[]), "no header 'meta'"),
        (lambda record: altered(record, partition=3), "partitions 0 to 2"),
        (lambda record: altered(record, topic="other"), "proposals of 'other'"),
        (lambda record: altered(record, tiles={0: 1}), "rows of tile 4"),
        (lambda record: altered(record, tiles={0: 1, 4: 1}), "2 exploration rows for 1 events of tile 4"),
        (lambda record: altered(record, tiles={0: 1, 4: 2, 7: 1}), "0 exploration rows for 1 events of tile 7"),
        (lambda record: with_rows(record, pl.lit(None, pl.String).alias("event_id")), "proposals without event_id"),
    ],
)
def test_a_malformed_record_is_a_dead_letter_and_selection_goes_on(fault: object, reason: str) -> None:
    assert callable(fault)
    pipe = pipeline(partitions=3, budget=5, explore=5)
    good = [propose(pipe, events([9, 4_000, 4_001]), None), silence(pipe, 1, None), silence(pipe, 2, None)]
    outputs = Run(pipe, [fault(good[0]), *good]).crashing_at([])
    dead = [output for output in outputs if output.topic == "p.deadletter"]
    assert [reason in dict(letter.headers)["reason"].decode() for letter in dead] == [True]
    rest = [output for output in outputs if output.topic != "p.deadletter"]
    assert rest == Run(pipe, [good[1], *good]).crashing_at([])


def test_partitions_may_be_added_while_a_tile_is_open() -> None:
    small, large = pipeline(partitions=1, budget=9, explore=9), pipeline(partitions=2, budget=9, explore=9)
    log = [
        propose(small, events([10, 1_500]), None),
        propose(small, events([1_600], start=2), 1_500),
        silence(large, 1, None),
        propose(large, events([3_000], start=3), 1_600),
    ]
    run = Run(small, log, 1)
    run.to(2)
    run.pipe = large
    run.to(4)
    assert [
        (candidate.tile, candidate.event_id) for candidate in sorted(chosen(run.committed), key=lambda c: c.time)
    ] == [
        (0, "p.raw-0-0-0badcafe"),
        (1, "p.raw-0-1-0badcafe"),
        (1, "p.raw-0-2-0badcafe"),
    ]


def test_a_changed_tile_length_and_fewer_partitions_are_refused_with_what_to_do() -> None:
    pipe = pipeline(budget=2, explore=1)
    run = Run(pipe, stream(pipe, np.random.default_rng(1), records=9, rows=9, pace=50.0))
    run.to(9)
    with pytest.raises(ConfigError, match="set it back, or run under another name"):
        SelectProcessor(pipeline(budget=2, explore=1, tile="2ms")).open(PARTITION, run.metadata)
    with pytest.raises(ConfigError, match="never shrink"):
        SelectProcessor(pipeline(budget=2, explore=1, partitions=2)).open(PARTITION, run.metadata)


def test_a_second_partition_of_proposals_is_refused() -> None:
    processor = SelectProcessor(pipeline(budget=2, explore=1))
    with pytest.raises(TopicError, match="recreate it with one"):
        processor.open(Partition("p.proposals", 1, "0badcafe"), "")


def test_more_partitions_than_a_checkpoint_holds_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="use at most"):
        SelectProcessor(pipeline(budget=2, explore=1, partitions=500))


def test_closing_drops_the_state() -> None:
    processor = SelectProcessor(pipeline(budget=2, explore=1))
    processor.open(PARTITION, "")
    processor.close(PARTITION)
    with pytest.raises(RuntimeError, match="before it was opened"):
        processor.metadata(PARTITION)


def test_selection_reads_one_topic_and_needs_neither_ticks_nor_alignment() -> None:
    processor = SelectProcessor(pipeline(budget=2, explore=1))
    assert list(processor.topics) == ["p.proposals"]
    assert processor.tick(1.0) == []
    assert processor.event_time(Batch(PARTITION, np.empty(0, np.int64), np.empty(0, np.int64), [], [])) is None


def test_missing_features_and_scores_are_null_in_json() -> None:
    pipe = single(budget=1, explore=1)
    batch = Events(0, np.array([0, 1]), np.array([1, 1_000]), np.full(2, math.nan), np.full((2, 2), math.nan))
    (candidate,) = chosen(Run(pipe, [propose(pipe, batch, None)]).crashing_at([]))
    assert candidate.features == {"x": None, "y": None}
    assert candidate.uncertainty is None
    assert candidate.probabilities is None
    assert candidate.model == "none"


def test_a_watermark_beyond_kafkas_timestamp_closes_no_tile_and_opens_none_there() -> None:
    pipe = single(budget=1, explore=1)
    far = 253_339_228_800_000_000
    log = [
        propose(pipe, events([4, 1_000]), 0),
        propose(pipe, events([far, far + 1], start=2), 0),
        propose(pipe, events([1_700_000_000_100_000, 1_700_000_100_000_000], start=4), 0),
    ]
    asked = chosen(Run(pipe, log).crashing_at([1, 2]))
    newest = (1_700_000_000_002_000 + pipe.time.most_skew) // pipe.selection.tile
    assert asked[0].tile == 0
    assert max(candidate.tile for candidate in asked) <= newest
    assert len(asked) >= 2, "selection goes on"

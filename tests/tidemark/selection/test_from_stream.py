"""What the real stream processor proposes, through selection and the monitor: their contracts meet."""

import numpy as np
import pytest
from selecting import closed_tiles
from streaming import START, MemoryEngine, Model, Models, load_rows, purchases, shop

from benchmarks.labels.proposal_streams import Record, Run
from kernels import coin, hash64, unit
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate, Prediction, decode
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection.proposals import decode_proposals


def proposed(engine: MemoryEngine) -> list[Record]:
    """Records of proposals in the order of their commits, each with all events behind it, as the predictions tell."""
    log: list[Record] = []
    watermarks: dict[int, int] = {}
    events: list[Prediction] = []
    for partition, output in engine.outputs:
        if output.topic == engine.pipeline.topics.predictions:
            events.append(decode(Prediction, output.value))
        if output.topic != engine.pipeline.topics.proposals:
            continue
        meta = decode_proposals(output.value, list(output.headers)).meta
        before = watermarks.get(partition.index, -(2**63))
        reached = np.maximum(np.maximum.accumulate([event.time for event in events]), before)
        tiles = reached // engine.pipeline.selection.tile
        assert dict(zip(*(part.tolist() for part in np.unique(tiles, return_counts=True)), strict=True)) == meta.tiles
        watermarks[partition.index] = int(reached[-1])
        assert meta.watermark == watermarks[partition.index]
        positions = [parse_event_id(event.event_id) for event in events]
        coins = [
            coin(hash64(f"{p.topic}@{p.incarnation}".encode()), p.partition, np.array([p.offset]), hash64(b"1"))[0]
            for p in positions
        ]
        ids = [event.event_id for event in events]
        assert output.value is not None
        log.append(
            Record(
                output.value,
                list(output.headers),
                partition.index,
                meta.watermark,
                ids,
                tiles,
                np.array(coins, np.uint64),
            )
        )
        events = []
    return log


@pytest.mark.parametrize("keys", [1, 2])
@pytest.mark.parametrize("policy", ["margin", "badge", "random"])
@pytest.mark.parametrize("model", [Model(), None], ids=["model", "cold"])
def test_the_draw_from_real_proposals_is_that_of_all_predicted_events(
    keys: int, policy: str, model: Model | None
) -> None:
    # The start leaves more to chance than what is reserved for it.
    reserved = changed(shop(keys=keys, policy=policy), start={"anomalies": 0, "positives": 0})
    engine = MemoryEngine(reserved, Models(model))
    load_rows(engine, purchases(4, 300, keys=20))  # rows in each partition, of the hop too
    rng = np.random.default_rng(1)
    lanes = list(engine.logs)
    for _ in range(400):
        engine.step(lanes[rng.integers(len(lanes))], int(rng.integers(1, 12)))
    engine.drain()
    pipeline, log = engine.pipeline, proposed(engine)
    outputs = Run(pipeline, log).crashing_at([5, 17, len(log) // 2])
    assert not [output for output in outputs if output.topic == pipeline.topics.deadletter]
    found = [decode(Candidate, o.value) for o in outputs if o.topic == pipeline.topics.candidates]
    tiles = closed_tiles(pipeline, log)
    assert len(tiles) > 3
    k = pipeline.selection.budget if policy == "random" else pipeline.selection.explore
    for number, tile in tiles.items():
        coins = sorted(tile.events)
        drawn = [candidate for candidate in found if candidate.tile == number and candidate.reason == "explore"]
        assert [candidate.event_id for candidate in drawn] == [event for _, event in coins[:k]]
        expected = unit(coins[k][0]) if len(coins) > k else 1.0
        assert {candidate.inclusion_probability for candidate in drawn} <= {expected}
        assert sum(candidate.tile == number for candidate in found) == min(pipeline.selection.budget, len(coins))
    assert all(list(candidate.features) == pipeline.feature_names for candidate in found)
    assert all(list(candidate.context) == pipeline.label.context for candidate in found)
    reasons = {"margin": "uncertain", "badge": "diverse", "random": "explore"}
    allowed = {"explore", reasons[policy] if model or policy == "random" else "cold"}
    assert {candidate.reason for candidate in found} == allowed


def candidates_of(engine: MemoryEngine) -> list[Candidate]:
    """What is asked of a stream of purchases, over crashes."""
    load_rows(engine, purchases(7, 400, keys=12))
    engine.drain()
    log = proposed(engine)
    outputs = Run(engine.pipeline, log).crashing_at([3, len(log) // 2])
    assert not [output for output in outputs if output.topic == engine.pipeline.topics.deadletter]
    return [decode(Candidate, o.value) for o in outputs if o.topic == engine.pipeline.topics.candidates]


def changed(pipeline: Pipeline, **sections: dict[str, object]) -> Pipeline:
    content = pipeline.model_dump(mode="json")
    for section, values in sections.items():
        content[section] |= values
    return Pipeline.model_validate(content)


def test_an_experts_rule_names_what_is_asked_about_before_there_is_a_model() -> None:
    """From the pipeline file to the candidates, by the real stream processor."""
    pipeline = changed(
        shop(keys=1),
        selection={"budget": 6, "tile": "60s"},
        start={"rule": "amount > 30 AND ratio > 1", "anomalies": 0},
    )
    engine = MemoryEngine(pipeline, Models(None))
    found = candidates_of(engine)
    cold = [each for each in found if each.reason == "cold"]
    named = [(each.features["amount"] or 0) > 30 and (each.features["ratio"] or 0) > 1 for each in cold]
    assert sum(named) > 5
    for tile in {each.tile for each in cold}:
        told = [name for name, each in zip(named, cold, strict=True) if each.tile == tile]
        assert told == sorted(told, reverse=True)  # first what the rule names
    drawn = [each for each in found if each.reason == "explore"]
    assert len(drawn) > len(found) / 5


@pytest.mark.parametrize("keys", [1, 2])
def test_each_segment_is_asked_about_by_a_model_that_is_sure_of_all_its_events(keys: int) -> None:
    segments = {"column": "place", "least": 0.05}
    pipeline = changed(shop(keys=keys), selection={"budget": 4, "tile": "60s", "segments": segments})
    with_floors = candidates_of(MemoryEngine(pipeline, Models(Model())))
    places = {each.context["place"] for each in with_floors}
    assert places == {row["place"] for row in purchases(7, 400, keys=12)}


def test_the_monitor_takes_in_every_real_prediction() -> None:
    engine = MemoryEngine(shop())
    load_rows(engine, purchases(4, 100))
    engine.drain()
    monitor = MonitorProcessor(engine.pipeline)
    rest: list[Output] = []
    for index, values in engine.predictions().items():
        partition = Partition(engine.pipeline.topics.predictions, index, "0badcafe")
        assert monitor.open(partition, "") is None
        n = len(values)
        numbers = np.arange(n, dtype=np.int64)
        written = START // 1_000 + numbers
        rest += monitor.process(Batch(partition, numbers, written, [None] * n, list(values), [None] * n))
    assert rest == []
    assert len(monitor.join.joined.predictions) == 100

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streaming import START, MemoryEngine, Model, Models, load_rows, purchases, shop

from kernels import coin, hash64
from tidemark.errors import ModelError, TopicError
from tidemark.records import Prediction, decode
from tidemark.registry.label_counts import LabelCounts
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection.proposals import decode_proposals, ranked
from tidemark.selection.start import share_of_odd
from tidemark.stream import StreamProcessor
from tidemark.stream.checkpoint import Position, pack, unpack
from tidemark.stream.hops import decode_hop, encode_hop

RAW = Partition("shop.raw", 1, "0000aaaa")
PLACE = Partition("shop.by-place", 0, "0000bbbb")
ROW: dict[str, object] = {"id": "P1", "at": START, "who": "w", "place": 3, "amount": 2.5, "kind": "a"}


def value(**fields: object) -> bytes:
    return json.dumps(ROW | fields).encode()


def predictions(outputs: list[Output]) -> list[Prediction]:
    return [decode(Prediction, o.value) for o in outputs if o.topic == "shop.predictions"]


def one_key_batch(engine: MemoryEngine, values: list[bytes | None]) -> list[Output]:
    for content in values:
        engine.produce(RAW, content)
    return engine.processor.process(engine.batch(RAW, engine.waiting(RAW)))


def test_a_prediction_says_what_it_is_of_and_which_model_made_it() -> None:
    engine = MemoryEngine(shop(keys=1))
    outputs = one_key_batch(engine, [value(), value(id="P2", kind="ü", amount=None, at=START + 1_000_000)])
    first, second = predictions(outputs)
    assert first.event_id == "shop.raw-1-0-0000aaaa"
    assert (first.business_id, first.key, first.time, first.model, first.late) == ("P1", "w", START, "v1", False)
    assert (second.event_id, second.business_id) == ("shop.raw-1-1-0000aaaa", "P2")
    assert first.probabilities is not None
    assert first.uncertainty == pytest.approx(1 - abs(first.probabilities[0] - first.probabilities[1]))
    assert [o.key for o in outputs if o.topic == "shop.predictions"] == [b"w", b"w"]


def test_bad_records_are_dead_letters_as_they_came_and_the_rest_goes_on() -> None:
    engine = MemoryEngine(shop(keys=1))
    outputs = one_key_batch(engine, [value(), b"{", None, b"", value(amount="x"), value(id="P5")])
    letters = [o for o in outputs if o.topic == "shop.deadletter"]
    assert [letter.value for letter in letters] == [b"{", None, b"", value(amount="x")]
    headers = dict(letters[-1].headers)
    assert headers["source_topic"] == b"shop.raw"
    assert headers["source_partition"] == b"1"
    assert headers["source_offset"] == str(engine.logs[RAW][4].offset).encode()
    assert headers["reason"] == b'amount: expected a number within 64 bits, got "x"'
    assert [p.business_id for p in predictions(outputs)] == ["P1", "P5"]


def test_a_row_that_an_expression_cannot_handle_is_a_dead_letter() -> None:
    pipeline = shop(keys=1)
    features = [f.model_copy(update={"sql": "CAST(kind AS INT)", "categories": None}) for f in pipeline.features[1:2]]
    pipeline = pipeline.model_copy(update={"features": [pipeline.features[0], *features, pipeline.features[2]]})
    engine = MemoryEngine(pipeline)
    outputs = one_key_batch(engine, [value(kind=str(i) if i != 3 else "three", id=f"P{i}") for i in range(6)])
    (letter,) = [o for o in outputs if o.topic == "shop.deadletter"]
    assert dict(letter.headers)["step"] == b"features"
    assert b"three" in dict(letter.headers)["reason"]
    assert [p.business_id for p in predictions(outputs)] == ["P0", "P1", "P2", "P4", "P5"]


def test_functions_of_the_users_give_features_and_their_failures_are_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import polars as pl\n\n"
    source += "def length(frame: pl.DataFrame) -> pl.Series:\n"
    source += "    if (frame['kind'] == 'boom').any():\n        raise RuntimeError('no such kind')\n"
    source += "    return frame['kind'].str.len_chars()\n\n"
    source += "def first(frame: pl.DataFrame) -> pl.Series:\n    return frame['kind'].str.slice(0, 1)\n\n"
    source += "def total(frame: pl.DataFrame) -> pl.Series:\n    return frame['length'] + frame['who_count']\n"
    (tmp_path / "kinds.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    pipeline = shop(keys=1, features_topic=True)
    feature, derived = pipeline.features[0], pipeline.derived[0]
    pipeline = pipeline.model_copy(
        update={
            "features": [
                *pipeline.features,
                feature.model_copy(update={"name": "length", "function": "kinds:length"}),
                feature.model_copy(update={"name": "initial", "function": "kinds:first", "categories": ["a", "l"]}),
            ],
            "derived": [derived.model_copy(update={"name": "total", "sql": None, "function": "kinds:total"})],
        }
    )
    engine = MemoryEngine(pipeline)
    outputs = one_key_batch(engine, [value(kind=kind) for kind in ("a", "boom", "long", None)])
    (letter,) = [o for o in outputs if o.topic == "shop.deadletter"]
    assert dict(letter.headers)["reason"] == b"length: RuntimeError: no such kind"
    (record,) = [o for o in outputs if o.topic == "shop.features"]
    features = pl.read_ipc_stream(record.value or b"").fill_nan(None)
    assert features["length"].to_list() == [1.0, 4.0, None]
    assert features["initial"].to_list() == [0.0, 1.0, None]
    assert features["total"].to_list() == [1.0, 5.0, None]
    nothing = engine.batch(RAW, engine.logs[RAW][1:2])
    assert [o.topic for o in engine.processor.process(nothing)] == ["shop.deadletter"]


def test_a_key_that_cleaning_makes_null_is_a_dead_letter() -> None:
    pipeline = shop(keys=1).model_copy(update={"clean": ["CASE WHEN who = '?' THEN NULL ELSE who END AS who"]})
    outputs = one_key_batch(MemoryEngine(pipeline), [value(who="?"), value(id="P2")])
    (letter,) = [o for o in outputs if o.topic == "shop.deadletter"]
    assert b"who: became null by cleaning" in dict(letter.headers)["reason"]
    assert [p.business_id for p in predictions(outputs)] == ["P2"]


def test_a_batch_without_a_good_row_gives_dead_letters_only() -> None:
    engine = MemoryEngine(shop(keys=1))
    outputs = one_key_batch(engine, [b"{", None])
    assert [o.topic for o in outputs] == ["shop.deadletter"] * 2
    assert engine.processor.event_time(engine.batch(RAW, engine.waiting(RAW))) is None


def test_a_record_that_is_no_hop_is_a_dead_letter() -> None:
    engine = MemoryEngine(shop(keys=2))
    engine.produce(RAW, value())
    engine.step(RAW, 1)
    source = next(p for p, log in engine.logs.items() if p.topic == PLACE.topic and log)
    good = engine.logs[source][0]
    narrow = decode_hop(good.value, good.headers)
    lacking, headers = encode_hop(narrow.origins, narrow.rows.drop("_key_1"))
    beyond, _ = encode_hop(narrow.origins, narrow.rows.with_columns(_origin=pl.lit(1, pl.UInt32)))
    engine.produce(source, b"no arrow", headers=good.headers)
    engine.produce(source, good.value)
    engine.produce(source, good.value, headers=[("origins", b"[[")])
    engine.produce(source, None, headers=good.headers)
    engine.produce(source, lacking, headers=list(headers))
    engine.produce(source, beyond, headers=list(headers))
    outputs = engine.processor.process(engine.batch(source, engine.waiting(source)))
    reasons = [dict(o.headers)["reason"].decode() for o in outputs if o.topic == "shop.deadletter"]
    expected = [
        "not an Arrow IPC stream",
        "no header 'origins'",
        "header 'origins' of a hop",
        "empty value",
        "lacks _key_1",
        "beyond its 1",
    ]
    assert len(reasons) == len(expected)
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True)), reasons
    assert len(predictions(outputs)) == 1


def test_without_a_model_predictions_say_so_and_a_random_few_are_proposed() -> None:
    pipeline = shop(keys=1)
    few = pipeline.start.model_copy(update={"pool": 6})
    engine = MemoryEngine(pipeline.model_copy(update={"start": few}), Models(None))
    outputs = one_key_batch(engine, [value(id=f"P{i}") for i in range(40)])
    assert {(p.model, p.probabilities, p.uncertainty) for p in predictions(outputs)} == {("none", None, None)}
    proposed = decode_proposals(outputs[-1].value, list(outputs[-1].headers))
    assert proposed.meta.model == "none"
    assert proposed.rows["score"].is_nan().all()
    assert proposed.rows["probabilities"].is_null().all()
    active = proposed.rows.filter(pl.col("active"))
    assert len(active) == 6
    offsets = np.array([r.offset for r in engine.logs[RAW]], np.int64)
    draws = coin(hash64(b"shop.raw@0000aaaa"), 1, offsets, hash64(b"1/draw"))
    assert sorted(active["draw"]) == sorted(draws.tolist())[:6]


class Counting(Models):
    """No model, and what labels have told."""

    def label_counts(self) -> LabelCounts:
        return LabelCounts(classes=["bad", "good"], drawn=[0, 9], chosen=[0, 40])


def test_what_labels_have_told_goes_with_proposals_while_there_is_no_model() -> None:
    pipeline = shop(keys=1)

    def odd(models: Models) -> float | None:
        outputs = one_key_batch(MemoryEngine(pipeline, models), [value(id=f"P{i}") for i in range(5)])
        return decode_proposals(outputs[-1].value, list(outputs[-1].headers)).meta.odd

    assert odd(Models(None)) is None
    assert odd(Counting(None)) == share_of_odd(pipeline.start, [9, 0], [40, 0], 1)
    assert odd(Counting()) is None


def test_the_exploration_coin_is_that_of_the_raw_record_whatever_its_way() -> None:
    for keys in (1, 2):
        engine = MemoryEngine(shop(keys=keys))
        load_rows(engine, purchases(3, 60))
        engine.drain()
        for _, output in engine.of_topic("shop.proposals"):
            rows = decode_proposals(output.value, list(output.headers)).rows
            for event, tossed in rows.select("event_id", "coin").iter_rows():
                _, partition, offset, _ = event.rsplit("-", 3)
                stream, policy = hash64(b"shop.raw@0000aaaa"), hash64(b"1")
                assert tossed == coin(stream, int(partition), np.array([int(offset)]), policy)[0]


def test_proposals_carry_features_and_context_as_people_and_learners_need_them() -> None:
    engine = MemoryEngine(shop(keys=2))
    engine.produce(RAW, value(amount=None, kind=None))
    engine.drain()
    ((partition, output),) = engine.of_topic("shop.proposals")
    proposals = decode_proposals(output.value, list(output.headers))
    meta, (row,) = proposals.meta, proposals.rows.to_dicts()
    assert (meta.topic, meta.partition, meta.first_offset, meta.last_offset) == ("shop.by-place", partition.index, 0, 0)
    assert (meta.watermark, meta.tiles, meta.idle, meta.policy) == (START, {START // 30_000_000: 1}, False, "1")
    assert {name: row[name] for name in row if name.startswith("c_")} == {
        "c_id": "P1",
        "c_at": "2025-01-01T00:00:00.000000Z",
        "c_who": "w",
        "c_place": 3,
        "c_amount": None,
        "c_kind": None,
    }
    assert [name for name in row if name.startswith("f_")] == [f"f_{name}" for name in engine.pipeline.feature_names]
    assert row["f_who_count"] == 0.0
    assert np.isnan(row["f_amount"])
    assert (row["business_id"], row["key"], row["time"]) == ("P1", "w", START)


def test_the_order_of_the_active_choice_puts_rows_without_a_score_last() -> None:
    rows = pl.DataFrame({"event_id": list("abcd"), "score": [0.5, float("nan"), 0.9, 0.5], "draw": [2, 0, 9, 1]})
    assert ranked(rows)["event_id"].to_list() == ["c", "d", "a", "b"]


def test_the_random_policy_has_no_scores() -> None:
    engine = MemoryEngine(shop(keys=1, policy="random"))
    outputs = one_key_batch(engine, [value(id=f"P{i}") for i in range(9)])
    rows = decode_proposals(outputs[-1].value, list(outputs[-1].headers)).rows
    assert rows["score"].is_nan().all()
    assert rows["uncertainty"].is_not_nan().all()


@pytest.mark.parametrize(("policy", "expected"), [("entropy", 0.6931), ("least_confidence", 0.5), ("badge", 1.0)])
def test_the_score_is_the_policys_measure(policy: str, expected: float) -> None:
    class Undecided(Model):
        def probabilities(
            self, rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], /
        ) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
            return np.full((len(rows), 2), 0.5)

    engine = MemoryEngine(shop(keys=1, policy=policy), Models(Undecided()))
    (prediction,) = predictions(one_key_batch(engine, [value()]))
    assert prediction.uncertainty == pytest.approx(expected, abs=1e-4)


def test_a_new_model_is_adopted_between_batches_and_its_version_committed() -> None:
    models = Models(None)
    engine = MemoryEngine(shop(keys=1), models)
    versions = []
    for i, model in enumerate([None, Model("v1"), Model("v2")]):
        models.model = model
        engine.produce(RAW, value(id=f"P{i}"))
        engine.step(RAW, 1)
        versions.append(unpack(RAW, engine.committed[RAW][1]).model)
    assert versions == ["none", "v1", "v2"]
    assert [decode(Prediction, v).model for v in engine.predictions()[1]] == versions
    models.model = Model("v3")
    assert unpack(RAW, engine.processor.metadata(RAW)).model == "v2"


def test_a_model_for_other_classes_is_refused() -> None:
    class Three(Model):
        def probabilities(
            self, rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], /
        ) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
            return np.full((len(rows), 3), 1 / 3)

    with pytest.raises(ModelError, match=r"gives probabilities of shape \(1, 3\), expected \(1, 2\)"):
        one_key_batch(MemoryEngine(shop(keys=1), Models(Three())), [value()])


def test_a_partition_that_is_quiet_is_said_to_be_idle_once() -> None:
    engine = MemoryEngine(shop(keys=2))
    engine.produce(RAW, value())
    engine.drain()
    busy = next(p for p, _ in engine.of_topic("shop.proposals"))
    tick = engine.processor.tick
    assert tick(100.0) == []
    assert tick(104.9) == []
    said = [decode_proposals(o.value, list(o.headers)) for o in tick(105.0)]
    assert sorted(p.meta.partition for p in said) == [0, 1, 2]
    assert all(p.meta.idle and p.meta.topic == "shop.by-place" and p.rows.is_empty() for p in said)
    assert {p.meta.partition: p.meta.watermark for p in said}[busy.index] == START
    assert {p.meta.first_offset for p in said} == {None}
    assert tick(500.0) == []
    engine.produce(RAW, value(at=START + 1))
    engine.drain()
    assert tick(501.0) == []
    assert [decode_proposals(o.value, list(o.headers)).meta.partition for o in tick(506.0)] == [busy.index]


def test_nothing_is_idle_while_windows_are_rebuilt() -> None:
    engine = MemoryEngine(shop(keys=2))
    load_rows(engine, purchases(1, 20))
    engine.drain()
    tick, (partition, log) = engine.processor.tick, next(iter(engine.logs.items()))
    tick(0.0)
    engine.processor.process(engine.batch(partition, log[:1], replay=True))
    assert tick(60.0) == []
    assert len(tick(66.0)) == 3


def test_metadata_is_small_ascii_and_kept_while_a_replay_is_under_way() -> None:
    engine = MemoryEngine(shop(keys=1), Models(Model("véro-" + "x" * 90)))
    load_rows(engine, purchases(2, 300))
    engine.drain(lambda: 30)
    partition, log = max(engine.logs.items(), key=lambda item: len(item[1]))
    metadata = engine.committed[partition][1]
    assert len(metadata) < 400
    assert metadata.isascii()
    processor = StreamProcessor(engine.pipeline, engine.models)
    rewind = processor.open(partition, metadata)
    assert processor.metadata(partition) == metadata
    again = [r for r in log if rewind is not None and r.offset >= rewind]
    processor.process(engine.batch(partition, again[:2], replay=True))
    assert processor.metadata(partition) == metadata
    processor.process(engine.batch(partition, again[2:], replay=True))
    assert processor.metadata(partition) == metadata
    engine.produce(partition, value(at=START + 10**9))
    processor.process(engine.batch(partition, engine.waiting(partition)))
    assert processor.metadata(partition) != metadata


def test_a_position_survives_being_packed() -> None:
    for position in (Position(), Position(rewind=7, watermark=-3, model="m é"), Position(watermark=2**60)):
        assert unpack(RAW, pack(position)) == position


@pytest.mark.parametrize("metadata", ["garbage", '{"rewind": "x"}'])
def test_metadata_of_another_program_is_refused(metadata: str) -> None:
    with pytest.raises(TopicError, match=r"shop\.raw\[1\]: the committed metadata is not of the stream flow"):
        StreamProcessor(shop(), Models()).open(RAW, metadata)


def test_the_event_time_of_a_batch_is_its_latest() -> None:
    engine = MemoryEngine(shop(keys=1))
    one_key_batch(engine, [value(at=START + 9), value(at=START + 20), value(at=START)])
    assert engine.processor.event_time(engine.batch(RAW, engine.waiting(RAW))) == START + 20


def test_a_closed_partition_is_forgotten() -> None:
    engine = MemoryEngine(shop(keys=1))
    one_key_batch(engine, [value()])
    engine.processor.close(RAW)
    engine.processor.open(RAW, "")
    (prediction,) = predictions(engine.processor.process(engine.batch(RAW, engine.waiting(RAW))))
    assert prediction == predictions(one_key_batch(MemoryEngine(shop(keys=1)), [value()]))[0]


def test_several_raw_topics_feed_one_pipeline() -> None:
    text_topics = [shop().raw[0], shop().raw[0].model_copy(update={"topic": "shop.returns"})]
    pipeline = shop(keys=1).model_copy(update={"raw": text_topics})
    processor = StreamProcessor(pipeline, Models())
    assert processor.topics == ["shop.raw", "shop.returns"]
    other = Partition("shop.returns", 0, "0000cccc")
    processor.open(other, "")
    batch = Batch(other, np.array([5]), np.array([START // 1000 + 1]), [b"w"], [value()], [None])
    assert predictions(processor.process(batch))[0].event_id == "shop.returns-0-5-0000cccc"


def test_large_batches_of_hops_are_handled_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = MemoryEngine(shop(keys=2))
    load_rows(whole, purchases(8, 120))
    whole.drain(lambda: 10)
    monkeypatch.setattr("tidemark.stream.steps.receive._PORTION", 7)
    portioned = MemoryEngine(shop(keys=2))
    load_rows(portioned, purchases(8, 120))
    portioned.drain(lambda: 10)
    assert portioned.predictions() == whole.predictions()
    offsets = []
    for partition, output in portioned.of_topic("shop.proposals"):
        meta = decode_proposals(output.value, list(output.headers)).meta
        offsets.append((partition.index, meta.first_offset, meta.last_offset))
    assert len(offsets) > sum(1 for _ in whole.of_topic("shop.proposals"))
    assert all(first is not None and last is not None and first <= last for _, first, last in offsets)
    assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize("over", [["who", "place"], ["place"]])
def test_a_pipeline_with_windows_and_no_features_of_its_own_runs(over: list[str]) -> None:
    pipeline = shop(keys=2)
    own = {feature.name for feature in pipeline.features}
    windows = [window for window in pipeline.windows if window.column not in own and window.key in over]
    pipeline = pipeline.model_copy(update={"features": [], "windows": windows, "derived": []})
    engine = MemoryEngine(pipeline)
    load_rows(engine, purchases(1, 30))
    engine.drain()
    assert sum(map(len, engine.predictions().values())) == 30

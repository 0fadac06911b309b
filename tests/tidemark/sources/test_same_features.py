from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streaming import START, MemoryEngine, Models, shop

from tidemark.errors import ConfigError
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Partition
from tidemark.sources.files import open_file
from tidemark.sources.history import read_history

NAMES = ["id", "at", "who", "place", "amount", "kind"]
KEYS = ["007", "7", "07", " 7", "é", "é", "7.0", "-7", "true", "NaN", "'=1"]
rows = st.lists(
    st.fixed_dictionaries(
        {
            "wait": st.sampled_from([0, 0, 1, 999_999, 7_000_000, 30_000_000]),
            "who": st.sampled_from(KEYS),
            "place": st.sampled_from([7, -7, 0, 2**53 + 1, 2**53, 2**63 - 1]),
            "amount": st.sampled_from([None, -1, 0, -0.0, 5.75, 12.5, 1e-300, 2**53, 50, 51]) | st.floats(0, 100),
            "kind": st.sampled_from([None, "a", "ü", "A", " a", "", "unknown", "nan", "1"]),
            "topic": st.sampled_from(["shop.raw", "shop.web"]),
        }
    ),
    min_size=1,
    max_size=14,
)


def events(drawn: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows in the order of their times, some of which are equal."""
    at = START
    made = []
    for i, row in enumerate(drawn):
        at += int(str(row["wait"]))
        made.append({"id": f"{i:04d}", "at": at} | {name: row[name] for name in NAMES[2:]})
    return made


def two_topics(pipeline: Pipeline) -> Pipeline:
    raw = [pipeline.raw[0], pipeline.raw[0].model_copy(update={"topic": "shop.web"})]
    return pipeline.model_copy(update={"raw": raw})


def written(folder: Path, ending: str, made: list[dict[str, object]]) -> Path:
    path = folder / f"h.{ending}"
    if ending == "parquet":
        kinds = {"at": pl.Int64, "place": pl.Int64, "amount": pl.Float64}
        pl.DataFrame(made, schema={name: kinds.get(name, pl.String) for name in made[0]}).write_parquet(path)
    elif ending == "csv":
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(made[0])
        for row in made:
            cells = ['"' + str(v).replace('"', '""') + '"' if isinstance(v, str) else v for v in row.values()]
            out.write(",".join("" if cell is None else str(cell) for cell in cells) + "\n")
        path.write_text(out.getvalue(), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def streamed(pipeline: Pipeline, records: list[tuple[str, bytes | None, bytes]]) -> NDArray[np.float64]:
    """What the stream computes of records, which it gets in their order: there is one partition of each topic."""
    engine = MemoryEngine(pipeline, Models(None))
    for topic in pipeline.raw_topics:
        engine.logs.setdefault(Partition(topic, 0, "0000aaaa"), [])
    engine.start()
    for topic, key, value in records:
        engine.produce(Partition(topic, 0, "0000aaaa"), value, key)
    engine.drain()
    assert not list(engine.of_topic(pipeline.topics.deadletter))
    found = pl.concat(pl.read_ipc_stream(o.value or b"") for _, o in engine.of_topic(pipeline.topics.features))
    return found.sort("business_id").select(pipeline.feature_names).to_numpy()


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(drawn=rows, ending=st.sampled_from(["csv", "ndjson", "ndjson", "parquet"]))
def test_train_learns_from_the_features_that_the_stream_computes_of_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, object]], ending: str
) -> None:
    pipeline = shop(keys=2, features_topic=True).model_copy(update={"partitions": 1})
    path = written(tmp_path_factory.mktemp("file"), ending, events(drawn))
    learnt = backfill(pipeline, read_history(pipeline, path)).select(pipeline.feature_names).to_numpy()
    records = [("shop.raw", record.key, record.value) for record in open_file(path, pipeline).read(1_000) or []]
    np.testing.assert_array_equal(learnt, streamed(pipeline, records))


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(drawn=rows)
def test_windows_over_the_first_key_are_kept_for_each_raw_topic_in_a_history_too(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, object]]
) -> None:
    pipeline = two_topics(shop(keys=1, features_topic=True)).model_copy(update={"partitions": 1})
    topics = [str(row["topic"]) for row in drawn]
    made = [row | {"_topic": topic} for row, topic in zip(events(drawn), topics, strict=True)]
    path = written(tmp_path_factory.mktemp("file"), "ndjson", made)
    learnt = backfill(pipeline, read_history(pipeline, path)).select(pipeline.feature_names).to_numpy()
    rows = open_file(path, pipeline).read(1_000) or []
    records = [(topic, record.key, record.value) for topic, record in zip(topics, rows, strict=True)]
    np.testing.assert_array_equal(learnt, streamed(pipeline, records))


def test_a_history_of_several_topics_must_tell_which_row_is_of_which() -> None:
    pipeline = two_topics(shop(keys=1))
    history = pl.DataFrame({"id": ["a"], "at": [START], "who": ["w"], "place": [1], "amount": [1.0], "kind": ["a"]})
    with pytest.raises(ConfigError, match="shop has 2 raw topics, and keeps its windows over 'who' for each by itself"):
        backfill(pipeline, history)
    with pytest.raises(ConfigError, match=r"column '_topic' holds 'shop\.row', which is no raw topic of shop; did you"):
        backfill(pipeline, history.with_columns(_topic=pl.lit("shop.row")))
    assert len(backfill(pipeline, history.with_columns(_topic=pl.lit("shop.web")))) == 1


def test_what_is_larger_than_the_stream_takes_is_refused_in_a_history() -> None:
    pipeline = shop(keys=1)
    history = pl.DataFrame(
        {"id": ["a", "b" * 2_000], "at": [START, START], "who": ["w", "w"], "place": [1, 1], "amount": [1.0, 1.0]}
    )
    with pytest.raises(ConfigError, match=r"history: row 1: id: 2,000 bytes, over limits.key = 1,024"):
        backfill(pipeline, history)

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from models import INCARNATION, batch_of, label_values, pipeline_text, rows, small_pipeline
from typer.testing import CliRunner

from tidemark.cli.train import app
from tidemark.errors import ConfigError, ModelError
from tidemark.features.backfill import backfill
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, parse
from tidemark.pipeline.model import LearnerName, Start
from tidemark.records.topics import TopicSpec
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.registry.scaling import Scaling
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.selection.start import looks_for_positives
from tidemark.sources.history import read_history
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import Dataset
from tidemark.training.first import from_history, from_model_file, publish_first
from tidemark.training.learners.member import Parameters
from tidemark.training.trainer import TrainedModel, train

COUNT = 400


def labeled_pipeline(name: str = "p") -> Pipeline:
    return small_pipeline(name, label='column = "truth"')


def history(count: int = COUNT, seed: int = 0, classes: Sequence[str] = ("no", "yes")) -> pl.DataFrame:
    """An event an hour, newest first, so that nothing may rest on the file's order."""
    features, target = rows(count, seed, len(classes))
    features = np.nan_to_num(features)
    frame = pl.DataFrame(
        {
            "key": [f"k{index % 7}" for index in range(count)],
            "time": [f"2025-01-{1 + index // 24:02d}T{index % 24:02d}:00:00Z" for index in range(count)],
            "a": features[:, 0],
            "b": features[:, 1],
            "c": features[:, 2],
            "truth": [classes[number] for number in target],
        }
    )
    return frame.reverse()


def test_a_history_gives_a_model_with_its_figures() -> None:
    pipeline = labeled_pipeline()
    made = from_history(pipeline, history(), "history.parquet")
    assert made.manifest.used == COUNT - 24  # the last day's truth may not have arrived
    assert made.manifest.trained_on[0].topic == "file:history.parquet"
    assert made.manifest.decision == "first champion, from history.parquet"
    precision = made.manifest.metrics["holdout_average_precision"]
    low, high = (made.manifest.metrics[f"holdout_average_precision_{end}"] for end in ("low", "high"))
    assert precision is not None
    assert low is not None
    assert high is not None
    assert low < precision < high
    assert precision > 0.8


def test_the_interval_of_a_model_that_errs_in_nothing_follows_from_its_positives() -> None:
    told = history().with_columns(a=pl.when(pl.col("truth") == "yes").then(5.0).otherwise(-5.0))
    figures = from_history(labeled_pipeline(), told, "h", all_known=True).manifest.metrics
    positives, low = figures["holdout_positives"], figures["holdout_average_precision_low"]
    assert figures["holdout_average_precision"] == 1.0
    assert positives is not None
    assert low is not None
    assert positives > 20
    assert 0.8 < low < 1.0


def test_labels_of_a_history_count_in_the_start() -> None:
    """A model of a history that knows positives enough is followed by the strategy, not by a search for positives."""
    rare = history().filter((pl.col("truth") == "no") | (pl.int_range(pl.len()) % 8 == 0))
    made = from_history(labeled_pipeline(), rare, "history.parquet", all_known=True)
    known, drawn = made.manifest.class_counts, made.manifest.drawn_counts
    assert tuple(known) == made.counts
    assert 5 < known[1] < known[0] / 4
    assert looks_for_positives(Start(positives=known[1]), known, drawn, 1) is None
    sought = looks_for_positives(Start(positives=10 * known[1]), known, drawn, 1)
    assert sought is not None
    assert sought.classes == [1]


def test_the_labels_of_the_last_delay_are_used_only_when_all_are_known() -> None:
    pipeline = labeled_pipeline()
    some, every = (from_history(pipeline, history(), "h", all_known=known).manifest for known in (False, True))
    assert every.used == COUNT
    assert some.used < every.used
    times = backfill(pipeline, history())["_time"]
    assert some.known_until <= int(times.max())  # type: ignore[arg-type]
    assert every.known_until == int(times.max()) + pipeline.label.delay  # type: ignore[arg-type]


def test_the_order_of_the_file_does_not_matter() -> None:
    pipeline = labeled_pipeline()
    assert from_history(pipeline, history(), "h").text == from_history(pipeline, history().reverse(), "h").text


def test_classes_may_be_given_by_number() -> None:
    pipeline = labeled_pipeline()
    numbered = history().with_columns(truth=(pl.col("truth") == "yes").cast(pl.Int8))
    assert from_history(pipeline, numbered, "h").text == from_history(pipeline, history(), "h").text


@pytest.mark.parametrize("classes", [("0", "1"), ("1", "0"), ("no", "yes")])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.Boolean, pl.String])
def test_a_history_gives_the_same_model_however_its_classes_are_written(
    classes: tuple[str, str], dtype: type[pl.DataType]
) -> None:
    positive = "1" if "1" in classes else "yes"
    text = pipeline_text("p", classes=classes, label='column = "truth"')
    pipeline = parse(text.replace(f'positive = "{classes[-1]}"', f'positive = "{positive}"'), "p.toml")
    named = history(classes=["0", "1"] if "1" in classes else ["no", "yes"])
    written = named.with_columns(truth=(pl.col("truth") == positive).cast(pl.Int64).cast(dtype))
    assert from_history(pipeline, written, "h").text == from_history(pipeline, named, "h").text


@pytest.mark.parametrize("ending", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("classes", [("1", "0"), ("0", "1"), ("no", "yes")])
def test_a_file_gives_the_same_counts_however_it_writes_its_classes(
    tmp_path: Path, ending: str, classes: tuple[str, str]
) -> None:
    positive = "1" if "1" in classes else "yes"
    text = pipeline_text("p", classes=classes, label='column = "truth"')
    pipeline = parse(text.replace(f'positive = "{classes[-1]}"', f'positive = "{positive}"'), "p.toml")
    frame = history(120)
    path = tmp_path / f"h.{ending}"
    ones = int((frame["truth"] == "yes").sum()) - (frame["truth"][0] == "yes")
    truth = pl.when(pl.int_range(120) > 0).then((pl.col("truth") == "yes").cast(pl.Int64))  # the first has none
    for dtype in (pl.Int8, pl.Float64, pl.Boolean, pl.String, pl.Decimal(4, 1)):
        written = frame.with_columns(truth=truth.cast(dtype))
        getattr(written, f"write_{ending}")(path)
        read = read_history(pipeline, path, topic=None, timestamp=1_800_000_000_000)
        counts = from_history(pipeline, read, path.name, all_known=True).counts
        assert dict(zip(classes, counts, strict=True))[positive] == ones, dtype
        assert sum(counts) == 119, dtype


def test_figures_are_of_a_model_of_the_labels_that_were_known_when_the_last_fifth_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delay, hour = 24, 3_600_000_000
    learnt: list[Dataset] = []

    def spied(
        rows: Dataset,
        schema: ModelSchema,
        given: Parameters | None = None,
        *,
        learner: LearnerName = "boosted",
        num_threads: int = 1,
        forget: bool = False,
        scaling: Scaling | None = None,
    ) -> TrainedModel:
        learnt.append(rows)
        return train(rows, schema, given, learner=learner, num_threads=num_threads, forget=forget, scaling=scaling)

    monkeypatch.setattr("tidemark.training.first.train", spied)
    for all_known, count in ((True, COUNT), (False, COUNT - delay)):
        learnt.clear()
        figures = from_history(labeled_pipeline(), history(), "h", all_known=all_known).manifest.metrics
        split = int(count * 0.8)  # an event an hour: the row's number is its hour
        compared, published = learnt
        assert compared.known_at is not None
        begin = 1_735_689_600_000_000
        assert int(compared.known_at.max()) == begin + split * hour
        assert len(compared) == split - delay + 1
        assert figures["holdout_learnt_from"] == len(compared)
        assert len(published) == count


def test_labels_that_were_all_unknown_when_the_last_fifth_began_give_no_figure() -> None:
    slow = small_pipeline(label='column = "truth"')
    slow = slow.model_copy(update={"label": slow.label.model_copy(update={"delay": 400 * 3_600_000_000})})
    figures = from_history(slow, history(), "h", all_known=True).manifest.metrics
    assert figures["holdout_learnt_from"] == 0
    assert "holdout_average_precision" not in figures


def test_rows_without_a_label_are_left_out_but_count_for_the_windows() -> None:
    pipeline = labeled_pipeline()
    half = history().with_columns(truth=pl.when(pl.int_range(COUNT) % 2 == 0).then(pl.col("truth")))
    assert from_history(pipeline, half, "h", all_known=True).manifest.used == COUNT // 2


def test_a_pipeline_that_names_no_column_of_the_label_is_told_so_and_not_that_the_file_lacks_one() -> None:
    with pytest.raises(ConfigError) as raised:
        from_history(small_pipeline("p"), history(), "h.csv")
    assert str(raised.value) == (
        "the pipeline's file has no label.column, so no row of h.csv has a class; set it to the column of h.csv that "
        "tells the class"
    )


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (lambda frame: frame.drop("truth"), ConfigError, "h has no column 'truth', which label.column names"),
        (lambda frame: frame.with_columns(truth=pl.lit("maybe")), ConfigError, "holds 'maybe'; expected"),
        (lambda frame: frame.with_columns(truth=pl.lit(2)), ConfigError, "holds 2; expected"),
        (lambda frame: frame.with_columns(truth=pl.lit("no")), ModelError, "all of one class"),
        (lambda frame: frame.drop("a"), ConfigError, "there is no column 'a'"),
        (lambda frame: frame.tail(20), ModelError, "no label is older than label.delay"),
        (
            lambda frame: frame.with_columns(a=pl.lit(1.0), b=pl.lit(1.0), c=pl.lit(1.0)),
            ModelError,
            "too few or too alike",
        ),
    ],
)
def test_a_history_that_can_not_be_learnt_from_says_why(
    change: Callable[[pl.DataFrame], pl.DataFrame], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        from_history(labeled_pipeline(), change(history()), "h")


def model_text(names: Sequence[str] = ("a", "b", "c"), **parameters: str) -> str:
    features, target = rows(300)
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, **parameters},
        lgb.Dataset(features, target, feature_name=list(names), params={"verbosity": -1}),
        8,
    )
    return booster.model_to_string()


def test_an_existing_model_is_checked_and_gets_golden_rows_of_its_own() -> None:
    made = from_model_file(small_pipeline(), model_text(), "old.txt")
    assert made.manifest.used == 0
    assert made.manifest.decision.startswith("first champion, imported from old.txt")
    assert 0 < len(made.manifest.golden) <= 64
    leaves = np.asarray(
        lgb.Booster(model_str=made.text).predict(
            np.array(made.manifest.golden, dtype=float).reshape(-1, 3), pred_leaf=True
        )
    )
    assert sum(len(set(column)) for column in leaves.T) > 0.9 * sum(leaves.max(axis=0) + 1)


def test_a_model_of_other_features_or_no_probabilities_is_refused_unloaded() -> None:
    with pytest.raises(ModelError, match="feature 0 is 'Column_0', expected 'a'"):
        from_model_file(small_pipeline(), model_text(["Column_0", "b", "c"]), "old.txt")
    with pytest.raises(ModelError, match=r"num_class|objective"):
        from_model_file(small_pipeline(), model_text(objective="regression"), "old.txt")
    with pytest.raises(ModelError, match="line 1"):
        from_model_file(small_pipeline(), "not a model", "old.txt")


def test_the_first_champion_is_served_and_not_replaced_unasked(kafka: Settings, unique: str) -> None:
    pipeline = labeled_pipeline(unique)
    ensure_topics(kafka, [TopicSpec(pipeline.topics.metrics, 1, {})])
    first = publish_first(kafka, pipeline, from_history(pipeline, history(), "h"))
    with ModelWatcher(kafka, pipeline) as watcher:
        found = watcher.wait_ready()
        assert isinstance(found, ActiveModel)
        assert found.version == first.version
        assert found.version.startswith("v000001-")
    again = from_model_file(pipeline, model_text(), "old.txt")
    with pytest.raises(ModelError, match="--replace"):
        publish_first(kafka, pipeline, again)
    second = publish_first(kafka, pipeline, again, replace=True)
    assert (second.version[:7], second.parent) == ("v000002", first.version)
    registry = read_registry(kafka, pipeline.topics.models)
    assert registry.candidates() == [second.version, first.version]

    processor = RetrainProcessor(pipeline, read_registry=lambda: read_registry(kafka, pipeline.topics.models))
    partition = Partition(pipeline.topics.labels, 0, INCARNATION)
    processor.open(partition, "")
    batch = batch_of(label_values(45, topic=pipeline.raw_topics[0]))
    batch.partition = partition
    outputs = processor.process(batch)
    assert [output.topic for output in outputs if output.topic == pipeline.topics.metrics]


@pytest.fixture
def command(kafka: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in kafka.environment().items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def file_of(pipeline_text: str, folder: Path) -> Path:
    path = folder / "p.toml"
    path.write_text(pipeline_text, encoding="utf-8")
    return path


def test_the_command_publishes_a_champion_and_says_how_good_it_is(
    command: CliRunner, unique: str, tmp_path: Path
) -> None:
    path = file_of(labeled_text(unique), tmp_path)
    history().write_parquet(tmp_path / "history.parquet")
    done = command.invoke(app, [str(path), "--from", str(tmp_path / "history.parquet")])
    assert done.exit_code == 0, done.output
    assert "is champion, of 376 labels" in done.output
    assert "average precision" in done.output
    assert "alone" not in done.output
    (tmp_path / "model.txt").write_text(model_text(), encoding="utf-8")
    done = command.invoke(app, [str(path), "--model", str(tmp_path / "model.txt"), "--replace"])
    assert done.exit_code == 0, done.output
    assert "imported from model.txt" in done.output


def test_the_command_names_a_feature_that_alone_tells_every_label(
    command: CliRunner, unique: str, tmp_path: Path
) -> None:
    path = file_of(labeled_text(unique), tmp_path)
    told = history().with_columns(b=(pl.col("truth") == "yes").cast(pl.Float64))
    told.write_parquet(tmp_path / "history.parquet")
    done = command.invoke(app, [str(path), "--from", str(tmp_path / "history.parquet")])
    assert done.exit_code == 0, done.output
    assert "'b' alone tells nearly every label: if an event does not have it when it happens, remove it" in done.output


def labeled_text(name: str) -> str:
    return pipeline_text(name, label='column = "truth"')


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "either --from HISTORY or --model FILE"),
        (["--from", "h.xlsx"], "use one of .parquet, .csv, .ndjson"),
        (["--from", "absent.csv"], "can't be read"),
        (["--model", "absent.txt"], "can't be read"),
        (["--from", "h.csv", "--model", "m.txt"], "either"),
    ],
)
def test_the_command_says_what_is_wrong(command: CliRunner, tmp_path: Path, arguments: list[str], why: str) -> None:
    path = file_of(labeled_text("p"), tmp_path)
    given = [str(tmp_path / each) if "." in each else each for each in arguments]
    done = command.invoke(app, [str(path), *given])
    assert done.exit_code == 1
    assert why in " ".join(done.output.split())

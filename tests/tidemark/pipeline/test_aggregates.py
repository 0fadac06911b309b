"""The registry of window aggregates: what each owes, and one of a package in a pipeline file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, get_args

import numpy as np
import polars as pl
import pytest
from models import pipeline_text
from outside import entry_points_of, examples, in_path, install
from running import Constant, Even

from dataflows.engine.warmup import rehearse
from kernels import WindowState
from kernels.windows.specs import Aggregate, AggregateKind, WindowSpec
from tidemark.errors import ConfigError
from tidemark.features.windows import KeyWindows
from tidemark.pipeline import parse
from tidemark.pipeline.aggregates import AGGREGATES, GROUP
from tidemark.pipeline.definitions import definitions
from tidemark.stream import StreamProcessor

PARAMETERS: Final = {"": 0.0, "probability": 0.5, "half_life": 1e6}
OPTIONS: Final = {"": "", "probability": "probability = 0.5\n", "half_life": 'half_life = "1s"\n'}


def windowed(aggregate: str, options: str = 'column = "a"\n') -> str:
    window = f'[[windows]]\nname = "w"\nkey = "key"\naggregate = "{aggregate}"\nsize = "1h"\n{options}[label]'
    return pipeline_text().replace("[label]", window)


def test_the_table_names_the_kernels_aggregates_in_the_order_of_their_numbers() -> None:
    assert tuple(AGGREGATES.own) == get_args(Aggregate)


@pytest.mark.parametrize(("name", "kind"), AGGREGATES.all().items(), ids=AGGREGATES.names())
def test_an_aggregate_passes_the_checks_with_what_it_needs_and_gives_its_value_of_an_empty_window(
    name: str, kind: AggregateKind
) -> None:
    assert kind.meaning.endswith(".")
    column = "" if kind.takes == "optional" else 'column = "a"\n'
    pipeline = parse(windowed(name, column + OPTIONS[kind.parameter]), "p.toml")
    assert definitions(pipeline)["w"].text.startswith(name)
    index = -1 if kind.takes == "optional" else 0
    spec = WindowSpec(name, index, 10, parameter=PARAMETERS[kind.parameter], function=kind.compute)
    one = WindowState([spec], 1, 0).update(np.zeros(1, np.uint64), np.zeros(1, np.int64), np.ones((1, 1)))
    np.testing.assert_array_equal(one, [[kind.empty]])
    if kind.error is not None:
        assert kind.error[0] < kind.error[1] < kind.error[2]
    if kind.takes == "optional":
        of_column = parse(windowed(name, 'column = "a"\n'), "p.toml")
        assert definitions(of_column)["w"].id != definitions(pipeline)["w"].id
        return
    with pytest.raises(ConfigError, match=r"windows\[0\]"):
        parse(windowed(name, ""), "p.toml")


@pytest.mark.parametrize("cut", ["rows = 3\n", 'gap = "10m"\n'])
@pytest.mark.parametrize(("name", "kind"), AGGREGATES.all().items(), ids=AGGREGATES.names())
def test_every_aggregate_that_keeps_rows_can_be_of_the_last_rows_and_of_a_session(
    name: str, kind: AggregateKind, cut: str
) -> None:
    column = "" if kind.takes == "optional" else 'column = "a"\n'
    text = windowed(name, column + OPTIONS[kind.parameter] + cut)
    if kind.error is not None:
        with pytest.raises(ConfigError, match=f"'{name}' keeps no rows; remove it, or take"):
            parse(text, "p.toml")
        return
    pipeline = parse(text, "p.toml")
    whole = parse(windowed(name, column + OPTIONS[kind.parameter]), "p.toml")
    assert definitions(pipeline)["w"].id != definitions(whole)["w"].id
    assert definitions(pipeline)["w"].text != definitions(whole)["w"].text
    outputs = rehearse(StreamProcessor(pipeline, Constant(Even(2))), pipeline)
    assert (outputs["p.deadletter"], outputs["p.predictions"] > 0) == (0, True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("median", "'quantile' with probability = 0.5"),
        ("P95", "'quantile' with probability = 0.95"),
        ("avg", "'mean'"),
        ("trend", "'slope'"),
        ("z-score", "'zscore'"),
        ("stddev", "'std'"),
        ("time_since_last", "'since_last'"),
    ],
)
def test_a_name_that_others_give_an_aggregate_is_answered_with_ours(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"windows\[0\].aggregate: '{name}' is not allowed; write {says}$"):
        parse(windowed(name), "p.toml")


def test_an_aggregate_of_another_package_is_named_in_a_pipeline_file_and_computed_by_the_stream(
    tmp_path: Path,
) -> None:
    """The example of docs/contributing/extending.md, as it stands there."""
    files = examples("spread")
    with in_path(install(tmp_path / "site", "spread", files, entry_points_of(files["pyproject.toml"]))):
        pipeline = parse(windowed("spread"), "p.toml")
        windows = KeyWindows(pipeline, "key")
        state = windows.state(0)
        assert state is not None
        column = pl.DataFrame({"a": [1.0, 5.0, None, 2.0, 4.0]})
        times = np.arange(1, 6) * 1_000_000
        got = state.update(np.zeros(5, np.uint64), times, windows.values(column, pl.DataFrame({"x": [0] * 5})))
        np.testing.assert_array_equal(got[:, 0], [np.nan, 0.0, 4.0, 4.0, 4.0])
        outputs = rehearse(StreamProcessor(pipeline, Constant(Even(2))), pipeline)
        assert (outputs["p.deadletter"], outputs["p.predictions"] > 0) == (0, True)
        assert definitions(pipeline)["w"].id == definitions(parse(windowed("spread"), "p.toml"))["w"].id
        assert definitions(pipeline)["w"].id != definitions(parse(windowed("max"), "p.toml"))["w"].id
        with pytest.raises(ConfigError, match="'spread' is exact; remove it"):
            parse(windowed("spread", 'column = "a"\nerror = 0.1\n'), "p.toml")
        with pytest.raises(ConfigError, match="'spread' needs a column"):
            parse(windowed("spread", ""), "p.toml")


BROKEN: Final = """
from kernels.windows.specs import AggregateKind
def dies(values, ages):
    raise RuntimeError("no\\nmore")
def text(values, ages):
    return "much"
def later(values, ages):
    if len(values) > 5:
        raise KeyError("six")
    return float("inf")
DIES, TEXT, LATER = (AggregateKind("x.", compute=each) for each in (dies, text, later))
NOTHING = AggregateKind("x.")
WITH = AggregateKind("x.", parameter="half_life", compute=later)
"""


def _site(folder: Path, target: str) -> Path:
    return install(folder / "site", "tiny", {"tiny_windows.py": BROKEN}, {GROUP: {"own": f"tiny_windows:{target}"}})


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("DIES", "'own' raised RuntimeError over 1 values: no; mend it"),
        ("TEXT", "'own' raised ValueError over 1 values: could not convert"),
        ("NOTHING", "it must have a 'compute'"),
        ("WITH", "it must have a 'compute' over the values of a column, and neither parameter nor error"),
        ("dies", "it is a function, not a kernels.windows.specs.AggregateKind"),
    ],
)
def test_a_broken_aggregate_is_told_at_its_key_of_the_file(target: str, says: str, tmp_path: Path) -> None:
    with (
        in_path(_site(tmp_path, target)),
        pytest.raises(ConfigError, match=r"windows\[0\].aggregate: window aggregate 'own' of package tiny") as refused,
    ):
        parse(windowed("own"), "p.toml")
    assert says in str(refused.value)


def test_an_aggregate_that_raises_later_ends_with_a_sentence_and_one_that_is_not_finite_is_missing(
    tmp_path: Path,
) -> None:
    with in_path(_site(tmp_path, "LATER")):
        compute = AGGREGATES.get("own").compute
        assert compute is not None
        assert math.isnan(compute(np.ones(5), np.ones(5)))
        with pytest.raises(ConfigError, match="window aggregate 'own' raised KeyError over 6 values: 'six'; mend it"):
            compute(np.ones(6), np.ones(6))

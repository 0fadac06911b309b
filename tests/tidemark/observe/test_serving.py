from __future__ import annotations

import msgspec
import pytest
from models import pipeline_text, small_model, small_pipeline

from tidemark.observe.serving import Figures, Serving, committed_model, in_force
from tidemark.pipeline import parse
from tidemark.records import Metric, ModelManifest
from tidemark.registry.news import model_metric
from tidemark.registry.schema import ModelSchema

SCHEMA = ModelSchema.of(small_pipeline())


def champion(version: str) -> ModelManifest:
    return msgspec.structs.replace(small_model(SCHEMA)[1], version=version)


def figure(name: str, value: float, model: str, source: str = "labels") -> Metric:
    return msgspec.convert(
        {"name": name, "value": value, "low": None, "high": None, "n": 9, "at": 1, "model": model, "source": source},
        Metric,
    )


def test_no_model_s_figure_is_shown_as_another_s() -> None:
    figures = Figures()
    for each in (
        figure("accuracy", 0.9, "v1"),
        figure("accuracy", 0.8, "v2"),
        figure("accuracy", 0.91, "v1"),
        figure("accuracy", 0.7, "v1", "outcomes"),
        figure("budget_spent", 8, "v2", "budget"),
    ):
        figures.take(each)
    shown = figures.shown("v2")
    assert (shown["accuracy (labels)"].model, shown["accuracy (labels)"].value) == ("v2", 0.8)
    assert (shown["accuracy (outcomes)"].model, shown["accuracy (outcomes)"].value) == ("v1", 0.7)
    assert shown["budget_spent"].value == 8
    newest = figures.shown("v3")["accuracy (labels)"]
    assert (newest.model, newest.value) == ("v1", 0.91)


def test_a_refused_champion_is_a_problem_that_names_the_flows_the_reason_and_what_stays_in_force() -> None:
    serving = Serving()
    for flow in ("stream", "labeling"):
        serving.take(model_metric(flow, "v1"))
        serving.take(model_metric(flow, "v1", refused="v2", reason="b is computed by another definition"))
    serving.take(model_metric("retrain", "v2"))
    (problem,) = serving.problems(champion("v2"), SCHEMA)
    assert problem.startswith("champion v2 is refused by labeling and stream (b is computed by another definition)")
    assert "v1 stays in force there until retrain publishes one that passes" in problem
    assert serving.in_force == {"stream": "v1", "labeling": "v1", "retrain": "v2"}
    serving.take(model_metric("stream", "v2"))
    serving.take(model_metric("labeling", "v2"))
    assert list(serving.problems(champion("v2"), SCHEMA)) == []


def test_a_champion_that_the_file_no_longer_fits_is_a_problem_before_any_flow_has_met_it() -> None:
    edited = parse(pipeline_text().replace('{ name = "c" }', '{ name = "d", sql = "c * 2" }'), "p.toml")
    (problem,) = Serving().problems(champion("v2"), ModelSchema.of(edited))
    assert (
        "does not fit this pipeline file: it takes features that the pipeline has changed: c is computed no more"
        in (problem)
    )
    assert list(Serving().problems(champion("v2"), SCHEMA)) == []
    assert list(Serving().problems(None, SCHEMA)) == []


def test_a_refused_champion_is_told_though_those_before_it_were_refused_after_it() -> None:
    serving = Serving()
    for version in ("v3", "v2", "v1"):  # a flow that starts tries the champion first, then those before it
        serving.take(model_metric("stream", "none", refused=version, reason=f"reason of {version}"))
    (problem,) = serving.problems(champion("v3"), SCHEMA)
    assert "refused by stream (reason of v3); no model is in force there" in problem
    for number in range(500):
        serving.take(model_metric("stream", "none", refused=f"x{number}", reason="x"))
    assert len(serving.refused["stream"]) == 100


def test_headlines_of_champions_by_the_newest_measure_are_points_of_a_curve() -> None:
    figures = Figures()

    def headline(value: float | None, model: str, metric: str) -> Metric:
        detail: dict[str, str | float | int | None] = {"metric": metric, "of_class": "yes"}
        made = figure("quality", 0.5, model)
        return msgspec.structs.replace(made, value=value, low=0.4, high=0.8, detail=detail)

    for each in (
        headline(0.9, "v1", "accuracy"),
        headline(0.5, "v2", "average_precision"),
        headline(None, "v3", "average_precision"),
        headline(0.6, "v4", "average_precision"),
        headline(0.7, "v4", "average_precision"),
        headline(0.8, "of another topic", "average_precision"),
    ):
        figures.take(each)
    found = figures.headlines({"v1": 20, "v2": 40, "v3": 60, "v4": 80})
    assert [(point.labels, point.value) for point in found] == [(40, 0.5), (80, 0.7)]
    assert found[0].width == pytest.approx(0.4)
    assert Figures().headlines({}) == []


def test_without_a_model_in_force_that_is_said() -> None:
    serving = Serving()
    serving.take(model_metric("stream", "none", refused="v2", reason="x"))
    (problem,) = serving.problems(champion("v2"), SCHEMA)
    assert "no model is in force there" in problem


def test_the_version_that_rows_were_last_predicted_with_is_read_from_the_committed_metadata() -> None:
    assert committed_model('v1:0a1b2c3d:{"rewind":3,"model":"v7"}') == "v7"
    assert committed_model('v1:0a1b2c3d:{"rewind":3}') == "none"
    for foreign in (None, "", "x", "v1:0a1b2c3d:", "v1:0a1b2c3d:rubbish", "v1:x:[1]"):
        assert committed_model(foreign) is None


@pytest.mark.parametrize(
    ("told", "used", "version", "last_rows"),
    [
        ("v2", {"v2"}, "v2", []),
        ("v2", set(), "v2", []),
        ("v2", {"none"}, "v2", ["none"]),
        ("v2", {"v2", "v1"}, "v2", ["v1", "v2"]),
        ("", {"v1"}, "v1", []),
        ("", {"v2", "v1"}, "", ["v1", "v2"]),
        ("", set(), "", []),
    ],
)
def test_the_version_in_force_is_told_apart_from_those_of_the_last_rows(
    told: str, used: set[str], version: str, last_rows: list[str]
) -> None:
    assert in_force(told, used) == (version, last_rows)

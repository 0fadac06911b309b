"""Whose labels count less, in sentences."""

from __future__ import annotations

from tidemark.observe.sources_of_labels import label_notes
from tidemark.records import Metric


def metric(name: str, value: float, n: int = 200, **detail: float | str) -> Metric:
    return Metric(
        name=name, value=value, low=None, high=None, n=n, at=1, model="", source="labels", detail=dict(detail)
    )


def notes(*metrics: Metric) -> list[str]:
    return list(label_notes({each.name: each for each in metrics}, "shop.toml"))


def test_who_is_distrusted_is_named_with_what_to_look_at() -> None:
    (note,) = notes(metric("distrusted_sources", 1.0, source_1="mallory", right_1=0.04, weight_1=0.0))
    assert note.startswith("labels of mallory (about 4% right) count less or not at all")
    assert "`tidemark queue annotators shop.toml`" in note


def test_labels_worth_a_second_look_are_told_where_they_are_many() -> None:
    (note,) = notes(metric("doubtful_labels", 14.0))
    assert note == "14 of 200 labels are worth a second look; `tidemark queue review shop.toml` puts some of them back"
    assert notes(metric("doubtful_labels", 3.0)) == []
    assert notes(metric("distrusted_sources", 0.0)) == []


def test_a_strangers_names_are_cut_and_numbers_not_believed() -> None:
    (note,) = notes(metric("distrusted_sources", 2.0, source_1="x" * 9_000, right_1=0.5, source_2="y", right_2="z"))
    assert len(note) < 300

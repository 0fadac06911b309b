"""The loop over a history: what is asked, when it is known, and what is never used."""

from __future__ import annotations

import numpy as np
import pytest
from histories import MINUTE, history, shop

from tidemark.backtest.loop import Loop
from tidemark.backtest.playing import Moment, play
from tidemark.backtest.stream import LabeledStream
from tidemark.pipeline import Pipeline
from tidemark.pipeline.classes import NO_CLASS
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox

HOUR = 60 * MINUTE


def run(pipeline: Pipeline, stream: LabeledStream) -> tuple[list[Moment], Loop]:
    with Sandbox() as sandbox:
        loop = Loop(pipeline, sandbox, headline=False)
        return list(play(stream, pipeline, loop)), loop


def test_a_label_is_learnt_from_when_its_answer_has_come_and_not_before() -> None:
    pipeline = shop(delay='"150m"')
    stream = history(pipeline).stream
    moments, loop = run(pipeline, stream)
    ends = [(int(stream.tiles[moment.last]) + 1) * HOUR for moment in moments]
    known = [label.known_at for _, label in loop.labels]
    assert known == sorted(known)
    for moment, end in zip(moments, ends, strict=True):
        assert known[: moment.known] == [at for at in known if at <= end]
        if moment.champion is not None:
            assert moment.champion.manifest.known_until <= end
            assert moment.champion.manifest.used <= moment.known
    assert moments[-1].asked > moments[-1].known, "the last cases were answered after the end"
    for _, label in loop.labels:
        row = parse_event_id(label.event_id).offset
        assert label.known_at == stream.known_at[row]
        assert label.label == pipeline.label.classes[stream.target[row]]


def test_events_without_a_label_are_never_asked_about_and_are_streamed_all_the_same() -> None:
    pipeline = shop()
    stream = history(pipeline, unlabeled=0.7).stream
    moments, loop = run(pipeline, stream)
    rows = [parse_event_id(label.event_id).offset for _, label in loop.labels]
    assert len(rows) > 20
    assert (stream.target[rows] != NO_CLASS).all()
    assert len(set(rows)) == len(rows)
    assert all(label.tile_count > 40 for _, label in loop.labels[20:])
    assert moments[-1].last == stream.exam - 1


def test_a_tile_without_any_label_asks_nothing() -> None:
    pipeline = shop()
    stream = history(pipeline).stream
    stream.target[stream.tiles == stream.tiles[100]] = NO_CLASS
    moments, loop = run(pipeline, stream)
    assert len(moments) == len(np.unique(stream.tiles[: stream.exam]))
    tiles = {int(stream.tiles[parse_event_id(label.event_id).offset]) for _, label in loop.labels}
    assert int(stream.tiles[100]) not in tiles


@pytest.mark.parametrize(
    ("bound", "most"), [("8\ntotal = 50", 50), ("8\nper_day = 11", 22), ("8\nper_hour = 3", 13 * 3)]
)
def test_the_budget_holds_in_all_and_by_hour_and_day(bound: str, most: int) -> None:
    pipeline = shop(budget=bound)
    moments, _ = run(pipeline, history(pipeline).stream)
    assert 0 < moments[-1].asked <= most


def test_the_same_stream_gives_the_same_champions_and_begins_where_it_is_told() -> None:
    pipeline = shop()
    whole = history(pipeline).stream
    later = LabeledStream(whole.features, whole.target, whole.tiles, whole.known_at, whole.exam, begin=300)
    (first, one), (again, other) = run(pipeline, later), run(pipeline, later)
    assert [moment.known for moment in first] == [moment.known for moment in again]
    assert one.labels == other.labels
    champions = [moment.champion.version for moment in first if moment.champion is not None]
    assert champions
    assert champions == [moment.champion.version for moment in again if moment.champion is not None]
    assert min(parse_event_id(label.event_id).offset for _, label in one.labels) >= 300


def test_time_alone_brings_a_model_where_the_schedule_says_so() -> None:
    few = {"budget": "1", "explore": "1", "min_holdout": "8"}
    rare = shop(**few, min_labels="8")
    often = shop(**few, min_labels='8\nmax_interval = "1h"')
    stream = history(rare, events=3_000, rate=0.4).stream
    models = [sum(moment.champion is not None for moment in run(pipeline, stream)[0]) for pipeline in (rare, often)]
    assert models[1] > models[0]

"""How the bridge to Label Studio fares, as `tidemark status` and the Loop page tell it."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bridging import Bridged, bridged
from labeling import pipeline
from studio import ADA

from labeling_grpc.label_studio.declared import ledger_path
from labeling_grpc.label_studio.status import SILENT, bridge_status
from tidemark.observe.label_studio import bridge_notes, bridge_problems, bridge_words
from tidemark.observe.status_record import LabelStudioStatus


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Bridged]:
    with bridged(tmp_path) as built:
        yield built


def status(its: Bridged, after: float = 0.0) -> LabelStudioStatus:
    found = bridge_status(its.pipeline, its.settings, time.time() + after)
    assert found is not None
    return found


def run_once(its: Bridged) -> None:
    """The bridge's own loop, once around."""
    bridge = its.bridge or its.begin()
    stopped = itertools.chain([False], itertools.repeat(True))
    its.hints.wake()
    its.now += 100
    bridge.run(lambda: next(stopped))


def test_a_pipeline_without_a_bridge_has_no_status_of_one(its: Bridged) -> None:
    assert bridge_status(pipeline("pay"), its.settings, time.time()) is None


def test_a_bridge_that_never_ran_here_is_a_note_and_nothing_wrong(its: Bridged) -> None:
    found = status(its)
    assert (found.at, found.runs, found.most) == (None, False, 3)
    assert bridge_problems(found, "pay.toml") == []
    assert "tidemark label-studio run pay.toml" in bridge_notes(found, "pay.toml")[0]


def test_cases_offered_answers_taken_and_the_last_contact_are_told(its: Bridged) -> None:
    events = [its.world.fresh() for _ in range(4)]
    run_once(its)
    shown = status(its)
    assert (shown.runs, shown.offered, shown.taken, shown.problem) == (True, 3, 0, "")
    assert shown.reached is not None
    assert abs(shown.reached - time.time()) < 60
    offered = [event for event in events if its.studio.of_event(event)]
    its.studio.annotate(its.task(offered[0])["id"], ADA, "fraud")
    its.studio.annotate(its.task(offered[1])["id"], ADA, ["fraud", "genuine"])
    run_once(its)
    found = status(its)
    assert (found.taken, found.refused) == (1, 1)
    assert bridge_problems(found, "pay.toml") == []
    assert bridge_notes(found, "pay.toml") == [
        "Label Studio: 1 annotation was not taken; `tidemark label-studio status pay.toml` says which, and why"
    ]
    assert "1 annotations taken, 1 not; last reached 20" in bridge_words(found)


def test_a_label_studio_that_is_away_is_told_with_since_when_until_it_is_back(its: Bridged) -> None:
    run_once(its)
    its.studio.fault = lambda _method, _path: "503"
    run_once(its)
    first = status(its)
    run_once(its)
    found = status(its)
    assert found.runs
    assert found.failing_since == first.failing_since
    assert found.reached is not None
    (problem,) = bridge_problems(found, "pay.toml")
    assert found.problem in problem
    assert "tried again" in problem
    its.studio.fault = lambda _method, _path: ""
    run_once(its)
    back = status(its)
    assert (back.failing_since, back.problem, bridge_problems(back, "pay.toml")) == (None, "", [])


def test_a_bridge_that_was_stopped_or_is_silent_does_not_run(its: Bridged) -> None:
    run_once(its)
    assert not status(its, after=SILENT + 60).runs
    assert its.ledger is not None
    its.ledger.stopped()
    (problem,) = bridge_problems(status(its), "pay.toml")
    assert (
        "does not run: see the log of `tidemark up`, or start it with `tidemark label-studio run pay.toml`" in problem
    )
    run_once(its)
    assert status(its).runs


def test_a_ledger_of_an_earlier_version_and_one_that_is_broken_are_read_as_far_as_they_go(its: Bridged) -> None:
    run_once(its)
    its.end()
    path = ledger_path(its.settings, "pay")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE contact")
    assert status(its).at is None
    run_once(its)
    assert status(its).runs
    its.end()
    path.write_bytes(b"no database" * 1_000)
    found = status(its)
    assert not found.runs
    assert str(path) in bridge_problems(found, "pay.toml")[0]

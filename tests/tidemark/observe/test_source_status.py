"""What `tidemark status` says of a pipeline's sources."""

from __future__ import annotations

import msgspec

from tidemark.observe.sources import SILENT, Sources, source_problems
from tidemark.records import Metric, decode
from tidemark.records.source_telling import AT_LEAST, EVERY, Counts, Telling

NOW = 1_800_000_000.0


def told(telling: Telling, counts: Counts, now: float, process: str = "p.0", *, runs: bool = True) -> Metric:
    metric = decode(Metric, telling.metric(counts, now, process, runs=runs).value)
    telling.told(counts, now)
    return metric


def test_a_source_tells_at_once_then_of_what_came_and_else_that_it_runs() -> None:
    telling = Telling("p.metrics", "s")
    assert telling.due(Counts(), NOW)
    assert told(telling, Counts(), NOW).value is None
    assert not telling.due(Counts(records=9), NOW + EVERY - 1)
    assert telling.due(Counts(records=9), NOW + EVERY)
    assert not telling.due(Counts(), NOW + AT_LEAST - 1)
    assert telling.due(Counts(), NOW + AT_LEAST)
    assert told(telling, Counts(records=50), NOW + 10).value == 5.0


def test_what_was_told_in_a_transaction_that_failed_was_not_told() -> None:
    telling = Telling("p.metrics", "s")
    told(telling, Counts(), NOW)
    telling.metric(Counts(records=100), NOW + 10, "p.0")  # it is not committed, and the records come again
    assert not telling.due(Counts(), NOW + 11), "a broker that is away is not asked without a pause"
    assert telling.due(Counts(records=100), NOW + 10 + EVERY)
    assert told(telling, Counts(records=200), NOW + 20).value == 10.0
    telling.metric(Counts(records=300), NOW + 30, "p.0")
    assert told(telling, Counts(records=200), NOW + 60).value == 0.0


def test_the_processes_of_a_source_count_together_and_those_that_ended_or_are_silent_do_not() -> None:
    sources = Sources({"s": "http", "hall": "mqtt"})
    for number in range(3):
        telling = Telling("p.metrics", "s")
        told(telling, Counts(), NOW - 10)
        at = NOW - (SILENT + 1 if number == 2 else 0)
        assert sources.take(told(telling, Counts(100, 1), at, f"p.{number}"))
    found, hall = sources.found(NOW)
    assert (found.processes, found.records, found.refused, found.per_second) == (2, 200, 2, 20.0)
    assert (hall.processes, hall.records, hall.at) == (0, 0, None)
    sources.take(told(Telling("p.metrics", "s"), Counts(100, 1), NOW, "p.1", runs=False))
    assert sources.found(NOW)[0].processes == 1


def test_what_anybody_writes_of_sources_that_nobody_declared_is_left_out_and_bounded() -> None:
    sources = Sources({"s": "http"})
    metric = told(Telling("p.metrics", "s"), Counts(), NOW)
    for number in range(500):
        forged = msgspec.structs.replace(metric, detail={**metric.detail, "process": f"{number}", "refused": "many"})
        assert sources.take(forged)
        assert sources.take(msgspec.structs.replace(metric, detail={"source": f"x{number}"}))
    (found,) = sources.found(NOW)
    assert found.processes == 64
    assert found.refused == 0
    assert not sources.take(msgspec.structs.replace(metric, name="late_share"))


def test_a_source_that_does_not_run_is_named_with_what_starts_it() -> None:
    sources = Sources({"s": "http", "hall": "mqtt"})
    sources.take(told(Telling("p.metrics", "s"), Counts(), NOW))
    (problem,) = source_problems(sources.found(NOW), "plant.toml")
    assert problem.startswith("source 'hall' has not run yet: see the log of `tidemark up`")
    assert problem.endswith("or start it with `tidemark ingest plant.toml --source hall`")
    assert "source 's' does not run" in source_problems(sources.found(NOW + SILENT), "plant.toml")[0]

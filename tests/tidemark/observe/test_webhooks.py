from __future__ import annotations

import pytest
from models import small_pipeline

from tidemark.observe.status_record import WebhookStatus
from tidemark.observe.webhooks import SILENT, Webhooks, given_up_notes, receiver_problems, webhook_problems
from tidemark.pipeline import Pipeline
from tidemark.records import Metric, decode
from tidemark.records.webhook_telling import AT_LEAST, EVERY, Deliveries, WebhookTelling

NOW = 1_750_000_000.0
FAILING = Deliveries(3, 0, 12, NOW - 3_600, "answered 503 Service Unavailable")


def pipeline() -> Pipeline:
    table = '[[webhooks]]\nname = "{}"\nurl = "https://{}/secret-path?x=y"\nevents = ["label.completed"]\n'
    both = table.format("siem", "siem.example.com") + 'secret_env = "S"\n'
    return small_pipeline(extra=both + table.format("crm", "crm.example.com:8443") + 'secret_env = "S"\n')


def told(name: str, standing: Deliveries, at: float = NOW, *, runs: bool = True) -> Metric:
    return decode(Metric, WebhookTelling("p.metrics", name).metric(standing, at, runs=runs).value)


def looked_at(*metrics: Metric, now: float = NOW) -> dict[str, WebhookStatus]:
    webhooks = Webhooks(pipeline().webhooks)
    assert all(webhooks.take(metric) for metric in metrics)
    return {each.name: each for each in webhooks.found(now)}


def test_each_webhook_says_how_it_stands_without_what_may_be_secret_in_its_address() -> None:
    found = looked_at(told("siem", FAILING), told("stranger", FAILING))
    assert set(found) == {"siem", "crm"}
    assert found["siem"] == WebhookStatus(
        name="siem",
        receiver="https://siem.example.com",
        runs=True,
        delivered=3,
        given_up=0,
        waiting=12,
        failing_since=NOW - 3_600,
        reason="answered 503 Service Unavailable",
        at=NOW,
    )
    assert (found["crm"].receiver, found["crm"].runs, found["crm"].at) == ("https://crm.example.com:8443", False, None)


def test_a_webhook_that_has_told_nothing_for_long_or_has_ended_does_not_run() -> None:
    assert looked_at(told("siem", FAILING), now=NOW + SILENT - 1)["siem"].runs
    assert not looked_at(told("siem", FAILING), now=NOW + SILENT)["siem"].runs
    ended = looked_at(told("siem", FAILING, runs=False))
    assert not ended["siem"].runs
    remedy = "see the log of `tidemark up`, or start it with `tidemark webhook run p.toml"
    assert webhook_problems(ended.values(), "p.toml") == [
        f"webhook 'siem' does not run: {remedy} siem`",
        f"webhook 'crm' has not run yet: {remedy} crm`",
    ]


def test_what_fails_is_told_with_since_when_why_and_what_waits() -> None:
    found = looked_at(told("siem", FAILING), told("crm", Deliveries(9, 2, 0)))
    (refused,), (given_up,) = receiver_problems(found.values()), given_up_notes(found.values(), "p.toml")
    assert refused == (
        "webhook 'siem': https://siem.example.com answered 503 Service Unavailable, since 2025-06-15 14:06 UTC; 12 "
        "deliveries wait. Once the receiver is mended they go by themselves, within a day"
    )
    assert given_up == (
        "webhook 'crm': 2 deliveries became dead letters since it began; once the receiver takes them, `tidemark "
        "deadletter replay p.toml --step 'webhook crm'`"
    )
    well = looked_at(told("siem", Deliveries(5))).values()
    assert receiver_problems(well) == given_up_notes(well, "p.toml") == []


@pytest.mark.parametrize("since", [1e300, -1e300, float(2**62)])
def test_whatever_time_a_stranger_tells_is_a_sentence(since: float) -> None:
    strange = Deliveries(1, 0, 1, since, "\x1b[2J" * 1_000)
    (problem,) = receiver_problems([looked_at(told("siem", strange))["siem"]])
    assert "since some time" in problem
    assert len(problem) < 1_000


def test_it_tells_when_something_has_changed_and_that_it_runs() -> None:
    telling = WebhookTelling("p.metrics", "siem")
    assert telling.due(Deliveries(), NOW)
    assert decode(Metric, telling.metric(Deliveries(), NOW).value).value is None
    assert not telling.due(Deliveries(5), NOW + EVERY - 1)
    assert telling.due(Deliveries(5), NOW + EVERY)
    assert not telling.due(Deliveries(), NOW + AT_LEAST - 1)
    assert telling.due(Deliveries(), NOW + AT_LEAST)
    assert telling.due(Deliveries(), NOW - 1), "a clock that was set back"
    metric = decode(Metric, telling.metric(Deliveries(5), NOW + 10).value)
    assert (metric.value, metric.n) == (0.5, 5)

"""The Loop page and Prometheus's figures, on a real Kafka: the sentences of `tidemark status`, and nothing hidden."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import plain_http
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, world
from feeding import feeder
from models import small_model, small_pipeline
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families

from console.loop.prometheus import exposition, name_of
from console.loop.series import MOST_DRAWN, Series, strongest
from console.pages.loop import headline_of
from labeling_grpc.client import Held
from labeling_grpc.label_studio.declared import ledger_path
from labeling_grpc.label_studio.ledger import Ledger, Taken
from support import wait_until
from tidemark.kafka import ensure_topics
from tidemark.observe import catalog
from tidemark.observe.status_record import (
    FigureStatus,
    FlowStatus,
    LabelingStatus,
    LabelStudioStatus,
    QualityStatus,
    Status,
    TopicStatus,
    WebhookStatus,
)
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import LabelStudioSpec, SourceSpec, WebhookSpec
from tidemark.records import Metric, encode
from tidemark.records.dead_letter import dead_letter
from tidemark.records.source_telling import Counts, Telling
from tidemark.records.webhook_telling import Deliveries, WebhookTelling
from tidemark.registry.codec import publish
from tidemark.registry.schema import ModelSchema
from tidemark.registry.writing import write_models
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings

_HOSTILE = "<img src=x onerror=alert(1)>\u202egnp"
_DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "alert-rules.yml"
_RULED = re.compile(r"\btidemark_[a-z0-9_]+")


def metric(name: str, value: float | None, at: int, model: str = "v000001-0000000a", **detail: str | float) -> Metric:
    return Metric(
        name=name,
        value=value,
        low=None if value is None else value / 2,
        high=value,
        n=40,
        at=at,
        model=model,
        source="labels",
        detail=dict(detail),
    )


def started(settings: Settings, pipeline: Pipeline) -> None:
    """Give a pipeline its topics, a champion and some figures."""
    specs = pipeline.topics.specs(raw=pipeline.raw_topics, hops=pipeline.hops, partitions=1, retention_ms=3_600_000)
    ensure_topics(settings, specs)
    model, manifest = small_model(ModelSchema.of(pipeline), version="v000001-0000000a", trees=3)
    whose = {"person": 80, "outcome": 40}
    manifest = msgspec.structs.replace(
        manifest,
        decision=f"first {_HOSTILE}",
        source_counts=whose,
        conflicts=3,
        known_until=manifest.created_at - 12_000_000,
    )
    outputs = publish(manifest, model.text, topic=pipeline.topics.models)
    write_models(settings, pipeline, lambda _: (outputs, None))
    producer = feeder(settings)
    telling = Telling(pipeline.topics.metrics, "hall")
    brought = telling.metric(Counts(records=1_234, refused=5), time.time(), "hall.0")
    producer.produce(brought.topic, brought.value, brought.key)
    refused = Deliveries(2, 1, 12, time.time() - 60, f"answered 503 {_HOSTILE}")
    for name, standing in (("siem", refused), ("crm", Deliveries(1_234))):
        told = WebhookTelling(pipeline.topics.metrics, name).metric(standing, time.time())
        producer.produce(told.topic, told.value, told.key)
    now, today = 1_750_000_000_000_000, time.time_ns() // 1_000
    figures = [
        metric("quality", 0.62, now, metric="average_precision", of_class="yes", way="cross-fitting", more=0),
        metric("late_share", 0.01, now),
        metric("inputs_drift", 0.2, today - 1, watches=1, column_1="customer_mean", evidence_1=0.4),
        metric(
            "inputs_drift",
            0.34,
            today,
            watches=1,
            column_1="customer_mean",
            column_2=_HOSTILE,
            evidence_1=0.3,
            evidence_2=0.1,
        ),
        metric("labels_drift", 0.02, now, watches=0),
        *(metric("prediction_rate", float(i), now + i * 1_000_000) for i in range(5)),
        metric("budget_spent", 3.0, now, spent_in_all=1_200, budget=4, total=9_000, unit="seconds", cost=420),
    ]
    for figure in figures:
        producer.produce(pipeline.topics.metrics, encode(figure))
    assert producer.flush(60) == 0


def sourced(pipeline: Pipeline) -> Pipeline:
    """With two sources, one of which never ran."""
    sources = [SourceSpec(name=name, kind="http", options={"address": "127.0.0.1:0"}) for name in ("hall", "yard")]
    webhooks = [
        WebhookSpec(name=name, url="https://hooks.example.com/secret", events=["label.completed"], secret_env="S")  # noqa: S106
        for name in ("siem", "crm", "pager")
    ]
    bridge = LabelStudioSpec(url="https://studio.example.com/tenant", project=3, token_env="S")  # noqa: S106
    return pipeline.model_copy(update={"sources": sources, "webhooks": webhooks, "label_studio": bridge})


@pytest.fixture(scope="module")
def looped(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A pipeline on Kafka of which only the labeling service runs, with tokens."""
    folder = tmp_path_factory.mktemp("loop")
    pipeline = sourced(small_pipeline("console-loop"))
    settings = Settings(state_dir=folder).at(kafka.bootstrap_servers or "")
    started(settings, pipeline)
    with Ledger(ledger_path(settings, pipeline.name), "of the test") as ledger:
        ledger.hold([Held(f"e-{number}", "t") for number in range(7)])
        ledger.take(Taken(1, 1, "e-1", "ada", "v", "a-1", ""))
        ledger.fared(time.time() - 120)
        ledger.fared(time.time(), f"Label Studio answered 503 {_HOSTILE}")
    with world(folder, pipeline, tokens=True, settings=settings) as its:
        yield its


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (1.0, 0.0, 1.0, "0.0 % to 100.0 %"),
        (0.62, 0.31, 0.7, "62 %"),
        (0.62, 0.1, 0.7, "10 % to 70 %"),
        (None, 0.0, 1.0, None),
    ],
)
def test_quality_is_one_large_figure_only_where_its_interval_is_narrow(
    value: float | None, low: float, high: float, shown: str | None
) -> None:
    quality = QualityStatus(
        model="m",
        metric="accuracy",
        value=value,
        low=low,
        high=high,
        n=40,
        of_class="",
        base_rate=None,
        chance=None,
        more=0,
        at=0.0,
    )
    assert headline_of(quality) == shown
    assert headline_of(None) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.62, 0.58, 0.66, "0.62"),
        (-0.31, -0.4, -0.22, "-0.31"),
        (0.1, -0.9, 0.6, "-0.90 to 0.60"),
        (1.0, None, None, "1.00"),
        (-2.0, None, None, "-2.00"),
        (None, None, None, None),
    ],
)
def test_r_squared_is_no_share_and_may_be_below_0(
    value: float | None, low: float | None, high: float | None, shown: str | None
) -> None:
    quality = QualityStatus(
        model="m",
        metric="r_squared",
        value=value,
        low=low,
        high=high,
        n=40,
        of_class="",
        base_rate=None,
        chance=0.0,
        more=0,
        at=0.0,
    )
    assert headline_of(quality) == shown


def test_the_page_says_what_status_says_and_shows_text_from_topics_as_text(looped: World) -> None:
    with Visitor(looped.base) as someone:
        someone.sign_in(token=looped.token("viewer", "vera"))
        page = someone.get("loop").text
    assert "no flow is running: `tidemark up console-loop.toml` starts them all" in page
    assert "average precision of yes 0.62 (95 %: 0.31 to 0.62) on 40 random answers" in page
    assert "v000001-0000000a" in page
    assert "1,200 of 9,000 seconds spent on cases in all; 3 of 4 cases in the last tile for 420 seconds" in page
    assert "12 s after its newest label" in page
    (drift,) = re.findall(r'aria-label="Drift".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    features, labels = (re.sub(r"<[^>]+>", " ", row).split() for row in drift.split("</tr>")[:2])
    assert " ".join(features).startswith("features 34 % 40 sampled events customer mean , &lt;img src=x")
    assert " ".join(labels) == "labels not watched yet 40 random answers –"
    assert "of the newest 40 rows" in page
    assert "80 of people and 40 of outcomes (3 of them contradicted)" in page
    shown = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", page)]
    assert ["hall", "http", "1", "1,234", "0", "5"] in shown
    assert ["yard", "http", "does", "not", "run", "0", "0", "0"] in shown
    assert ["crm", "https://hooks.example.com", "delivers", "1,234", "0", "0"] in shown
    assert ["pager", "https://hooks.example.com", "does", "not", "run", "0", "0", "0"] in shown
    assert "is refused" in page
    (bridge,) = re.findall(r"The bridge to Label Studio.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    told = " ".join(re.sub(r"<[^>]+>", " ", bridge).split())
    assert told.startswith(
        "https://studio.example.com project 3 does not get through Label Studio answered 503 &lt;img"
    )
    assert re.search(r" 7 of 50 1 0 \d+ \w+ \d{4}, \d\d:\d\d$", told), told
    assert "/tenant" not in page
    assert "webhook &#39;siem&#39;: https://hooks.example.com answered 503" in page
    assert "/secret" not in page
    assert "<img" not in page
    assert "first &lt;img src=x onerror=alert(1)&gt;\\u202egnp" in page


def test_figures_over_time_come_as_columns_and_the_learning_curve_by_labels(looped: World) -> None:
    with Visitor(looped.base) as someone:
        someone.sign_in(token=looped.token("viewer", "vera"))
        told = someone.get("loop/series?hours=168", accept="application/json").json()
        assert someone.get("loop/series?hours=9", accept="application/json").status_code == 400
    assert told["learning"] == [[120], [0.62], [0.31], [0.62]]
    assert told["drift"]["names"] == ["customer mean", "<img src=x onerror=alert(1)>\\u202egnp"]
    assert told["drift"]["columns"][1:] == [[0.2, 0.34], [0.4, 0.3], [None, 0.1]]
    assert set(told["series"]) >= {"prediction_rate", "late_share", "budget_spent"}


def test_the_page_is_kept_live_until_the_token_is_revoked(looped: World) -> None:
    with Visitor(looped.base) as someone:
        someone.sign_in(token=looped.token("reviewer", "rey"))
        with someone.http.stream("GET", f"{looped.base}/loop/events") as stream:
            lines = stream.iter_lines()
            event = next(line for line in lines if line.startswith("event:"))
            told = json.loads(next(line for line in lines if line.startswith("data:")).removeprefix("data:"))
            assert event == "event: live"
            assert "Champions" in told
            looped.revoke_all()
            assert next(line for line in lines if line.startswith("event:")) == "event: ended"


def test_prometheus_reads_the_figures_with_a_token_and_not_without(looped: World) -> None:
    refused = plain_http.get(f"{looped.url}/metrics", headers={"accept": "application/json"})
    assert refused.status_code == 401
    read = {}
    for role in ("annotator", "viewer"):
        headers = {"authorization": f"Bearer {looped.token(role, role)}"}
        read[role] = plain_http.get(f"{looped.url}/metrics", headers=headers)
    assert {role: response.status_code for role, response in read.items()} == {"annotator": 403, "viewer": 200}
    families = {family.name: family for family in text_string_to_metric_families(read["viewer"].text)}
    (sample,) = families["tidemark_quality_ratio"].samples
    assert (sample.value, sample.labels["pipeline"]) == (0.62, "console-loop")
    assert families["tidemark_flow_processes"].samples[0].value == 0


def full_status() -> Status:
    kinds = catalog.metrics().all().values()
    return Status(
        pipeline="p",
        file="p.toml",
        at=1.0,
        state="well",
        problems=["x"],
        labeling=LabelingStatus(reachable=True),
        flows=[FlowStatus(name="stream", processes=1, behind=2, model="m")],
        webhooks=[
            WebhookStatus(
                name="siem",
                receiver="https://siem.example.com",
                runs=True,
                delivered=7,
                given_up=1,
                waiting=2,
                failing_since=0.25,
                reason="answered 503",
                at=1.0,
            )
        ],
        label_studio=LabelStudioStatus(
            address="https://studio.example.com",
            project=3,
            runs=True,
            most=50,
            offered=12,
            taken=9,
            refused=1,
            reached=0.5,
            failing_since=0.5,
            problem="it is away",
            at=1.0,
        ),
        topics=[TopicStatus(name="p.raw", records=3, exact=True, per_second=1.0)],
        figures=[
            FigureStatus(
                name=kind.name, value=0.5, low=0.4, high=0.6, n=9, source="labels", model=f'{_HOSTILE}"\n\\', at=1.0
            )
            for kind in kinds
        ],
    )


def test_every_metric_has_a_name_by_prometheuss_rules_and_no_two_have_one() -> None:
    text = exposition([full_status(), msgspec.structs.replace(full_status(), pipeline="q")]).decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert re.fullmatch(r"tidemark_[a-z][a-z0-9_]*", family.name)
        assert not re.search(r"_(ms|us|minutes|percent|milliseconds)$", family.name)
        assert family.documentation
        assert {sample.labels["pipeline"] for sample in family.samples} == {"p", "q"}
    kinds = catalog.metrics().all().values()
    assert {name_of(kind.name, kind.unit) for kind in kinds} <= set(names)


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        ("h", "tidemark_rmse_seconds", 1_800.0),
        ("°C", "tidemark_rmse_celsius", 0.5),
        ("mm", "tidemark_rmse_meters", 0.0005),
        ("EUR", "tidemark_rmse_eur", 0.5),
        ("mm/s", "tidemark_rmse_mm_per_s", 0.5),
        ("\u00b5s", "tidemark_rmse_seconds", 0.5e-6),
        ("\u03bcs", "tidemark_rmse_seconds", 0.5e-6),
        ("m\u00b2", "tidemark_rmse_m2", 0.5),
        ("\u00b5g/m\u00b3", "tidemark_rmse_ug_per_m3", 0.5),
        ("s\u207b\u00b9", "tidemark_rmse_s_minus_1", 0.5),
        ("\u20ac/h", "tidemark_rmse_eur_per_h", 0.5),
        ("\u00b0F", "tidemark_rmse_degf", 0.5),
        ("MW", "tidemark_rmse_watts", 0.5e6),
        ("mW", "tidemark_rmse_watts", 0.5e-3),
        ("kWh", "tidemark_rmse_joules", 1.8e6),
        ("\u4e07/h", "tidemark_rmse", 0.5),
        ("\u4e07", "tidemark_rmse", 0.5),
        (None, "tidemark_rmse", 0.5),
    ],
)
def test_errors_of_a_number_have_its_unit_in_their_name_and_are_told_in_it(
    unit: str | None, name: str, value: float
) -> None:
    text = exposition([msgspec.structs.replace(full_status(), label_unit=unit)]).decode()
    found = {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}
    assert found[name] == pytest.approx(value)
    assert found[f"{name}_low"] == pytest.approx(0.8 * value)
    assert found[f"{name}_observations"] == 9
    assert name.replace("rmse", "gate_rmse_difference") in found


def test_each_webhook_has_its_own_figures() -> None:
    text = exposition([full_status()]).decode()
    found = {
        family.name: family.samples[0]
        for family in text_string_to_metric_families(text)
        if family.name.startswith("tidemark_webhook_") and "webhook" in family.samples[0].labels
    }
    assert {name: sample.value for name, sample in found.items()} == {
        "tidemark_webhook_up": 1,
        "tidemark_webhook_waiting": 2,
        "tidemark_webhook_failing_seconds": 0.75,
        "tidemark_webhook_delivered": 7,
        "tidemark_webhook_given_up": 1,
    }
    assert {sample.labels["webhook"] for sample in found.values()} == {"siem"}


def test_the_bridge_to_label_studio_has_figures() -> None:
    text = exposition([full_status(), Status(pipeline="q", file="q.toml", at=1.0, state="well")]).decode()
    found = {
        (sample.name, sample.labels.get("how")): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("tidemark_label_studio_")
        for sample in family.samples
    }
    assert found == {
        ("tidemark_label_studio_up", None): 1,
        ("tidemark_label_studio_cases_offered", None): 12,
        ("tidemark_label_studio_failing_seconds", None): 0.5,
        ("tidemark_label_studio_annotations_total", "taken"): 9,
        ("tidemark_label_studio_annotations_total", "refused"): 1,
    }


def test_the_example_of_alert_rules_names_metrics_that_there_are() -> None:
    text = exposition([full_status()]).decode()
    exposed = {name for line in text.splitlines() if not line.startswith("#") for name in _RULED.findall(line)}
    ruled = set(_RULED.findall(_DOCUMENTED.read_text(encoding="utf-8")))
    assert len(ruled) >= 6
    assert ruled - exposed == set()


def test_series_are_bounded_and_thinned_evenly_with_the_newest_kept() -> None:
    series = Series()
    for i in range(3_000):
        series.take(metric("late_share", float(i), i * 1_000_000))
    series.take(metric("late_share", None, 0))
    series.take(metric("unheard_of", 1.0, 0))
    points = series.since("late_share", 0.0)
    assert len(points) <= MOST_DRAWN
    assert points[-1].value == 2_999
    assert {round(b.value - a.value) for a, b in itertools.pairwise(points)} == {5}
    assert len(series.since("late_share", 2_998.0)) == 2


def test_of_a_figure_with_parts_those_that_reach_furthest_are_drawn_and_what_is_not_told_is_a_gap() -> None:
    series = Series()
    told: list[dict[str, str | float]] = [
        {"column_1": "a", "evidence_1": 0.1, "column_2": "b", "evidence_2": 0.3},
        {"column_1": "a", "evidence_1": 0.2, "column_2": "c", "evidence_2": "much", "column_3": "d"},
        {"column_1": "c", "evidence_1": 0.9, "column_2": "a", "evidence_2": float("inf"), "column_9": "e"},
    ]
    for at, detail in enumerate(told):
        series.take(metric("inputs_drift", 0.1, at, "v000001-0000000a", **detail))
    points = series.since("inputs_drift", 0.0)
    assert strongest(points, 2) == [("c", [None, None, 0.9]), ("b", [0.3, None, None])]
    assert [name for name, _ in strongest(points, 9)] == ["c", "b", "a"]
    assert strongest([], 3) == []


def test_each_edge_of_the_picture_tells_the_dead_letters_of_the_last_day(looped: World) -> None:
    topics, producer = looped.pipeline.topics, feeder(looped.settings)
    day = 86_400_000
    for source, count, age in ((looped.pipeline.raw_topics[0], 3, 0), (topics.labels, 1, 0), (topics.labels, 5, day)):
        batch = Batch(
            Partition(source, 0, "0a1b2c3d"),
            np.arange(count),
            np.zeros(count, np.int64),
            [None] * count,
            [b"x"] * count,
        )
        for row in range(count):
            letter = dead_letter(topics.deadletter, batch, row, "decode", "no JSON")
            at = int(time.time() * 1_000) - age
            producer.produce(letter.topic, letter.value, headers=list(letter.headers), timestamp=at)
    producer.produce(topics.deadletter, b"x", headers=[("source_topic", b"t" * 1_000)])
    assert producer.flush(60) == 0

    def told(role: str) -> list[str]:
        with Visitor(looped.base) as someone:
            someone.sign_in(token=looped.token(role, role))
            page = someone.get("loop").text
        edges = re.findall(r'<li class="topic">(.*?)</li>', page, re.DOTALL)
        return [" ".join(re.sub(r"<[^>]+>", " ", edge).split()) for edge in edges if "dead letter" in edge]

    def both() -> bool:
        found = told("viewer")
        return len(found) == 2 and found[0].endswith(" 3 dead letters in 24 h") and "1 dead letter in" in found[1]

    wait_until(both, "the edges to tell of their dead letters")
    with Visitor(looped.base) as someone:
        someone.sign_in(token=looped.token("admin", "boss"))
        assert '/letters">3 dead letters in 24 h</a>' in someone.get("loop").text


def test_without_kafka_the_page_says_so_calmly(tmp_path: Path) -> None:
    with world(tmp_path, small_pipeline("pay")) as its, Visitor(its.base) as someone:
        someone.sign_in(name="ada")
        page = someone.get("loop").text
    assert "Kafka is not reached" in page
    assert "does not answer" in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_of_the_loop_bars_anybody(width: int, scheme: str, looped: World, browser: Chromium) -> None:
    with browser.page(width, 800, scheme) as page:
        page.goto(looped.base + "/")
        page.fill("#token", looped.token("viewer", "vera"))
        page.press("#token", "Enter")
        expect(page.get_by_role("heading", name="Champions")).to_be_visible()
        expect(page.locator("[data-chart=learning] canvas")).to_be_visible()
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_table_that_was_moved_aside_keeps_its_place_and_the_focus_when_the_page_is_told_anew(
    looped: World, browser: Chromium
) -> None:
    with browser.page(730) as page:
        page.goto(looped.base + "/")
        page.fill("#token", looped.token("admin", "boss"))
        page.press("#token", "Enter")
        page.goto(looped.base + "/loop")
        hooks = page.get_by_role("region", name="Webhooks and their receivers")
        hooks.focus()
        page.evaluate("main.style.width = '480px'")
        hooks.evaluate("(each) => (each.scrollLeft = 40)")
        page.evaluate("live.dataset.last = ''; live.firstElementChild.dataset.old = '1'")
        expect(page.locator("[data-old]")).to_have_count(0)
        assert hooks.evaluate("(each) => each.scrollLeft") == 40
        expect(hooks).to_be_focused()
        expect(page.locator("#spoken")).to_have_text("")

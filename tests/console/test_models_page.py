"""The Models page on a real Kafka: seen by those who may, changed by administrators, through what the command does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, world
from feeding import feeder
from models import label_of, number_pipeline, numbers, rows, small_model, small_pipeline
from playwright.sync_api import expect

from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.records import encode
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import Registry, publish
from tidemark.registry.operations import registry_of
from tidemark.registry.schema import ModelSchema
from tidemark.registry.writing import write_models
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

VERSIONS = ["v000001-0000000a", "v000002-0000000b"]
_HOSTILE = "<b onclick=x>\u202e"


def two_champions(settings: Settings, pipeline: Pipeline) -> None:
    outputs: list[Output] = []
    for seed, version in enumerate(VERSIONS):
        model, manifest = small_model(ModelSchema.of(pipeline), version=version, seed=seed, trees=4)
        manifest = msgspec.structs.replace(
            manifest, parent=VERSIONS[0] if seed else None, created_at=seed + 1, decision=f"better {_HOSTILE}"
        )
        outputs += publish(manifest, model.text, topic=pipeline.topics.models)
    write_models(settings, pipeline, lambda _: (outputs, None))


@pytest.fixture
def its(kafka: Settings, unique: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A pipeline with two champions, the second the child of the first; the service asks for tokens."""
    yield from made_of(small_pipeline(unique), kafka, tmp_path_factory.mktemp("models"))


@pytest.fixture
def of_numbers(kafka: Settings, unique: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same, where the label is a number."""
    yield from made_of(number_pipeline(unique), kafka, tmp_path_factory.mktemp("models"))


def made_of(pipeline: Pipeline, kafka: Settings, folder: Path) -> Iterator[World]:
    settings = Settings(state_dir=folder).at(kafka.bootstrap_servers or "")
    two_champions(settings, pipeline)
    with world(folder, pipeline, tokens=True, settings=settings) as made:
        yield made


def label(its: World, count: int) -> None:
    """People answer, after both models were made; one of them has a name that is no name."""
    topics = its.pipeline.topics
    ensure_topics(its.settings, [TopicSpec(topics.labels, 1, {})])
    features, target = numbers(count, 3) if its.pipeline.label.is_number else rows(count, 3)
    producer = feeder(its.settings)
    for index in range(count):
        value = float(target[index])
        answer = repr(value) if its.pipeline.label.is_number else its.pipeline.label.classes[int(value)]
        made = label_of(index + 1, features[index].tolist(), answer, topic=its.pipeline.raw_topics[0])
        producer.produce(topics.labels, encode(msgspec.structs.replace(made, annotator=f"eve {_HOSTILE}")))
    assert producer.flush(30) == 0


def in_force(made: World) -> Registry:
    return registry_of(made.settings, made.pipeline)


def do(someone: Visitor, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": someone.csrf, "accept": "text/html, application/json"}
    return someone.http.post(f"{someone.base}/models", data=fields, headers=headers)


def test_models_are_listed_and_compared_and_their_texts_are_text(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("viewer", "vera"))
        page = someone.get("models").text
        compared = someone.get(f"models/compare?first={VERSIONS[0]}&second={VERSIONS[1]}").text
        unknown = someone.get("models/compare?first=v9&second=v000002")
        none = someone.get("models/compare?first=v000002")
    for text in (page, compared):
        assert all(version in text for version in VERSIONS)
        assert "<b onclick" not in text
        assert "&lt;b onclick=x&gt;\\u202e" in text
    assert "Promote" not in page
    assert "The same likeliest class for" in compared
    assert (unknown.status_code, none.status_code) == (409, 400)
    assert "there is no model &#39;v9&#39;" in unknown.text


def test_two_models_are_measured_on_labels_that_neither_has_learnt_from(its: World) -> None:
    label(its, 90)
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("viewer", "vera"))
        page = someone.get(f"models/compare?first={VERSIONS[0]}&second={VERSIONS[1]}").text
        twice = someone.get(f"models/compare?first={VERSIONS[0]}&second={VERSIONS[0]}").text
    assert "90 answers that neither has learnt from" in page
    assert "not of the stream" in page
    assert page.count("(95 %: ") >= 9
    assert page.count('class="curve other"') == page.count('class="curve base"') == 4
    assert "Neither is shown to be better" in twice
    assert "NaN" not in page
    assert _HOSTILE not in page


def test_two_models_of_a_number_are_measured_in_its_unit_and_bar_nobody(of_numbers: World, browser: Chromium) -> None:
    label(of_numbers, 90)
    for width, scheme in ((1440, "dark"), (360, "light")):
        with browser.page(width, 800, scheme) as page:
            page.goto(of_numbers.base + "/")
            page.fill("#token", of_numbers.token("viewer", "vera"))
            page.press("#token", "Enter")
            expect(page.locator("h1")).to_be_visible()
            page.goto(f"{of_numbers.base}/models/compare?first={VERSIONS[0]}&second={VERSIONS[1]}")
            measured = page.get_by_role("region", name="On labels that neither has learnt from")
            expect(measured).to_contain_text("better: the second's RMSE less the first's is")
            expect(measured.get_by_role("row", name="RMSE")).to_contain_text(" h (95 %: ")
            expect(measured.get_by_role("row", name="numbers within their interval")).to_contain_text("(95 %: ")
            expect(page.get_by_text("Rank correlation 0.")).to_be_visible()
            assert page.get_by_text("class").count() == 0
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_label_or_two_are_no_figures_but_a_sentence(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("viewer", "vera"))
        address = f"models/compare?first={VERSIONS[0]}&second={VERSIONS[1]}"
        none = someone.get(address).text
        label(its, 2)
        few = someone.get(address).text
    assert "too few to tell: none is new to both models, and 10 are needed." in none
    assert "too few to tell: 2 labels are new to both models, and 10 are needed." in few
    for page in (none, few):
        assert "Precision and recall" not in page
        assert "The labels that made each" in page


def test_before_the_pipeline_was_started_the_page_says_how_to_start_it(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    settings = Settings(state_dir=tmp_path).at(kafka.bootstrap_servers or "")
    with world(tmp_path, small_pipeline(unique), settings=settings) as made, Visitor(made.base) as someone:
        someone.sign_in(name="ada")
        assert f"not started yet: tidemark up {unique}.toml" in someone.get("models").text


@pytest.mark.parametrize("role", ["viewer", "reviewer", "annotator"])
def test_nobody_but_an_administrator_puts_a_model_in_force(role: str, its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token(role, "mallory"))
        for fields in ({"do": "rollback"}, {"do": "promote", "version": VERSIONS[0]}, {"do": "pin"}, {"do": "unpin"}):
            assert do(someone, **fields).status_code == 403
    registry = in_force(its)
    assert registry.champion is not None
    assert (registry.champion.version, registry.pinned) == (VERSIONS[1], None)


def test_an_administrator_rolls_back_pins_and_lets_go_and_it_is_written_down_by_whom(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        assert "Promote" in someone.get("models").text
        assert "In force as v000003-0000000a" in do(someone, do="rollback").text
        assert "is champion already" in do(someone, do="promote", version=VERSIONS[0]).text
        assert "is pinned: no model replaces it" in do(someone, do="pin").text
        assert "The pin is lifted" in do(someone, do="unpin").text
        assert "no champion is pinned" in do(someone, do="unpin").text
        assert do(someone, do="destroy").status_code == 400
    registry = in_force(its)
    assert registry.champion is not None
    manifest = registry.manifests[registry.champion.version]
    assert (manifest.copy_of, registry.pinned) == (VERSIONS[0], None)
    assert manifest.decision.startswith("promoted by boss: ")


def test_the_page_is_worked_with_a_browser_and_bars_nobody(its: World, browser: Chromium) -> None:
    label(its, 200)
    for width, scheme in ((1440, "dark"), (360, "light")):
        with browser.page(width, 800, scheme) as page:
            page.goto(its.base + "/")
            page.fill("#token", its.token("admin", "boss"))
            page.press("#token", "Enter")
            expect(page.locator("#label")).to_be_visible()
            page.goto(its.base + "/models")
            assert barriers(page) == []
            menu = page.locator("header nav")
            assert menu.evaluate("nav => nav.scrollWidth <= nav.clientWidth"), "an administrator sees the whole menu"
            lines = menu.evaluate("nav => new Set([...nav.children].map(each => each.offsetTop)).size")
            assert lines == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_role("button", name="Pin it").click()
            expect(page.locator("#list .told")).to_contain_text("is pinned: no model replaces it")
            page.get_by_role("button", name="Lift the pin").click()
            expect(page.locator("#list .told")).to_contain_text("The pin is lifted")
            page.get_by_role("button", name="Compare the two chosen").click()
            expect(page.get_by_role("heading", name="How they answer the same rows")).to_be_visible()
            expect(page.get_by_role("img", name="Precision against recall")).to_be_visible()
            for summary in page.locator("summary").all():
                summary.click()
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width

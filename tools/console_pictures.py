"""Draws docs/assets/console: the console's pages in the system's Chromium, from made-up cases of card fraud.

    python tools/console_pictures.py                    the pages Label, Review, Work, Why and Models
    python tools/console_pictures.py URL/p/PIPELINE     the Loop page of a console that runs, to which a name signs in

Pictures differ by the machine's fonts, so nothing compares them; look at them before they are committed.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "lib")]

import numpy as np  # noqa: E402
from browser import MISSING, Chromium, chromium, chromium_path  # noqa: E402 - found through the line above
from confluent_kafka import Producer  # noqa: E402
from console_world import cases_alike, fraud_cases, fraud_desk, fraud_pipeline, world  # noqa: E402
from lineage_world import run_shop  # noqa: E402
from models import label_of, rows, small_model, small_pipeline  # noqa: E402
from msgspec.structs import replace  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402

from labeling_grpc.client import Annotation, LabelingClient  # noqa: E402
from labeling_grpc.client.administration import LabelingAdminClient  # noqa: E402
from labeling_grpc.tables.schema import answers  # noqa: E402
from tidemark.broker import EmbeddedKafka  # noqa: E402
from tidemark.kafka import ensure_topics, producer_config, topic_incarnation  # noqa: E402
from tidemark.pipeline import Pipeline  # noqa: E402
from tidemark.records import NO_MODEL, LabelRange, encode  # noqa: E402
from tidemark.records.topics import TopicSpec  # noqa: E402
from tidemark.registry.codec import publish  # noqa: E402
from tidemark.registry.schema import ModelSchema  # noqa: E402
from tidemark.registry.writing import write_models  # noqa: E402
from tidemark.runtime.processor import Output  # noqa: E402
from tidemark.runtime.settings import Settings  # noqa: E402

FOLDER: Final = ROOT / "docs" / "assets" / "console"
_WIDE: Final = (1280, 860)
_NARROW: Final = (360, 740)
_LIVE_MS: Final = 6_000
_COLORS: Final = 128


def keep(page: Page, name: str) -> None:
    """Write what the page shows, with as few colours as it takes to look the same."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}.png: {(FOLDER / f'{name}.png').stat().st_size // 1024} kB")


def sign_in(page: Page, base: str) -> None:
    """By name."""
    page.goto(f"{base}/")
    page.fill("#name", "ada")
    page.press("#name", "Enter")


def label(browser: Chromium) -> None:
    """The Label page, wide in light and dark, and narrow."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), fraud_pipeline()) as its:
        fraud_desk(its)
        for size, scheme, name in (
            (_WIDE, "light", "label-light"),
            (_WIDE, "dark", "label-dark"),
            (_NARROW, "light", "label-narrow"),
        ):
            with browser.page(*size, scheme) as page:
                sign_in(page, its.base)
                page.wait_for_selector("article.case")
                keep(page, name)
                page.keyboard.press("u")
                page.wait_for_timeout(500)


def alike(browser: Chromium) -> None:
    """The list of cases like the one in hand."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), fraud_pipeline()) as its:
        its.take_in(*cases_alike(6))
        with browser.page(*_WIDE, "light") as page:
            sign_in(page, its.base)
            page.wait_for_selector("article.case")
            page.keyboard.press("b")
            page.wait_for_selector("#bulk[open]")
            keep(page, "bulk-light")


def review(browser: Chromium) -> None:
    """The Review page: an escalation, and what is known of three people."""
    cases = fraud_cases()
    truth = {each.event_id: label for each, label in zip(cases.candidates, cases.truth, strict=True)}
    pipeline = fraud_pipeline("\n[labeling]\nanswers = 2\n")
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), pipeline, tokens=True) as its:
        its.take_in(*cases.candidates[:150])
        for who in ("ida", "ben"):
            odd = {event: "legitimate" for number, event in enumerate(truth) if who == "ben" and number % 11 == 0}
            its.answered(truth | odd, who, its.token("annotator", who))
        with its.server.store.engine.begin() as connection:  # as if a person had looked at each
            looked = 4_000_000 + answers.c.answered_at % 9_000_000
            connection.execute(answers.update().values(leased_at=answers.c.answered_at - looked))
        its.take_in(*cases.candidates[150:154])
        with LabelingClient(its.server.address, "ida", token=its.token("annotator", "ida")) as client:
            client.escalate(client.lease(1)[0], "Three terminals in one hour, and the customer says it was her.")
        token = its.token("admin", "rita")
        for size, scheme, name in ((_WIDE, "light", "review-light"), (_WIDE, "dark", "review-dark")):
            with browser.page(*size, scheme) as page:
                show(page, its.base, "review", token)
                keep(page, name)
        with browser.page(*_NARROW, "light") as page:
            show(page, its.base, "review", token)
            keep(page, "review-narrow")


def work(browser: Chromium) -> None:
    """The Work page: cases of three channels, some late, and three people."""
    extra = '\n[labeling]\nsegment = "channel"\n\n[labeling.due]\ndefault = "4h"\nsegments = { web = "10m" }\n'
    now = time.time_ns() // 1_000
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), fraud_pipeline(extra), tokens=True) as its:
        its.take_in(
            *(
                replace(case, time=now - 240_000_000 * number, context=case.context | {"channel": channel})
                for number, (case, channel) in enumerate(
                    zip(fraud_cases().candidates[:14], cycle(("web", "branch", "phone")), strict=False)
                )
            )
        )
        with LabelingClient(its.server.address, "ida", token=its.token("annotator", "ida")) as client:
            client.submit_many([Annotation(task, "legitimate") for task in client.lease(4)[:3]])
        with LabelingAdminClient(its.server.address, its.pipeline.name, token=its.token("admin", "boss")) as admin:
            admin.update("ida", quota=40)
            admin.update("ben", skills=["cards", "loans"], quota=120)
            admin.update("ada", absent_until=now + 5 * 86_400_000_000)
            admin.assign([case.event_id for case in its.taken[5:8]], "ben", "knows the customers")
        token = its.token("reviewer", "rita")
        for size, scheme, name in (
            (_WIDE, "light", "work-light"),
            (_WIDE, "dark", "work-dark"),
            (_NARROW, "light", "work-narrow"),
        ):
            with browser.page(*size, scheme) as page:
                show(page, its.base, "work", token)
                keep(page, name)


def why_and_models(browser: Chromium) -> None:
    """An event followed again, and two models side by side: pages that read Kafka."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_environment({})
        with EmbeddedKafka(Path(folder) / "kafka", settings=settings) as kafka:
            for draw in (why, models):
                own = Path(folder) / draw.__name__
                draw(browser, own, Settings(state_dir=own).at(kafka.bootstrap_servers))


def why(browser: Chromium, folder: Path, settings: Settings) -> None:
    """The Why page of a case that was labeled."""
    ran = run_shop(settings, "shop", 300)
    first = next(each for each in ran.candidates if each.model != NO_MODEL)
    ran.produce([Output(ran.pipeline.topics.labels, encode(ran.label(first, comment="confirmed by phone")))])
    with world(folder, ran.pipeline, tokens=True, settings=settings) as its:
        token = its.token("reviewer", "rita")
        for size, scheme, name in (
            ((1280, 1000), "light", "why-light"),
            ((1280, 1000), "dark", "why-dark"),
            (_NARROW, "light", "why-narrow"),
        ):
            with browser.page(*size, scheme) as page:
                show(page, its.base, f"why?event={first.event_id}", token)
                keep(page, name)


def models(browser: Chromium, folder: Path, settings: Settings) -> None:
    """Two models on labels that neither has learnt from."""
    pipeline = small_pipeline("fraud", ("legitimate", "fraud"))
    versions = publish_two(settings, pipeline)
    with world(folder, pipeline, tokens=True, settings=settings) as its:
        token = its.token("viewer", "vera")
        for size, scheme, name in (
            ((1280, 1100), "light", "models-light"),
            ((1280, 1100), "dark", "models-dark"),
            (_NARROW, "light", "models-narrow"),
        ):
            with browser.page(*size, scheme) as page:
                show(page, its.base, f"models/compare?first={versions[0]}&second={versions[1]}", token)
                keep(page, name)


def publish_two(settings: Settings, pipeline: Pipeline) -> list[str]:
    """Two champions of the pipeline, the second of more labels, and labels that are newer than both."""
    schema, topics = ModelSchema.of(pipeline), pipeline.topics
    ensure_topics(settings, [TopicSpec(topics.labels, 1, {})])
    incarnation = topic_incarnation(settings, topics.labels)
    features, target = rows(1_400, 5)
    noisy = np.where(np.random.default_rng(2).random(1_400) < 0.12, 1 - target, target)
    producer = Producer(producer_config(settings))
    for index in range(1_400):
        answer = pipeline.label.classes[int(noisy[index])]
        made = label_of(index, features[index].tolist(), answer, topic=pipeline.raw_topics[0], annotator="ida")
        producer.produce(topics.labels, encode(made))
    producer.flush(30)
    outputs: list[Output] = []
    versions = ["v000001-3f2a9c01", "v000002-b81d4e77"]
    for number, (version, count) in enumerate(zip(versions, (120, 800), strict=True)):
        model, manifest = small_model(schema, version=version, count=count, seed=5, trees=8 + 30 * number)
        ranges = [LabelRange(topic=topics.labels, partition=0, start=0, end=count, incarnation=incarnation)]
        manifest = replace(
            manifest,
            parent=versions[0] if number else None,
            trained_on=ranges,
            known_until=2**60,
            created_at=manifest.created_at + number * 86_400_000_000,
        )
        outputs += publish(manifest, model.text, topic=topics.models)
    write_models(settings, pipeline, lambda _: (outputs, None))
    return versions


def show(page: Page, base: str, path: str, token: str) -> None:
    """A page, as who has a token."""
    page.goto(f"{base}/")
    page.fill("#token", token)
    page.press("#token", "Enter")
    page.wait_for_selector("nav")
    page.goto(f"{base}/{path}")
    page.wait_for_selector("main")


def loop(browser: Chromium, base: str) -> None:
    """The Loop page of a console that runs."""
    for scheme in ("light", "dark"):
        with browser.page(1280, 1500, scheme) as page:
            sign_in(page, base)
            page.wait_for_selector("#label")
            page.goto(f"{base}/loop")
            page.wait_for_timeout(_LIVE_MS)
            keep(page, f"loop-{scheme}")


def main() -> None:
    """Draw what is asked for."""
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    with chromium(path) as browser:
        if len(sys.argv) > 1:
            loop(browser, sys.argv[1])
        else:
            label(browser)
            alike(browser)
            review(browser)
            work(browser)
            why_and_models(browser)


if __name__ == "__main__":
    main()

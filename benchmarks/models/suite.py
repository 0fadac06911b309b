"""`make bench-faults`, row F3: a damaged model is never served, nothing of ours dies, the old model goes on.

A model is published; then, again and again, its successor with random damage (`benchmarks.models.mutations`), to the
rule that serves champions (`tidemark.registry.champion`), in this process. In seven of ten the SHA-256 and size are
made to fit the damage, for else they would hide what the strict parse, the loading in a process of its own, the golden
rows and the structure's digest are worth. A part of them goes through a real Kafka and a real watcher as well.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import Producer

from benchmarks.models.mutations import Mutator
from benchmarks.models.trial import Outcome, Trial, model_of
from benchmarks.support.report import write
from tidemark.broker import EmbeddedKafka
from tidemark.errors import ModelError
from tidemark.kafka import ensure_topics, producer_config
from tidemark.pipeline import Pipeline, load
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import Registry, publish
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import structure_sha256
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

MUTANTS: Final = 10_000
_FILE: Final = Path("pipelines/fraud.toml")
_SEED: Final = 3
_WAIT: Final = 30.0


def teeth(trial: Trial, count: int, rng: random.Random) -> tuple[int, int]:
    """Of resealed mutants that the strict parse refused, given to LightGBM all the same: how many killed it or hung."""
    killed = tried = 0
    with Sandbox(timeout=2) as sandbox:
        while tried < count:
            mutant = trial.mutator.text_mutant(rng, reseal=True)
            if trial.run(mutant) != "strict parse":
                continue
            registry = Registry()
            registry.feed_outputs(mutant.outputs)
            try:
                text = registry.text("v000002-00000000")
            except ModelError:
                continue  # not UTF-8
            before = sandbox.deaths
            try:
                sandbox.raw_scores(text, np.zeros((8, trial.width)))
            except ModelError:
                killed += sandbox.deaths - before
            tried += 1
    return tried, killed


def over_kafka(pipeline: Pipeline, count: int) -> dict[str, int]:
    """The same through Kafka and a watcher: refused, harmless, served; and whether a good successor gets through."""
    rng = random.Random(_SEED)  # noqa: S311 - seeded damage
    topics = pipeline.topics
    schema = ModelSchema.of(pipeline)
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder), settings=Settings()) as kafka:
        settings = Settings().at(kafka.bootstrap_servers)
        ensure_topics(
            settings, [TopicSpec(topics.models, 1, {"cleanup.policy": "compact"}), TopicSpec(topics.metrics, 1, {})]
        )
        producer = Producer(producer_config(settings, transactional_id="mutants"))
        producer.init_transactions(_WAIT)
        model, manifest = model_of(schema, "v000001-00000000", 1)
        successor, described = model_of(schema, "v000002-00000000", 2)
        with ModelWatcher(settings, pipeline) as watcher:
            _produce(producer, publish(manifest, model.text, topic=topics.models))
            _await(partial(_in_force, watcher, manifest.version), "the first champion")
            for number in range(count):
                version = f"v{2 * number + 10:06d}-00000000"
                named = msgspec.structs.replace(described, version=version, parent=manifest.version)
                mutant = Mutator(named, successor.text, model.text, topics.models).any_mutant(rng)
                seen = set(watcher.refused)
                _produce(producer, mutant.outputs)
                _await(partial(_judged, watcher, seen, manifest.version), f"mutant {number} ({mutant.how})")
                current = watcher.current()
                if current is None or current.version == manifest.version:
                    found["refused"] += 1
                    continue
                equal = structure_sha256(current.forest.model) == successor.structure_sha256
                found["harmless" if equal else "served"] += 1
                manifest = msgspec.structs.replace(manifest, version=f"v{2 * number + 11:06d}-00000000")
                _produce(producer, publish(manifest, model.text, topic=topics.models))
                _await(partial(_in_force, watcher, manifest.version), "the old champion, again, under the next serial")
            good = msgspec.structs.replace(described, version=f"v{2 * count + 10:06d}-00000000")
            _produce(producer, publish(good, successor.text, topic=topics.models))
            _await(partial(_in_force, watcher, good.version), "the good successor")
            found["good successor in force"] = 1
    return dict(found)


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """F3: mutants that were served, of 10,000."""
    count, gnawed, through = (600, 30, 20) if quick else (MUTANTS, 300, 200)
    pipeline = load(_FILE)
    rng = random.Random(_SEED)  # noqa: S311 - seeded damage
    begun = time.monotonic()
    with Sandbox() as sandbox:
        trial = Trial(pipeline, sandbox)
        for _ in range(count):
            trial.run(trial.mutator.any_mutant(rng))
        deaths = sandbox.deaths
        outcome, trial.outcome = trial.outcome, Outcome()
        tried, killed = teeth(trial, gnawed, rng)
    seconds = time.monotonic() - begun
    kafka = over_kafka(pipeline, through)
    reached = outcome.served == 0 and outcome.broken == 0 and deaths == 0 and not kafka.get("served")
    return [
        {
            "id": "F3",
            "value": outcome.served + outcome.broken + kafka.get("served", 0),
            "unit": f"damaged models served, of {outcome.tried:,}",
            "target": 0,
            "reached": reached,
            "detail": {
                "quick": quick,
                "mutants": outcome.tried,
                "refused_by": dict(outcome.refused.most_common()),
                "in_force_with_every_split_leaf_and_count_equal": outcome.harmless,
                "their_damage": dict(outcome.by_damage.most_common()),
                "helper_processes_killed_after_the_strict_parse": deaths,
                "given_to_lightgbm_without_the_strict_parse": tried,
                "of_these_killed_or_hung_it": killed,
                "times_the_old_model_answered_otherwise": outcome.broken,
                "through_kafka": kafka,
                "unnamed_reasons": outcome.unnamed[:5],
                "seconds": round(seconds, 1),
            },
        }
    ]


def _version(watcher: ModelWatcher) -> str | None:
    current = watcher.current()
    return None if current is None else current.version


def _in_force(watcher: ModelWatcher, version: str) -> bool:
    return _version(watcher) == version


def _judged(watcher: ModelWatcher, seen: set[str], old: str) -> bool:
    return set(watcher.refused) != seen or _version(watcher) != old


def _produce(producer: Producer, outputs: list[Output]) -> None:
    producer.begin_transaction()
    for output in outputs:
        producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    producer.commit_transaction(_WAIT)


def _await(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: nothing happened within {_WAIT:g} s")
        time.sleep(0.01)


def main() -> None:
    """Run and write `benchmarks/results/models.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="600 mutants")
    write("models", rows(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()

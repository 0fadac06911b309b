"""Seeded logs of what the select, monitor and retrain flows read, with records of strangers among them."""

from __future__ import annotations

import json

import numpy as np
from committing import START_MS, Row
from models import label_values, small_pipeline

from benchmarks.labels.proposal_streams import pipeline, stream
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Partition

_DELAY, _GRACE = 400_000, 100_000
_INCARNATION = "0a1b2c3d"
_JUNK = (b"{", None, b"junk", b"[]")


def proposals(seed: int) -> tuple[Pipeline, dict[Partition, list[Row]]]:
    """Proposals of three partitions."""
    rng = np.random.default_rng(seed)
    policy = ("margin", "margin_kmeans", "badge", "random")[seed % 4]
    pipe = pipeline(budget=3, explore=1 + seed % 3, partitions=3, policy=policy, total=[None, 60][seed % 2])
    records = stream(pipe, rng, records=150, rows=40, pace=60.0, cold=20)
    log = [Row(record.value, START_MS + at, record.headers) for at, record in enumerate(records)]
    for value in _JUNK:
        log.insert(int(rng.integers(len(log))), Row(value))
    other = Row(
        log[3].value,
        START_MS,
        [(name, (content or b"").replace(b'"p.raw"', b'"x.raw"')) for name, content in log[5].headers],
    )
    log.insert(int(rng.integers(len(log))), other)
    return pipe, {Partition(pipe.topics.proposals, 0, _INCARNATION): log}


def measured(seed: int) -> tuple[Pipeline, dict[Partition, list[Row]]]:
    """Predictions of two partitions, their outcomes, some of them strangers', and labels."""
    rng = np.random.default_rng(seed)
    plain = pipeline(budget=2, explore=1, partitions=2)
    pipe = plain.model_copy(update={"label": plain.label.model_copy(update={"delay": _DELAY, "grace": _GRACE})})
    now = START_MS * 1_000
    logs: dict[Partition, list[Row]] = {}
    outcomes: list[tuple[int, bytes]] = []
    for index in range(2):
        rows = []
        for at, time in enumerate(np.sort(rng.integers(0, 4 * (_DELAY + _GRACE), 500)).tolist()):
            p = round(float(rng.random()), 3)
            record = {
                "event_id": f"e{index}-{at}",
                "business_id": f"b{rng.integers(900)}",
                "key": "k",
                "time": now + time,
                "probabilities": None if at < 30 else [1 - p, p],
                "uncertainty": None,
                "model": "none" if at < 30 else f"m{at // 200}",
            }
            rows.append(Row(json.dumps(record).encode(), START_MS + time // 1_000 + 5))
            known_at = time + int(_DELAY * rng.random() * 1.5)
            name = {"event_id": f"e{index}-{at}" if rng.random() < 0.9 else f"stranger{at}"}
            if rng.random() < 0.3:
                name = {"business_id": str(record["business_id"])}
            outcome = {"label": "bad" if rng.random() < 0.3 else "good", "known_at": now + known_at, **name}
            outcomes.append((known_at, json.dumps(outcome).encode()))
        logs[Partition(pipe.topics.predictions, index, _INCARNATION)] = rows
    outcomes.sort()
    told = [Row(value, START_MS + known_at // 1_000) for known_at, value in outcomes]
    logs[Partition(pipe.topics.outcomes, 0, _INCARNATION)] = told
    logs[Partition(pipe.topics.labels, 0, _INCARNATION)] = [
        Row(json.dumps(json.loads(value) | ({"inclusion_probability": 0.5} if at % 2 else {})).encode())
        for at, value in enumerate(label_values(120, seed=seed, classes=("good", "bad")))
    ]
    for log in logs.values():
        for value in _JUNK:
            log.insert(int(rng.integers(len(log))), Row(value))
    return pipe, logs


def labels(seed: int) -> tuple[Pipeline, dict[Partition, list[Row]]]:
    """Labels enough for several models."""
    rng = np.random.default_rng(seed)
    pipe = small_pipeline(
        extra=(
            "[training]\nlearner = 'boosted'\n"
            "every = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
        )
    )
    log = [Row(value, START_MS + at * 1_000) for at, value in enumerate(label_values(150, seed=seed))]
    for value in _JUNK:
        log.insert(int(rng.integers(len(log))), Row(value))
    return pipe, {Partition(pipe.topics.labels, 0, _INCARNATION): log}

"""`make bench-pass`: two processes of the stream flow over one (P2), and a profile of where the flow's time goes.

The second half of the events comes when the first is through, so that sharing out the partitions is not part of it;
whoever produces them shares the cores with the flow. The topic has four partitions. The pace is that of the second half
of the records, by Kafka's timestamps. How fast one process is, beside a pass-through (P1), `make bench-stream` tells.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import polars as pl
from bytewax.testing import run_main
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

import dataflows.stream
from benchmarks.loop.fraud_loop import PIPELINE_FILE, Feed, created, events, own_kafka, publish_model, reset, set_up
from benchmarks.support.flow_process import FlowProcess
from benchmarks.support.report import write
from dataflows.engine.environment import pipeline_and_settings
from dataflows.engine.shutdown import Stop
from tidemark.kafka import consumer_config, read_all
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings

_PATIENCE: Final = 600.0
_PARTS: Final = {
    "kernels/": "windows and hashes (kernels)",
    "tidemark/features": "features",
    "tidemark/decode": "decode",
    "tidemark/stream": "stream processor",
    "tidemark/registry": "model",
    "dataflows/": "engine",
    "polars": "Polars",
    "confluent_kafka": "Kafka client",
    "msgspec": "JSON",
    "numpy": "numpy",
    "numba": "numba",
}


def profiled(pipeline_file: str, rows: int) -> None:
    """Run the stream flow in this process until it has predicted `rows` events; print its profile."""
    pipeline, settings = pipeline_and_settings(pipeline_file)
    stop = Stop()
    flow, sessions = dataflows.stream.over(pipeline, settings, stop)
    session_of = sessions.start

    def start(worker: int) -> Any:  # noqa: ANN401 as the method it stands in for
        session = session_of(worker)
        handle = session.handle
        done = [0]

        def counting(items: Any) -> None:  # noqa: ANN401 as above
            done[0] += sum(o.topic == pipeline.topics.predictions for item in items for o in item.outputs)
            handle(items)
            if done[0] >= rows:
                stop.requested = True

        session.handle = counting  # type: ignore[method-assign]
        return session

    sessions.start = start  # type: ignore[method-assign]
    profile = cProfile.Profile()
    profile.runcall(run_main, flow)
    stats = pstats.Stats(profile, stream=(text := io.StringIO()))
    own: dict[str, float] = {}
    for (file, _, name), (_, _, seconds, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        where = file if file != "~" else name
        part = next((label for mark, label in _PARTS.items() if mark in where), "other")
        if "consume" in name:
            part = "Kafka client: consume"
        elif "commit_transaction" in name or "acquire" in name:
            part = "Kafka client: commit"
        elif "produce_batch" in name or "'produce'" in name:
            part = "Kafka client: produce"
        own[part] = own.get(part, 0.0) + seconds
    total = sum(own.values())
    for part, seconds in sorted(own.items(), key=lambda item: -item[1]):
        print(f"PART {seconds / total:.3f} {part}")
    stats.sort_stats("tottime").print_stats(25)
    print(text.getvalue())


def _end_of(settings: Settings, topic: str, partitions: int) -> int:
    """Sum of the ends of a topic's partitions; 0 while one that was just made has no leader."""
    consumer = Consumer(consumer_config(settings, group="bench-ends"))
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, index), timeout=10, cached=False)[1]
            for index in range(partitions)
        )
    except KafkaException as error:
        if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
        return 0
    finally:
        consumer.close()


def _through_feed(settings: Settings, pipeline: Pipeline, frame: pl.DataFrame, processes: list[FlowProcess]) -> float:
    """Predictions a second of the second half of the events, which comes when the first is through."""
    deadline = time.monotonic() + _PATIENCE
    while not all("replaying up to" in process.output for process in processes):
        if time.monotonic() > deadline or not all(process.runs for process in processes):
            raise RuntimeError("\n".join(process.output[-3_000:] for process in processes))
        time.sleep(0.1)
    feed = Feed(settings, pipeline, frame)
    half = len(frame) // 2
    feed.send(half)
    feed.flush()
    _rate(settings, pipeline.topics.predictions, half, processes, begin=0)
    feed.send_all()
    return _rate(settings, pipeline.topics.predictions, len(frame), processes, begin=half)


def _rate(settings: Settings, topic: str, rows: int, processes: list[FlowProcess], *, begin: int) -> float:
    """Records a second in `topic` from record `begin` on, once `rows` are there."""
    deadline = time.monotonic() + _PATIENCE
    while (there := _end_of(settings, topic, 4)) < rows or len(read := read_all(settings, topic)) < rows:
        if time.monotonic() > deadline or not all(process.runs or process.status == 0 for process in processes):
            raise RuntimeError(f"{there} of {rows} records in {topic}; {processes[0].output[-3_000:]}")
        time.sleep(0.3)
    times = created(read)
    return float((rows - begin) / ((times[-1] - times[begin]) / 1_000))


def main(arguments: list[str]) -> None:
    """Run the benchmark, or one of its processes."""
    if arguments[:1] == ["--profile"]:
        profiled(arguments[1], int(arguments[2]))
        return
    parser = argparse.ArgumentParser("python -m benchmarks.loop.pass_through", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40,000 events instead of 200,000")
    quick: bool = parser.parse_args(arguments).quick
    rows = 40_000 if quick else 200_000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemark-bench-")))
        _, settings = stack.enter_context(own_kafka(folder))
        pipeline = set_up(settings)
        version = publish_model(settings, pipeline, 1)
        frame = events(1, 2 * rows)
        stream = ("dataflows.run", "stream", str(PIPELINE_FILE))

        def process(slot: str, *command: str) -> FlowProcess:
            return FlowProcess(settings, slot, *command, log=folder / f"{slot}.log")

        with process("one", *stream) as one:
            fed = _through_feed(settings, pipeline, frame, [one])
            one.terminate()
        reset(settings, pipeline)
        with process("first", *stream) as first, process("second", *stream) as second:
            together = _through_feed(settings, pipeline, frame, [first, second])
            first.terminate()
            second.terminate()
        reset(settings, pipeline)
        Feed(settings, pipeline, frame).send_all()
        with process("prof", "benchmarks.loop.pass_through", "--profile", str(PIPELINE_FILE), str(rows // 2)) as prof:
            while prof.runs:
                time.sleep(0.2)
            told = prof.output
    parts = {line.split(" ", 2)[2]: float(line.split(" ", 2)[1]) for line in told.splitlines() if line[:5] == "PART "}
    print(told[told.find("Ordered by") :])
    detail = {
        "events": rows,
        "quick": quick,
        "model": version,
        "stages": len(pipeline.keys),
        "windows": len(pipeline.windows),
        "profile": parts,
        "profile_note": "share of own time by part, under cProfile, which makes Python calls dearer than they are",
    }
    write(
        "pass_through.quick" if quick else "pass_through",
        [
            {
                "id": "P2",
                "value": round(together / fed, 2),
                "unit": "two processes over one",
                "target": None,
                "reached": True,
                "detail": {**detail, "two_per_second": round(together), "one_per_second": round(fed)},
            },
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""Row N1: from a clone to a champion that serves, by the tutorial, with its machines and with a stream of one's own.

Who follows it types without a pause and answers by program, so the time is what the machine takes. Kernels are compiled
anew, in an empty cache; packages come from the installer's cache where it has them. One's own stream is the electricity
market of New South Wales (docs/how-to/real-data.md names the folder): what the page calls machines is called market,
its feed and its answers come from the file, and the tables that the page writes are written for it.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console

from benchmarks.support.newcomer import Followed, Newcomer, Own, follow_tutorial
from tidemark.kafka import read_all
from tidemark.records import Metric, Prediction, decode
from tidemark.records.event_id import parse_event_id

_ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 300
_LINES: Final = 12
_ANSWERS: Final = 30
"""Random cases from which on a figure tells something."""
_LABELS: Final = 150
"""From fewer, how often the champion is right is the luck of which half hours were drawn."""
_PATIENCE: Final = 60.0
_FILE: Final = "electricity.parquet"
_FEED: Final = '''"""Writes half of the market's half hours, from so many days ago on, into the topic market.raw."""

import json
import os
import sys
import time

import polars as pl
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

kafka = {"bootstrap.servers": os.environ["TIDEMARK_BOOTSTRAP_SERVERS"]}
admin = AdminClient(kafka)
if "market.raw" not in admin.list_topics(timeout=10).topics:
    admin.create_topics([NewTopic("market.raw", 1, config={"retention.ms": "-1"})])["market.raw"].result()
producer = Producer(kafka | {"enable.idempotence": True})
rows = pl.read_parquet(os.environ["MARKET"]).drop("date", "class").with_row_index("number")
half = rows.height // 2
rows = rows.head(half) if float(sys.argv[1]) > 500 else rows.tail(-half)
start = time.time() - float(sys.argv[1]) * 86_400
for place, row in enumerate(rows.iter_rows(named=True)):
    row["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + place * 1_800))
    producer.produce("market.raw", json.dumps(row | {"market": "nsw"}), key="nsw")
    producer.poll(0)
producer.flush()
'''
_ANSWER: Final = '''"""Answers the waiting cases as the file does."""

import os

import polars as pl

from labeling_grpc.client import LabelingClient

truth = pl.read_parquet(os.environ["MARKET"])["class"]
with LabelingClient.of("market", "ada") as client:
    while tasks := client.lease(10, wait=5):
        for task in tasks:
            client.submit(task, truth[int(task.context["number"])])
'''
_TABLES: Final = """
[label]
classes = ["DOWN", "UP"]
positive = "UP"
delay = "1d"
question = "Does the price go up?"

[selection]
tile = "11d"
budget = 10
explore = 3
"""


def market(data: Path) -> Own | None:
    """The electricity market as somebody's own stream; None where its file is not in the folder."""
    file = data / _FILE
    if not file.is_file():
        return None
    return Own(
        "market",
        {"feed.py": _FEED, "answer.py": _ANSWER},
        _TABLES,
        {"7": "944", "3.5": "472"},
        labels=_LABELS,
        environment={"MARKET": str(file.resolve())},
    )


def first_champions(data: Path) -> list[dict[str, Any]]:
    """Rows N1.

    Args:
        data: folder of the shared streams. Where it has no electricity, that row is left out, and says so.

    Returns:
        A row of the tutorial, and one of one's own stream.

    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(clone)], check=True)  # noqa: S607 whichever is there
        begin = time.monotonic()
        subprocess.run(["make", "setup"], cwd=clone, check=True, stdout=subprocess.DEVNULL)  # noqa: S607
        setup = time.monotonic() - begin
        rows = [_row("N1 tutorial", Path(folder) / "tutorial", clone, setup, None)]
        if own := market(data):
            rows.append(_row("N1 own stream", Path(folder) / "own", clone, setup, own))
        else:
            Console(stderr=True).print(f"{_FILE} is not in {data}; name the folder with --data")
    return rows


def _row(name: str, folder: Path, clone: Path, setup: float, own: Own | None) -> dict[str, Any]:
    folder.mkdir()
    newcomer = Newcomer(folder, clone / ".venv" / "bin", own)
    newcomer.environment["TIDEMARK_CACHE"] = str(folder / "cache")
    try:
        way = follow_tutorial(newcomer)
        quality = headline(newcomer)
        right = None if own is None else right_predictions(newcomer)
        newcomer.stop()
    finally:
        newcomer.leave()
    return _told(name, way, setup, {"quality": quality, "predictions_right": right})


def _told(name: str, way: Followed, setup: float, more: dict[str, Any]) -> dict[str, Any]:
    seconds = round(setup + way.served, 1)
    return {
        "id": name,
        "value": seconds,
        "target": _SECONDS,
        "unit": "s from set-up to a champion that serves",
        "reached": seconds <= _SECONDS and way.written <= _LINES,
        "detail": {
            "setup": round(setup, 1),
            "lines_by_hand": way.written,
            "most_lines": _LINES,
            "commands": way.commands,
            "seconds": dict(way.each),
            **more,
        },
    }


def headline(newcomer: Newcomer) -> dict[str, Any] | None:
    """The headline, once it rests on enough answers to tell something, or after a minute; the seconds that took."""
    begin = time.monotonic()
    while True:
        messages = read_all(newcomer.settings, f"{newcomer.name}.metrics")
        metrics = [decode(Metric, message.value()) for message in messages]
        found = [metric for metric in metrics if metric.name == "quality" and metric.value is not None]
        seconds = time.monotonic() - begin
        if (found and found[-1].n >= _ANSWERS) or seconds > _PATIENCE:
            break
        time.sleep(1)
    if not found:
        return None
    newest = found[-1]
    told = {"metric": newest.detail["metric"], "value": newest.value, "low": newest.low, "high": newest.high}
    return {**told, "n": newest.n, "seconds_behind_the_champion": round(seconds, 1)}


def right_predictions(newcomer: Newcomer) -> dict[str, Any] | None:
    """Share of predictions by a champion that name the file's class, and that of the commoner class."""
    messages = read_all(newcomer.settings, f"{newcomer.name}.predictions")
    predictions = [each for each in (decode(Prediction, message.value()) for message in messages) if each.probabilities]
    if not predictions:
        return None
    truth = pl.read_parquet(newcomer.environment["MARKET"])["class"].to_list()
    of = [truth[parse_event_id(each.event_id).offset] for each in predictions]
    said = ["DOWN" if each.probabilities[0] >= 0.5 else "UP" for each in predictions if each.probabilities]
    commoner = max(of.count("UP"), of.count("DOWN")) / len(of)
    right = sum(a == b for a, b in zip(said, of, strict=True)) / len(of)
    return {"predictions": len(of), "right": round(right, 4), "commoner_class": round(commoner, 4)}

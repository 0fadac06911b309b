"""Building a flow connects to nothing, starts no thread and compiles nothing: its picture needs no Kafka."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FLOWS = ("stream", "select", "retrain", "monitor", "decide", "publish", "ingest")
STEPS = {
    "stream": [
        *("read", "raw", "decode", "row_features", "window_features", "to_terminal_id", "by_terminal_id"),
        *("receive_terminal_id", "window_features_terminal_id", "predict", "propose", "sample"),
        *("dead_letters", "commit"),
    ],
    "select": [
        *("read", "proposals", "decode_proposals", "close_tiles", "choose", "candidates", "budget_metrics"),
        *("dead_letters", "commit"),
    ],
    "retrain": ["read", "labels", "check_labels", "learn", "dead_letters", "commit"],
    "monitor": [
        *("read", "predictions", "decode_predictions", "labels", "keep_labels", "outcomes", "decode_outcomes"),
        *("join_outcomes", "label_outcomes", "held", "measure", "sample", "watch_sample", "check_parity"),
        *("watch_labels", "dead_letters", "commit"),
    ],
    "decide": ["read", "told", "decide", "dead_letters", "commit"],
    "publish": ["read", "told", "write", "dead_letters", "commit"],
    "ingest": ["read", "raw_records", "commit"],
}
"""Each step of a flow by its name, over `pipelines/fraud.toml`, which has two keys."""
_ROOT = Path(__file__).parents[2]
_DRAW = """
import contextlib, io, json, runpy, sys, threading
import confluent_kafka, confluent_kafka.admin

made = []
clients = [(confluent_kafka, "Consumer"), (confluent_kafka, "Producer"), (confluent_kafka.admin, "AdminClient")]
for home, name in clients:
    setattr(home, name, type(name, (), {"__init__": lambda self, *_, **__: made.append(type(self).__name__)}))
before = set(threading.enumerate())
drawn = {}
for flow in sys.argv[1:]:
    sys.argv = ["bytewax.visualize", f"dataflows.{flow}:flow"]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        runpy.run_module("bytewax.visualize", run_name="__main__")
    drawn[flow] = text.getvalue()

from numba.core.dispatcher import Dispatcher

modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("kernels", "tidemark")]
kernels = {id(thing): thing for module in modules for thing in vars(module).values() if isinstance(thing, Dispatcher)}
print(json.dumps({
    "drawn": drawn,
    "clients": made,
    "heavy": sorted({"lightgbm", "scipy.optimize", "scipy.special", "scipy.stats", "sklearn"} & sys.modules.keys()),
    "threads": [thread.name for thread in threading.enumerate() if thread not in before],
    "compiled": sorted(k.py_func.__qualname__ for k in kernels.values() if k.stats.cache_hits or k.stats.cache_misses),
}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that has drawn every flow tells."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    home = str(tmp_path_factory.mktemp("home"))
    done = subprocess.run(
        [sys.executable, "-c", _DRAW, *FLOWS],
        cwd=_ROOT,
        env=kept | {"TIDEMARK_PIPELINE": "pipelines/fraud.toml", "TIDEMARK_HOME": home},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_is_drawn_where_no_kafka_runs(flow: str, built: dict[str, Any]) -> None:
    drawn = built["drawn"][flow]
    assert drawn.startswith("flowchart TD")
    assert f'"{flow} (Dataflow)"' in drawn
    assert re.findall(r'"(\w+) \(\w+\)"\]', drawn) == STEPS[flow]


def test_building_a_flow_makes_no_client_starts_no_thread_and_compiles_nothing(built: dict[str, Any]) -> None:
    assert (built["clients"], built["threads"], built["compiled"]) == ([], [], [])


def test_building_a_flow_imports_nothing_that_only_training_or_statistics_need(built: dict[str, Any]) -> None:
    assert built["heavy"] == [], "a start would wait for it, half a second to a second each"


@pytest.mark.parametrize(
    ("pipeline", "sentence"),
    [
        (None, "TIDEMARK_PIPELINE is not set: name the pipeline's file, TIDEMARK_PIPELINE=pipelines/fraud.toml"),
        ("no/such.toml", "no/such.toml"),
    ],
)
def test_bytewax_told_of_no_pipeline_ends_in_a_sentence(pipeline: str | None, sentence: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    named = {} if pipeline is None else {"TIDEMARK_PIPELINE": pipeline}
    done = subprocess.run(
        [sys.executable, "-m", "bytewax.visualize", "dataflows.stream:flow"],
        cwd=_ROOT,
        env=kept | named,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) < 4

"""`tidemark warm` leaves nothing for the flows to compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from uncompiled import UNCOMPILED

from tests.kernel_table import TABLE
from tidemark import warmup
from tidemark.cli.app import app

ROOT = Path(__file__).parents[2]

TRAINED = """
from models import label_values, batch_of
from dataflows.engine.warmup import rehearse
from tidemark.pipeline import load
from tidemark.records import Prediction, encode
from tidemark.registry.serving import ActiveModel
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import Validator
from tidemark.monitoring import MonitorProcessor
from tidemark.runtime.processor import Batch, Partition
from tidemark.selection import choice
from tidemark.stream.processor import StreamProcessor
from tidemark.training import RetrainProcessor
from models import small_pipeline

small = small_pipeline(extra="[training]\\nevery = 40\\nmin_labels = 20\\nparams = { num_iterations = 5 }")
registry = Registry()
with Sandbox() as sandbox:
    retrain = RetrainProcessor(small, read_registry=lambda: registry, sandbox=sandbox)
    retrain.open(Partition("p.labels", 0, "0a1b2c3d"), "")
    values = label_values(60)
    retrain.process(batch_of(values))
    model = ActiveModel(Validator(ModelSchema.of(small), sandbox).check(registry, registry.champion.version))

class Source:
    def current(self):
        return model
"""
"""Trains a model of a small pipeline, which `Source` gives."""

WORK = (
    """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from tidemark import warmup

def compiled():
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("kernels", "tidemark")]
    found = {id(thing): thing for module in modules for thing in vars(module).values() if isinstance(thing, Dispatcher)}
    return {(thing.py_func.__qualname__, thing.py_func.__module__, str(types))
            for thing in found.values() for types in thing.signatures}

if "warm" in sys.argv:
    for _ in warmup.warm():
        pass
before = compiled()
"""
    + TRAINED
    + """
from dataflows.engine.warmup import _batch, made_up
from tidemark.runtime.processor import Output

given = rehearse(StreamProcessor(small, Source()), small)
assert given[small.topics.predictions] > 100, given
fraud = load("pipelines/fraud.toml")

class Empty:
    def current(self):
        return None

assert rehearse(StreamProcessor(fraud, Empty()), fraud)[fraud.topics.predictions] > 100
large = StreamProcessor(small, Source())
raw = Partition(small.raw_topics[0], 0, "00000000")
large.open(raw, "")
assert large.process(_batch(raw, [Output(raw.topic, value, b"a") for value in made_up(small) * 7]))
choice.warm()
monitor = MonitorProcessor(small)
labels = Partition("p.labels", 0, "0a1b2c3d")
predictions = Partition("p.predictions", 0, "0a1b2c3d")
for partition in (labels, predictions):
    monitor.open(partition, "")
monitor.process(batch_of(values))
said = [Prediction(event_id=f"p.raw-0-{i}-0a1b2c3d", business_id=None, key="k", time=i, probabilities=[0.4, 0.6],
                   uncertainty=0.8, model="m") for i in range(50)]
monitor.process(Batch(predictions, np.arange(50), np.arange(50), [None] * 50, [encode(each) for each in said],
                      [None] * 50))
monitor.tick(0.0)
assert monitor.tick(1000.0)
for line in sorted(compiled() - before):
    print(*line)
"""
)


FIRST_EVENT = (
    """
import time
from tidemark import warmup

for _ in warmup.warm():
    pass
"""
    + TRAINED
    + """
import msgspec
from dataflows.engine.warmup import _batch, made_up
from tidemark.runtime.processor import Output

rehearse(StreamProcessor(small, Source()), small)
processor = StreamProcessor(small, Source())
partition = Partition(small.raw_topics[0], 0, "00000000")
batch = _batch(partition, [Output(partition.topic, made_up(small)[0], b"a")])
processor.open(partition, "")
begin, worked = time.perf_counter(), time.process_time()
outputs = processor.process(batch)
# What others' use of the processors adds is not the flow's.
taken = min(time.perf_counter() - begin, time.process_time() - worked)
(prediction,) = [each.value for each in outputs if each.topic == small.topics.predictions]
assert msgspec.json.decode(prediction)["model"] == model.version, prediction
print(taken)
"""
)


@pytest.mark.skipif(UNCOMPILED, reason="nothing is compiled")
def test_a_process_that_has_warmed_handles_its_first_event_in_under_50_ms() -> None:
    assert float(run(FIRST_EVENT)) < 0.05


def test_every_kernel_has_an_example() -> None:
    assert set(warmup.EXAMPLES) == {
        *TABLE, "iso_times", "scan_json", "scan_csv", "scan_avro", "scan_protobuf", "suspicious",
    }  # fmt: skip


def test_the_command_tells_how_long_each_kernel_took() -> None:
    done = CliRunner().invoke(app, ["warm"])
    assert done.exit_code == 0, done.output
    assert [name for name in TABLE if f"{name} " not in done.output] == []
    assert f"{len(TABLE) + 6} kernels are warm" in done.output


@pytest.mark.skipif(UNCOMPILED, reason="nothing is compiled")
@pytest.mark.parametrize("how", ["warm", "cold"])
def test_flows_find_all_that_they_need_compiled(how: str) -> None:
    """Types that a kernel was not called with when it was warmed would be compiled by the flow."""
    assert (run(WORK, how) == "") == (how == "warm")


def run(script: str, *arguments: str) -> str:
    """What a process of its own prints."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'lib'}"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

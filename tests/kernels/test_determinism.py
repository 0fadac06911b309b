"""The same numbers in every process and on every machine, to the last bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uncompiled import UNCOMPILED

ROOT = Path(__file__).parents[2]

DIGESTS = """
import hashlib
import numpy as np
import kernels
from tests.kernel_table import TABLE

def shown(name, *results):
    print(name, hashlib.sha256(b"".join(np.asarray(r).tobytes() for r in results)).hexdigest())

for name in ("margin", "ratio", "entropy", "bald", "vote_entropy", "weighted_entropy", "kmeans_pp", "badge", "density",
             "k_center_greedy", "facility_location", "novelty"):
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for seed in range(6):
            args, options = TABLE[name].generate(np.random.default_rng(seed), 150, dtype)
            shown(f"{name} {dtype} {seed}", getattr(kernels, name)(*args, **options))

rng = np.random.default_rng(5)
weights, coins = rng.exponential(size=3_000), kernels.coin(1, 2, np.arange(3_000), 3)
shown("exponential_bottom_k", kernels.exponential_bottom_k(weights, coins, 50))
shown("priority_sample", *kernels.priority_sample(weights, coins, 50))
aggregates = ("count", "sum", "mean", "std", "min", "max", "last", "distinct", "quantile", "since_last",
              "approx_distinct", "approx_quantile", "slope", "zscore", "rate")
none = {"count", "since_last", "rate"}
specs = [kernels.WindowSpec(a, -1 if a in none else 0, size, parameter=0.3 * a.endswith("quantile"))
         for a in aggregates for size in (30, 4_000)]
specs += [kernels.WindowSpec(a, 0, 4_000, rows=9) for a in ("std", "slope", "zscore")]
times = np.cumsum(rng.integers(0, 3, 3_000)) + rng.integers(-9, 9, 3_000)
state = kernels.WindowState(specs, 1, 9)
shown("WindowState", state.update(rng.integers(0, 3, 3_000).astype(np.uint64), times, rng.normal(size=(3_000, 1))))
shown("to_bytes", np.frombuffer(state.to_bytes(), np.uint8))
"""


def digests(**environment: str) -> str:
    """What a process of its own computes."""
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)  # all kernels are compiled anew for the other processor, in a minute where nothing else runs
@pytest.mark.skipif(UNCOMPILED, reason="what processors compute is compiled")
def test_the_oldest_processor_computes_the_same_bits_as_this_one() -> None:
    """Compiled for the oldest of this architecture: four numbers at once at most, multiplied and added apart."""
    here = digests(PYTHONHASHSEED="1")
    assert here.count("\n") == 12 * 2 * 6 + 4
    assert digests(PYTHONHASHSEED="2", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == here

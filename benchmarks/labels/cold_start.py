"""From no label to skill: positives among the first labels, and quality by labels, on synthetic streams.

    python -m benchmarks cold-start --seeds 1 2 3 [--streams decoys common] [--arms random start]

Each stream says in its name what is hard about it. Every arm has the settings that `tidemark init` drafts, its tiles
have 400 events, and its labels are known when the tile closes. Quality is average precision on 4,000 later events (mean
over all classes but the commonest where there are several); before the first model it is that of a constant.

- 20, 50, 100: positives (all but the commonest class) among so many labels
- first: labels before the first model
- area: mean quality over labels, less the constant's, over the random arm's
- behind: most by which the mean over seeds is behind the random arm's, and at which label that is over for good
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tidemark.backtest.loop import Loop
from tidemark.evaluation.metrics import average_precision
from tidemark.pipeline import Pipeline
from tidemark.pipeline.draft import drafted_settings
from tidemark.records.event_id import parse_event_id
from tidemark.registry.sandbox import Sandbox

_TILE, _TILES, _EXAM, _COLUMNS = 400, 24, 4_000, 8
_NOISE: Final = 0.02
_MOMENTS: Final = (20, 50, 100)
Made = tuple[NDArray[np.float64], NDArray[np.int64]]
ARMS: Final[dict[str, dict[str, Any]]] = {
    "random": {"selection": {"policy": "random"}},
    "spread": {"start": {"anomalies": 0, "positives": 0}},
    "odd": {"start": {"positives": 0}},
    "likeliest": {"start": {"anomalies": 0}},
    "start": {},
}


def _crowd(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Correlated, with one column of a long tail and one that is mostly missing."""
    x = rng.normal(size=(n, _COLUMNS)) @ rng.normal(size=(_COLUMNS, _COLUMNS)) * 0.5
    x[:, 0] = np.exp(x[:, 0])
    x[rng.random(n) < 0.7, 1] = np.nan
    return x


def _far(rng: np.random.Generator, n: int, rate: float) -> Made:
    x, y = _crowd(rng, n), (rng.random(n) < rate).astype(np.int64)
    x[y == 1, 2:5] += rng.normal(4.0, 2.0, (int(y.sum()), 3))
    return x, y


def _ordinary(rng: np.random.Generator, n: int) -> Made:
    """Positives are a small ball in the middle of the crowd."""
    x, y = _crowd(rng, n), (rng.random(n) < 0.03).astype(np.int64)
    x[y == 1, 2:6] = np.nanmedian(x[:, 2:6], axis=0) + rng.normal(0, 0.15, (int(y.sum()), 4))
    return x, y


def _decoys(rng: np.random.Generator, n: int, rate: float) -> Made:
    """What is odd is negative; three in five of what lies at the crowd's edge in two columns are positive."""
    x = _crowd(rng, n)
    odd = rng.random(n) < 0.05
    x[odd, 5:8] += rng.choice([-9.0, 9.0], (int(odd.sum()), 3))
    edge = x[:, 2] + x[:, 3]
    return x, (~odd & (edge > np.quantile(edge, 1 - rate / 0.6)) & (rng.random(n) < 0.6)).astype(np.int64)


def _clusters(rng: np.random.Generator, n: int, rate: float) -> Made:
    """Twenty clusters, of which one in four holds most of the positives."""
    of = rng.integers(20, size=n)
    x = _crowd(rng, n)
    x[:, 2:6] += rng.normal(0, 4.0, (20, 4))[of]
    return x, (rng.random(n) < np.where(of < 5, 3.4 * rate, 0.2 * rate)).astype(np.int64)


def _line(rng: np.random.Generator, n: int, rate: float, noise: float) -> Made:
    x = _crowd(rng, n)
    score = x[:, 2] - x[:, 3] + 0.5 * x[:, 4] + rng.normal(0, noise, n)
    return x, (score > np.quantile(score, 1 - rate)).astype(np.int64)


def _several(rng: np.random.Generator, n: int) -> Made:
    """Five classes of 62, 20, 10, 5 and 3 %, each a ball."""
    x, y = _crowd(rng, n), rng.choice(5, n, p=[0.62, 0.2, 0.1, 0.05, 0.03]).astype(np.int64)
    x[:, 2:6] += rng.normal(0, 2.0, (5, 4))[y]
    return x, y


STREAMS: Final[dict[str, Callable[[np.random.Generator, int], Made]]] = {
    "far 0.5 %": lambda rng, n: _far(rng, n, 0.005),
    "far 3 %": lambda rng, n: _far(rng, n, 0.03),
    "ordinary 3 %": _ordinary,
    "decoys 3 %": lambda rng, n: _decoys(rng, n, 0.03),
    "line 5 %": lambda rng, n: _line(rng, n, 0.05, 0.5),
    "line 40 %, noisy": lambda rng, n: _line(rng, n, 0.4, 2.0),
    "five classes": _several,
    "decoys 20 %": lambda rng, n: _decoys(rng, n, 0.2),
    "line 1 %": lambda rng, n: _line(rng, n, 0.01, 0.5),
    "line 10 %": lambda rng, n: _line(rng, n, 0.1, 1.0),
    "clusters 2 %": lambda rng, n: _clusters(rng, n, 0.02),
    "clusters 25 %": lambda rng, n: _clusters(rng, n, 0.25),
}


def pipeline_of(classes: int, arm: dict[str, Any], seed: int) -> Pipeline:
    """A pipeline of plain columns with what `init` drafts, some of it changed. The seed is the coins'."""
    drafted = drafted_settings()
    drafted["selection"] |= {"tile": "1s", "version": f"s{seed}"}
    names = [f"x{i}" for i in range(_COLUMNS)]
    content: dict[str, Any] = {
        "name": "p",
        "raw": [{"topic": "p.raw"}],
        "keys": ["k"],
        "time": {"column": "t"},
        "columns": {"k": {"type": "string"}, "t": {"type": "string"}, **{name: {"type": "float"} for name in names}},
        "features": [{"name": name} for name in names],
        "label": {"classes": [f"c{i}" for i in range(classes)], "positive": "c1", "delay": "1s"},
    }
    for section in ("selection", "start", "training", "gates"):
        content[section] = drafted.get(section, {}) | arm.get(section, {})
    return Pipeline.model_validate(content)


@dataclass(frozen=True, slots=True)
class Run:
    """quality, positives: after each label.  first: labels before the first model.  floor: quality of a constant."""

    quality: NDArray[np.float64]
    positives: NDArray[np.int64]
    first: int
    floor: float

    @property
    def area(self) -> float:
        """Mean quality above the constant's."""
        return float((self.quality - self.floor).mean())


def _quality(truth: NDArray[np.int64], given: NDArray[np.float64] | None) -> float:
    wanted = list(range(1, int(truth.max()) + 1))
    if given is None:
        return float(np.mean([(truth == c).mean() for c in wanted]))
    return float(np.mean([average_precision(truth == c, given[:, c]) for c in wanted]))


def run(stream: str, arm: str, seed: int, sandbox: Sandbox) -> Run:
    """One arm over one stream."""
    rng = np.random.default_rng([seed, list(STREAMS).index(stream)])
    x, y = STREAMS[stream](rng, _TILE * _TILES + _EXAM)
    exam, classes = slice(_TILE * _TILES, None), int(y.max()) + 1
    pipeline = pipeline_of(classes, ARMS[arm], seed)
    loop = Loop(pipeline, sandbox, seed=seed, headline=False)
    found: list[int] = []
    quality: list[float] = []
    now, first = _quality(y[exam], None), 0
    floor = now
    for tile in range(_TILES):
        rows = np.arange(tile * _TILE, (tile + 1) * _TILE)
        picks = loop.ask(tile, rows, x[rows])
        answers = [int(y[parse_event_id(pick.proposal.event_id).offset]) for pick in picks]
        found += [int(answer > 0) for answer in answers]
        quality += [now] * len(picks)
        champion = loop.learn([(pick, f"c{answer}") for pick, answer in zip(picks, answers, strict=True)])
        if champion is not None:
            first = first or len(found)
            now = _quality(y[exam], champion.probabilities(x[exam]))
    return Run(np.array([*quality, now]), np.cumsum(found), first or len(found), floor)


def table(streams: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Markdown rows."""
    yield "| stream | arm | 20 | 50 | 100 | first | area | last | behind |\n|---|---|---|---|---|---|---|---|---|"
    with Sandbox() as sandbox:
        for stream in streams:
            other = [run(stream, "random", seed, sandbox) for seed in seeds]
            for arm in arms:
                own = other if arm == "random" else [run(stream, arm, seed, sandbox) for seed in seeds]
                most = min(len(each.quality) for each in (*own, *other))
                mean, base = (np.mean([r.quality[:most] for r in runs], axis=0) for runs in (own, other))
                gap = base - mean
                late = np.flatnonzero(gap > _NOISE)
                behind = f"{gap.max():.3f} to {late[-1]}" if len(late) else "no"
                positives = [f"{np.mean([r.positives[moment - 1] for r in own]):.1f}" for moment in _MOMENTS]
                area = np.mean([r.area for r in own]) / max(1e-9, float(np.mean([r.area for r in other])))
                first = float(np.mean([r.first for r in own]))
                yield (
                    f"| {stream} | {arm} | {' | '.join(positives)} | {first:.0f} | {area:.2f} | {mean[-1]:.3f} | "
                    f"{behind} |"
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), choices=list(STREAMS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    console = Console(width=160)
    for line in table(given.streams, given.arms, given.seeds):
        console.print(line, highlight=False)


if __name__ == "__main__":
    main()

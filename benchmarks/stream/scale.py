"""`make bench-scale`: a history beside plain Polars (S7), millions of keys (S8), processor time over sizes (S10).

No Kafka: what is measured is what a worker does. Processor time is that of all threads of the process, so that work of
others on the machine does not count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

from benchmarks.stream.plain_polars import features as plain_features
from benchmarks.support.report import write
from kernels import Forest
from tidemark.features.backfill import backfill
from tidemark.features.windows import NO_WATERMARK, KeyWindows
from tidemark.pipeline import Pipeline, load, parse
from tidemark.runtime.processor import Batch, Headers, Partition
from tidemark.simulators.fraud import simulate
from tidemark.stream.processor import StreamProcessor

_FRAUD: Final = "pipelines/fraud.toml"
_DAY: Final = 86_400_000_000
_START: Final = 1_735_689_600_000_000
_ROUND: Final = 8_000
_SEED: Final = 1
_CLOSE: Final = 1e-9
_PARTITIONS: Final = (1, 16)
_MIXED: Final = np.uint64(0x9E3779B97F4A7C15)
_TARGETS: Final = {"S7": 1.0, "bytes": 300.0, "pause": 100.0, "restore": 30.0}
_PARTITION: Final = Partition("scale.raw", 0, "0a1b2c3d")
_SHAPES: Final = ("count", "mean", "std", "max")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. history: events of S7.  keys: of S8.  scales, windows, trees: of S10.  events: of each."""

    history: int
    repeats: int
    keys: int
    scales: Sequence[int]
    windows: Sequence[int]
    trees: Sequence[int]
    events: int


_FULL: Final = Size(1_000_000, 5, 5_000_000, (10_000, 100_000, 1_000_000), (1, 4, 16), (1, 100, 500), 200_000)
_QUICK: Final = Size(20_000, 1, 50_000, (1_000, 10_000), (1, 4), (1, 10), 16_000)


@dataclass(slots=True)
class _Model:
    """A forest as the model in force, and its source."""

    forest: Forest
    version: str = "scale"

    def current(self) -> _Model:
        """Itself."""
        return self

    def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, 2) of (n, features)."""
        positive = self.forest.probability(rows)
        return np.column_stack([1 - positive, positive])


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser("python -m benchmarks scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few thousand of everything")
    parser.add_argument("--only", choices=("S7", "S8", "S10"), help="one of them; nothing is recorded")
    given = parser.parse_args(arguments)
    size = _QUICK if given.quick else _FULL
    measured: dict[str, Callable[[Size], list[dict[str, Any]]]] = {"S7": beside_polars, "S8": many_keys, "S10": sizes}
    rows = [row for name, measure in measured.items() if given.only in (None, name) for row in measure(size)]
    if given.only is None:
        write("scale.quick" if given.quick else "scale", rows)
    else:
        for row in rows:
            print({name: row[name] for name in ("id", "value", "unit", "detail")})


def beside_polars(size: Size) -> list[dict[str, Any]]:
    """S7: the features of the fraud pipeline's history, over the same windows by a script of plain Polars."""
    pipeline = load(_FRAUD)
    events = simulate(_SEED, size.history).events
    ours, theirs = backfill(pipeline, events), plain_features(events)  # compiles, and is compared
    names = [name for name in theirs.columns if name in ours.columns]
    different = sum(
        int((~np.isclose(ours[name].to_numpy(), theirs[name].to_numpy(), _CLOSE, _CLOSE, equal_nan=True)).sum())
        for name in names
    )
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(size.repeats):
        taken["ours"].append(_timed(partial(backfill, pipeline, events)))
        taken["theirs"].append(_timed(partial(plain_features, events)))
    wall, processor = (
        statistics.median(their[i] / our[i] for our, their in zip(taken["ours"], taken["theirs"], strict=True))
        for i in (0, 1)
    )
    detail = {
        "events": size.history,
        "windows": len(names),
        "different_values": different,
        "wall_s": {name: [round(each[0], 3) for each in pairs] for name, pairs in taken.items()},
        "processor_s": {name: [round(each[1], 3) for each in pairs] for name, pairs in taken.items()},
        "processor_ratio": round(processor, 3),
        "note": "ours computes the row's own and the derived features too",
    }
    reached = different == 0 and wall >= _TARGETS["S7"]
    return [_row("S7", round(wall, 3), _TARGETS["S7"], "plain Polars' time over ours", detail, reached=reached)]


def many_keys(size: Size) -> list[dict[str, Any]]:
    """S8: two rows for each of many keys within 30 days: memory, the longest batch, and the way back after a crash."""
    pipeline = _pipeline(5, reach="30d")
    count = 2 * size.keys
    _filled(pipeline, _ROUND, 1)  # a flow loads its kernels before it reads
    filled = {partitions: _filled(pipeline, size.keys, partitions) for partitions in _PARTITIONS}
    processor = StreamProcessor(pipeline, _Model(_forest(pipeline, 1)), clock=lambda: _START + 400 * _DAY)
    processor.open(_PARTITION, "")
    seconds = used = 0.0
    for batch in _batches(size.keys, count, 30 * _DAY, replay=True):
        wall, processor_s = _timed(partial(processor.process_round, [batch]))
        seconds, used = seconds + wall, used + processor_s
    detail = {"keys": size.keys, "rows": count, "windows": len(pipeline.windows), "rows_a_batch": _ROUND}
    restored = {
        "rows_a_second": round(count / seconds),
        "processor_s": round(used, 1),
        "way": "raw JSON records are read again",
    }
    return [
        _row(
            "S8.bytes",
            max(each[0] for each in filled.values()),
            _TARGETS["bytes"],
            "bytes a key and window set",
            detail,
        ),
        *(
            _row(
                "S8.pause", longest, _TARGETS["pause"], "ms of the processor, longest round", detail | {"partitions": n}
            )
            for n, (_, longest) in filled.items()
        ),
        _row("S8.restore", round(seconds, 1), _TARGETS["restore"], "s, one process, Kafka apart", detail | restored),
    ]


def _filled(pipeline: Pipeline, keys: int, partitions: int) -> tuple[float, float]:
    """Bytes a key when the windows of all partitions are full, and the ms of processor of the longest round."""
    windows = KeyWindows(pipeline, "key")
    states = [state for _ in range(partitions) if (state := windows.state(NO_WATERMARK)) is not None]
    longest = 0.0
    for numbers, times, amounts in _rows(keys, 2 * keys, 30 * _DAY):
        own = [numbers % partitions == partition for partition in range(partitions)]
        parts = [(numbers[mine].astype(np.uint64) * _MIXED, times[mine], amounts[mine][:, None]) for mine in own]
        begun = time.process_time()
        for state, part in zip(states, parts, strict=True):
            state.update(*part)
        longest = max(longest, 1_000 * (time.process_time() - begun))
    a_key = sum(state.nbytes for state in states) / sum(state.n_keys for state in states)
    return round(a_key, 1), round(longest, 1)


def sizes(size: Size) -> list[dict[str, Any]]:
    """S10: processor seconds for a million events, over keys, windows and trees."""
    rows, of_keys = [], {}
    for keys, windows, trees in product(size.scales, size.windows, size.trees):
        middle = windows == size.windows[len(size.windows) // 2], trees == size.trees[len(size.trees) // 2]
        if keys != size.scales[0] and not all(middle):  # keys alone are varied at the middle of the others
            continue
        seconds = _processor_seconds(keys, windows, trees, size.events)
        if all(middle):
            of_keys[keys] = seconds
        detail = {"keys": keys, "windows": windows, "trees": trees, "events": size.events}
        rows.append(_row("S10", round(seconds, 2), None, "processor s a million events", detail))
    slopes = [
        np.log(of_keys[more] / of_keys[fewer]) / np.log(more / fewer) for fewer, more in pairwise(sorted(of_keys))
    ]
    told = {"processor_s": {str(keys): round(seconds, 2) for keys, seconds in of_keys.items()}}
    steepest = round(float(max(slopes)), 3)
    return [*rows, _row("S10.keys", steepest, 1.0, "steepest exponent over keys", told, reached=steepest < 1)]


def _processor_seconds(keys: int, windows: int, trees: int, events: int) -> float:
    """Processor seconds for a million events, whose windows hold two rows a key."""
    pipeline = _pipeline(windows, reach="7d")
    processor = StreamProcessor(pipeline, _Model(_forest(pipeline, trees)), clock=lambda: _START + 400 * _DAY)
    processor.open(_PARTITION, "")
    filled, used = 2 * keys, 0.0
    for number, batch in enumerate(_batches(keys, filled + events, 7 * _DAY * (filled + events) // filled)):
        begun = time.process_time()
        processor.process_round([batch])
        used += time.process_time() - begun if number * _ROUND >= filled else 0.0
    return 1e6 * used / events


def _pipeline(windows: int, reach: str) -> Pipeline:
    """So many windows over one key; one of them has the whole reach."""
    tables = "".join(
        f'[[windows]]\nname = "w{i}"\nkey = "key"\naggregate = "{_SHAPES[i % 4]}"\n'
        + ('column = "amount"\n' if i % 4 else "")
        + f'size = "{reach if i == 0 else f"{i}h"}"\n'
        for i in range(windows)
    )
    return parse(
        f"""name = "scale"
partitions = 1
keys = ["key"]
raw = [{{ topic = "scale.raw" }}]
[time]
column = "at"
format = "epoch_us"
lateness = "1h"
max_ahead = "400d"
[columns]
key = {{ type = "string" }}
at = {{ type = "int" }}
amount = {{ type = "float" }}
[[features]]
name = "amount"
{tables}
[label]
classes = ["no", "yes"]
positive = "yes"
delay = "1d"
[selection]
tile = "1h"
budget = 10
explore = 2
""",
        "scale.toml",
    )


def _forest(pipeline: Pipeline, trees: int) -> Forest:
    rng = np.random.default_rng(_SEED)
    x = rng.gamma(2.0, 50.0, (20_000, len(pipeline.feature_names)))
    y = (x[:, 0] * rng.normal(1, 0.3, len(x)) > 100).astype(float)
    options = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(x, y, feature_name=list(pipeline.feature_names))
    return Forest.from_text(lightgbm.train(options, data, trees).model_to_string())


def _rows(
    keys: int, count: int, span: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Keys drawn uniformly, event times µs evenly over a span, amounts: a round's rows at a time."""
    rng = np.random.default_rng(_SEED)
    for begin in range(0, count, _ROUND):
        n = min(_ROUND, count - begin)
        times = _START + (np.arange(begin, begin + n, dtype=np.float64) * (span / count)).astype(np.int64)
        yield rng.integers(0, keys, n), times, rng.gamma(2.0, 50.0, n)


def _batches(keys: int, count: int, span: int, *, replay: bool = False) -> Iterator[Batch]:
    """The same rows as records of JSON."""
    offset = 0
    for numbers, times, amounts in _rows(keys, count, span):
        names = [f"K{number:07d}" for number in numbers.tolist()]
        values: list[bytes | None] = [
            b'{"key":"%s","at":%d,"amount":%.2f}' % (name.encode(), at, amount)
            for name, at, amount in zip(names, times.tolist(), amounts.tolist(), strict=True)
        ]
        nothing: list[Headers | None] = [None] * len(values)
        yield Batch(
            _PARTITION,
            np.arange(offset, offset + len(values)),
            times // 1_000,
            [name.encode() for name in names],
            values,
            headers=nothing,
            replay=replay,
        )
        offset += len(values)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _row(
    name: str, value: float, target: float | None, unit: str, detail: dict[str, Any], *, reached: bool | None = None
) -> dict[str, Any]:
    """A row of the record; by default a target is reached from below."""
    good = target is None or value <= target if reached is None else reached
    return {"id": name, "value": value, "target": target, "reached": good, "unit": unit, "detail": detail}


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

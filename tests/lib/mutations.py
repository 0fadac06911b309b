"""Pipeline files with one or two things changed: every key that stands there, and every key that could."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models import pipeline_text
from streaming import PIPELINE, SECOND_KEY

from tidemark.pipeline.model import Pipeline

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted([*(ROOT / "pipelines").glob("*.toml"), *(ROOT / "pipelines" / "real").glob("*.toml")])
SOURCES = {
    "small": pipeline_text(),
    "three": pipeline_text(classes=("a", "b", "c")),
    "shop": PIPELINE.format(keys='["who", "place"]', second=SECOND_KEY),
    **{path.stem: path.read_text(encoding="utf-8") for path in SHIPPED},
}
"""What is changed: small files and all that are shipped."""
Document = dict[str, Any]
_REMOVED = object()
_DURATIONS = ("1us", "999us", "1ms", "1s", "7h", "9999d", "10000d", "10001d", "0s", "-1s", "999999999999999999d")
_NUMBERS = (0, -1, 1, 2, 3, 10, 513, 9_999, 10_000, 1_000_000_000, 2**31, 2**53, 2**63 - 1, -(2**63), 0.5, 1e300, -0.0)
_TEXTS = (
    "", " ", "_", "_time", "_late", "_key_0", "_offset", ".", "..", "-", "a.b", "a-b", "a b", "é", "数", "\u202e", "\n",
    "\0", "'", '"', "x" * 300, "none", "true", "1", "NULL", "time", "key", "event_id", "late", "e\u0301", "f_a",
)  # fmt: skip
_SQL = (
    "1", "NULL", "'a'", "TRUE", "1 / 0", "a / 0", "a * 1e308 * 1e308", "SQRT(-1)", "LN(a)", "POWER(a, 400)", "a AS a",
    "COUNT(a)", "SUM(a)", "RANDOM()", "*", "a, b", "SELECT 1", "a; a", "((((a))))", "CAST(a AS INT)", 'a AS ""',
    "CAST('x' AS INT)", "key", "1 AS key", "'' AS key", "NULL AS key", "NULL AS a", "TRUE AS a", "'x' AS a",
    "amount AS who", "CAST(amount AS INT) AS place", "9223372036854775807 + 1", "a = a", "-a", "a % 0",
    "CAST(time AS VARCHAR)", "time", "time AS a", "EXTRACT(YEAR FROM time)", "DATE('2020-01-01')", "1 AS _x",
    "CURRENT_DATE", "a AS new", "'x' AS new", "TRUE AS new",
)  # fmt: skip
_LISTS: tuple[list[Any], ...] = (
    [],
    [""],
    ["a"],
    ["a", "a"],
    ["no", "yes", "maybe"],
    ["1", "0"],
    [0],
    [1.5],
    [True],
    [[]],
    [{}],
    ["é", "e\u0301"],
)
_PARAMS = (0, 1, 2, -1, 0.5, 1.0, 1e-300, 1e15, 10_000, 65_535, 2**31 - 1, True, "x", "")


def changes(document: Document) -> Iterator[tuple[str, Document]]:
    """Each change, and the file with it."""
    for path in sorted(set(_paths(document)) | set(_possible(document)), key=str):
        for value in _values(path, _get(document, path)):
            changed = copy.deepcopy(document)
            if _set(changed, path, value):
                shown = "(removed)" if value is _REMOVED else repr(value)[:60]
                yield f"{'.'.join(map(str, path))} = {shown}", changed


def several_changes(document: Document, seed: int, most: int = 4) -> Iterator[tuple[str, Document]]:
    """Files with two to `most` changes each, drawn by a seed, without end."""
    draw = random.Random(seed)
    paths = sorted(set(_paths(document)) | set(_possible(document)), key=str)
    while True:
        changed = copy.deepcopy(document)
        told = []
        for path in draw.sample(paths, draw.randint(2, most)):
            value = draw.choice(list(_values(path, _get(document, path))))
            if _set(changed, path, value):
                told.append(f"{'.'.join(map(str, path))} = {'(removed)' if value is _REMOVED else repr(value)[:60]}")
        yield "; ".join(told), changed


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, (*path, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:3]):
            yield from _paths(inner, (*path, i))


def _possible(document: Document) -> Iterator[tuple[str | int, ...]]:
    """Keys that a pipeline file may have, whether it has them or not."""
    for name, field in Pipeline.model_fields.items():
        yield (name,)
        inner = getattr(field.annotation, "model_fields", None)
        for below in inner or ():
            yield name, below
    for kind, below in (
        ("windows", ("aggregate", "probability", "half_life", "error", "include_current", "column", "size", "key")),
        ("features", ("sql", "categories", "function")),
        ("derived", ("sql", "function")),
        ("raw", ("key", "format")),
    ):
        for i in range(len(document.get(kind, ()))):
            yield from ((kind, i, name) for name in below)
    for name in document.get("columns", {}):
        yield from (("columns", name, below) for below in ("type", "required", "missing"))
    yield from (("training", "params", name) for name in _PARAMETERS)
    yield from (("labeling", "hidden", name) for name in document.get("columns", {}))


_PARAMETERS = (
    "num_iterations", "num_leaves", "max_depth", "min_data_in_leaf", "bagging_fraction", "bagging_freq", "max_bin",
    "feature_fraction", "lambda_l1", "scale_pos_weight", "sigmoid", "min_data_in_bin", "bin_construct_sample_cnt",
    "boost_from_average", "zero_as_missing", "use_missing", "extra_trees", "is_unbalance", "max_delta_step",
    "learning_rate", "early_stopping_round", "objective", "min_gain_to_split", "min_sum_hessian_in_leaf", "seed",
    "cat_smooth", "max_cat_to_onehot", "feature_fraction_bynode",
)  # fmt: skip


_SPANS = frozenset(
    {
        "skew", "half_life", "gap", "max_interval", "expires_after", "grace", "idle_timeout", "events", "max_ahead",
        "lateness",
    }
)  # fmt: skip
_COUNTS = frozenset(
    {
        "partitions", "budget", "explore", "total", "every", "min_labels", "min_positive", "tolerance", "min_holdout",
        "answers", "max_answers", "confidence", "gold_every", "withdraw_below", "probability", "error", "text", "row",
        "candidates_per_pick", "rows",
    }
)  # fmt: skip
_OF_NAME: dict[str | int, tuple[object, ...]] = {
    "sql": _SQL,
    "clean": tuple([sql] for sql in _SQL),
    "aggregate": ("count", "sum", "last", "distinct", "approx_quantile", "decayed_mean", "since_last", "zscore", "x"),
    "type": ("string", "int", "float", "bool", "x"),
    "format": ("iso8601", "epoch_s", "epoch_ms", "epoch_us", "json"),
    "policy": ("margin", "entropy", "least_confidence", "badge", "margin_kmeans", "random"),
    "missing": ([], [-1], ["x"], [1.5], [2**63 - 1], [""], [-(2**63)], [0, 0]),
    "required": (True, False),
    "features_topic": (True, False),
    "include_current": (True, False),
    **dict.fromkeys(
        ("context", "leaks", "keys", "patterns", "categories"),
        (*_LISTS, ["time"], ["id"], ["%Y-%m-%d"], ["%Y"], ["a", ""]),
    ),
    **dict.fromkeys(_SPANS, _DURATIONS),
    **dict.fromkeys(_COUNTS, _NUMBERS),
}
_OF_PLACE: dict[tuple[str | int, ...], tuple[object, ...]] = {
    ("training", "params"): _PARAMS,
    ("limits",): _NUMBERS,
    ("labeling", "hidden"): ([], ["annotator"], ["annotator", "annotator"], ["program", "viewer"]),
    ("clean",): _SQL,
}


def _values(path: tuple[str | int, ...], old: object) -> Iterator[object]:
    """What may stand at a place, right or wrong."""
    yield _REMOVED
    if isinstance(old, list):
        yield from (*_LISTS, [*old, *old[:1]], old[::-1], [{}])
    if path[:1] == ("raw",) and path[-1] == "key":
        yield from ("text", "json", "int32", "int64", "other")
    elif path[:-1] in _OF_PLACE:
        yield from _OF_PLACE[path[:-1]]
    elif path[-1] in _OF_NAME:
        yield from _OF_NAME[path[-1]]
    elif isinstance(old, dict | list):
        yield {}
    elif isinstance(old, int | float):
        yield from (*_NUMBERS, True, False)
    else:
        yield from (*_TEXTS, *(_DURATIONS if str(old)[:1].isdigit() else ()))


def _get(document: object, path: tuple[str | int, ...]) -> object:
    for step in path:
        try:
            document = document[step]  # type: ignore[index]  # whatever it is
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _set(document: Any, path: tuple[str | int, ...], value: object) -> bool:  # noqa: ANN401 - as TOML has it
    for step in path[:-1]:
        if isinstance(document, dict) and isinstance(step, str):
            document = document.setdefault(step, {})
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return False
    last = path[-1]
    if value is _REMOVED:
        try:
            del document[last]
        except (KeyError, IndexError, TypeError):
            return False
        return True
    if isinstance(document, list) and isinstance(last, int) and last < len(document):
        document[last] = value
        return True
    if isinstance(document, dict) and isinstance(last, str):
        document[last] = value
        return True
    return False

"""Annotations as files that other tools read. What a person typed can't become a formula in their spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from labeling_grpc.files.formulas import armed
from tidemark.errors import ConfigError
from tidemark.records import Label

_TYPES: Final[dict[str, Any]] = {
    "event_id": pl.String,
    "business_id": pl.String,
    "key": pl.String,
    "time": pl.Int64,
    "status": pl.String,
    "label": pl.String,
    "annotator": pl.String,
    "known_at": pl.Int64,
    "answered_at": pl.Int64,
    "reason": pl.String,
    "inclusion_probability": pl.Float64,
    "tile": pl.Int64,
    "tile_count": pl.Int64,
    "policy": pl.String,
    "probabilities": pl.List(pl.Float64),
    "uncertainty": pl.Float64,
    "model": pl.String,
    "confidence": pl.Float64,
    "comment": pl.String,
    "annotation_id": pl.String,
    "supersedes": pl.String,
    "answers": pl.Int64,
    "annotators": pl.List(pl.String),
    "consensus": pl.List(pl.Float64),
    "bulk": pl.String,
}


def frame(labels: Sequence[Label]) -> pl.DataFrame:
    """A row an annotation, times in µs; a feature `x` is the column `f_x`."""
    features = sorted({name for label in labels for name in label.features})
    columns: dict[str, list[Any]] = {name: [getattr(label, name) for label in labels] for name in _TYPES}
    columns |= {f"f_{name}": [label.features.get(name) for label in labels] for name in features}
    return pl.DataFrame(columns, schema=_TYPES | {f"f_{name}": pl.Float64 for name in features})


def _csv(labels: Sequence[Label], path: Path) -> None:
    lists = pl.col("probabilities", "annotators", "consensus")
    rows = frame(labels).with_columns(lists.list.eval(pl.element().cast(pl.String)).list.join(" "))
    text = [name for name, kind in rows.schema.items() if kind == pl.String]
    safe = [
        pl.Series(name, [None if cell is None else armed(cell) for cell in rows[name].to_list()], pl.String)
        for name in text
    ]
    rows.with_columns(safe).write_csv(path)


def _parquet(labels: Sequence[Label], path: Path) -> None:
    frame(labels).write_parquet(path)


def _ndjson(labels: Sequence[Label], path: Path) -> None:
    path.write_bytes(msgspec.json.Encoder().encode_lines(labels))


def _label_studio(labels: Sequence[Label], path: Path) -> None:
    """Tasks as Label Studio imports them: an event each, the model's opinion, and everybody's answers."""
    events: dict[str, list[Label]] = {}
    for label in labels:
        events.setdefault(label.event_id, []).append(label)
    path.write_bytes(msgspec.json.encode([_task(event) for event in events.values()]))


def _task(labels: Sequence[Label]) -> dict[str, Any]:
    first = labels[0]
    data = {"event_id": first.event_id, "business_id": first.business_id, "key": first.key, "time_us": first.time}
    return {
        "data": data | {f"f_{name}": value for name, value in first.features.items()},
        "meta": {"event_id": first.event_id, "model": first.model, "reason": first.reason},
        "annotations": [
            {
                "result": [] if label.label is None else [_choice(label.label)],
                "was_cancelled": label.label is None,
                "ground_truth": False,  # else Label Studio takes each imported answer for the truth
                "meta": {
                    "annotator": label.annotator,
                    "annotation_id": label.annotation_id,
                    "status": label.status,
                    "confidence": label.confidence,
                    "comment": label.comment,
                },
            }
            for label in labels
        ],
    }


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "event", "type": "choices", "value": {"choices": [label]}}


FORMATS: Final[dict[str, Callable[[Sequence[Label], Path], None]]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".ndjson": _ndjson,
    ".json": _label_studio,
}
"""By the ending of the file; `.json` is Label Studio's."""


def export(labels: Sequence[Label], path: Path) -> None:
    """Write annotations in the format that the file's ending names; the file is there whole, or not at all.

    Raises:
        ConfigError: the ending names none, or the folder can't be written.

    """
    write = FORMATS.get(path.suffix)
    if write is None:
        raise ConfigError(f"{path}: the ending must be one of {', '.join(FORMATS)} (.json: Label Studio's tasks)")
    fresh = path.with_name(path.name + ".new")
    try:
        write(labels, fresh)
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error

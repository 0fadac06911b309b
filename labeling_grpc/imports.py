"""Labels from files, as people have them and as `labeling_grpc.export` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.exceptions import PolarsError

from labeling_grpc.admin_messages import Imported
from labeling_grpc.export import FORMULA
from tidemark.errors import ConfigError
from tidemark.pipeline.classes import NO_CLASS, ClassReader
from tidemark.pipeline.model import LabelSpec

_NEEDED: Final = ("event_id", "label")
_KNOWN: Final[dict[str, pl.DataType]] = {
    "event_id": pl.String(),
    "label": pl.String(),
    "annotator": pl.String(),
    "known_at": pl.Int64(),
    "confidence": pl.Float64(),
    "time": pl.Int64(),
    "key": pl.String(),
    "business_id": pl.String(),
    "status": pl.String(),
    "annotation_id": pl.String(),
    "supersedes": pl.String(),
}
_FEATURE: Final = "f_"
"""How the column of a feature begins where there is no column `features` with all of them."""


def _csv(path: Path) -> pl.DataFrame:
    """Every cell as text; what was made safe for spreadsheets is as it was said."""
    quoted = "^'" + FORMULA.removeprefix("^")
    text = pl.col(pl.String)
    return pl.read_csv(path, infer_schema=False).with_columns(
        pl.when(text.str.contains(quoted)).then(text.str.slice(1)).otherwise(text).name.keep()
    )


FORMATS: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    ".csv": _csv,
    ".ndjson": lambda path: pl.read_ndjson(path, infer_schema_length=None),
    ".parquet": pl.read_parquet,
}
"""By the ending of the file."""


def read(path: Path, spec: LabelSpec | None = None) -> list[Imported]:
    """Labels of a file with the columns event_id and label, and where they are annotator, known_at, confidence.

    Events that the queue has no case of bring along time, and where they are key, business_id and features: columns
    `f_NAME`, or one `features`. Rows without a label, of another status than `answered`, and those that a later row
    supersedes are left out: what the queue exported can be read as it is.

    spec: the pipeline's label, whose classes the column `label` may also give as numbers or truth values
        (`tidemark.pipeline.classes`). None: texts are left to the service to check.

    Raises:
        ConfigError: the file can't be read, or a column is missing or of another type; names it.

    """
    load = FORMATS.get(path.suffix)
    if load is None:
        raise ConfigError(f"{path}: the ending must be one of {', '.join(FORMATS)}")
    try:
        frame = load(path)
    except (OSError, PolarsError) as error:
        raise ConfigError(f"{path}: {error}") from error
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise ConfigError(f"{path}: there is no column {missing[0]!r}; the columns are {', '.join(frame.columns)}")
    if spec is not None:
        frame = _named(frame, path, spec)
    return [_imported(row) for row in _standing(_typed(frame, path)).iter_rows(named=True)]


def _named(frame: pl.DataFrame, path: Path, spec: LabelSpec) -> pl.DataFrame:
    """The labels as the pipeline names them. Texts that name none stay: the service refuses them one by one."""
    labels = frame["label"]
    try:
        classes = ClassReader(spec.classes, spec.positive).column(labels)
    except ValueError as error:
        if labels.dtype == pl.String:
            return frame
        raise ConfigError(f"{path}: {error}") from error
    names = [None if index == NO_CLASS else spec.classes[index] for index in classes.tolist()]
    return frame.with_columns(pl.Series("label", names, pl.String))


def _typed(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    for name in frame.columns:
        kind = _KNOWN.get(name, pl.Float64() if name.startswith(_FEATURE) else None)
        if kind is None:
            continue
        try:
            frame = frame.with_columns(pl.col(name).cast(kind))
        except PolarsError as error:
            raise ConfigError(f"{path}: column {name!r} must hold {kind}: {str(error).splitlines()[0]}") from error
    return frame


def _standing(frame: pl.DataFrame) -> pl.DataFrame:
    labeled = frame.filter(pl.col("event_id").is_not_null(), pl.col("label").is_not_null(), pl.col("label") != "")
    if "status" in frame.columns:
        labeled = labeled.filter(pl.col("status").is_null() | (pl.col("status") == "answered"))
    if {"annotation_id", "supersedes"} <= set(frame.columns):
        superseded = frame["supersedes"].drop_nulls().implode()
        labeled = labeled.filter(pl.col("annotation_id").is_null() | ~pl.col("annotation_id").is_in(superseded))
    return labeled


def _imported(row: Mapping[str, Any]) -> Imported:
    return Imported(
        event_id=row["event_id"],
        label=row["label"],
        annotator=row.get("annotator") or "",
        known_at=row.get("known_at"),
        confidence=row.get("confidence"),
        time=row.get("time"),
        key=row.get("key"),
        business_id=row.get("business_id"),
        features=dict(_features(row)),
    )


def _features(row: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    together = row.get("features")
    if isinstance(together, Mapping):
        yield from together.items()
        return
    for name, value in row.items():
        if name.startswith(_FEATURE):
            yield name.removeprefix(_FEATURE), value

"""Features that tell the time and nothing else: a new weekday is no change of the stream."""

from __future__ import annotations

import re
from typing import Final

from tidemark.pipeline.model import Pipeline

_WORD: Final = re.compile(r'"(?:[^"]|"")*"|[^\W\d]\w*')
_TEXT: Final = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


def watched(pipeline: Pipeline) -> list[str]:
    """Features whose change would say something, in the pipeline's order: all but those of the event's time alone."""
    columns = set(pipeline.columns)
    told: set[str] = set()
    for feature in pipeline.features:
        sql = feature.name if feature.sql is None and feature.function is None else feature.sql
        if sql is not None and _names(sql, columns) == {pipeline.time.column}:
            told.add(feature.name)
    features = set(pipeline.feature_names)
    for derived in pipeline.derived:
        named = set() if derived.sql is None else _names(derived.sql, features)
        if named and named <= told:
            told.add(derived.name)
    return [name for name in pipeline.feature_names if name not in told]


def _names(sql: str, known: set[str]) -> set[str]:
    """Which of some names an expression has."""
    words = (word.strip('"').replace('""', '"') for word in _WORD.findall(_TEXT.sub(" ", sql)))
    return {word for word in words if word in known}

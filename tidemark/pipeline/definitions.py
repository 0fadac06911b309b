"""Identity of each feature: what decides its values, and nothing else.

Two features of one definition have the same values on the same rows, whatever they are called and wherever they stand
in the file. So a value that was computed under another pipeline file can be used wherever its definition is still
there, and never where a definition has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tidemark.pipeline.aggregates import AGGREGATES
from tidemark.pipeline.model import Feature, Pipeline, Window

_MEANING: Final = 1
"""Raised when the engine computes another value for the same text."""
_TOKEN: Final = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | [^\W\d]\w* | [\d.]+ | [<>=!|:&]+ | \S""",
    re.VERBOSE | re.DOTALL,
)
_Hashes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Definition:
    """Identity of a feature.

    id: 8 hex digits, the same for the same definition.  text: for people.  reads: other features that it is made of.
    """

    name: str
    id: str
    text: str
    reads: tuple[str, ...] = ()


def definitions(pipeline: Pipeline) -> dict[str, Definition]:
    """Definition of each feature of a pipeline, in the order of `Pipeline.feature_names`."""
    columns = column_ids(pipeline)
    found: dict[str, Definition] = {}
    for feature in pipeline.features:
        found[feature.name] = _feature(feature, columns)
    for window in pipeline.windows:
        found[window.name] = _window(window, pipeline, columns, found)
    known = {name: its.id for name, its in found.items()}
    for derived in pipeline.derived:
        parts = _expression(derived.sql, derived.function, known)
        reads = tuple(name for name in known if name in _names(derived.sql, known))
        identity = _id("derived", parts)
        found[derived.name] = Definition(derived.name, identity, derived.function or derived.sql or "", reads)
        known[derived.name] = identity
    return found


def feature_ids(pipeline: Pipeline) -> dict[str, str]:
    """Id of each feature's definition, in the order of `Pipeline.feature_names`."""
    return {name: definition.id for name, definition in definitions(pipeline).items()}


def column_ids(pipeline: Pipeline) -> dict[str, str]:
    """Id of what each column holds after cleaning: its type, what is missing, and the steps that changed it."""
    columns = {
        name: _id(
            "column",
            name,
            column.type,
            sorted(column.missing, key=repr),
            pipeline.time.format if name == pipeline.time.column else None,
            *([] if column.default is None else [column.default]),
            *([told] if (told := column.rules()) else []),
        )
        for name, column in pipeline.columns.items()
    }
    for sql in pipeline.clean:
        from tidemark.pipeline.sql import parse_sql  # noqa: PLC0415 - SQLGlot, which a file without `clean` needs not

        columns[parse_sql(sql).output_name] = _id("clean", _expression(sql, None, columns))
    return columns


def normalized(sql: str, names: Iterable[str]) -> list[str]:
    """Tokens of an SQL expression without comments and spaces; words that are no names of columns in capitals."""
    known = set(names)
    tokens = []
    for token in _TOKEN.findall(sql):
        if token.startswith(("--", "/*")):
            continue
        if token.startswith('"'):
            tokens.append(token[1:-1].replace('""', '"'))
        elif token.startswith("'") or token in known:
            tokens.append(token)
        else:
            tokens.append(token.upper())
    return tokens


def _feature(feature: Feature, columns: _Hashes) -> Definition:
    parts = _expression(feature.sql or _quoted(feature.name), feature.function, columns)
    text = feature.function or feature.sql or feature.name
    if feature.categories is not None:
        text += f" as one of {len(feature.categories)} categories"
    return Definition(feature.name, _id("feature", parts, feature.categories), text)


def _window(window: Window, pipeline: Pipeline, columns: _Hashes, features: Mapping[str, Definition]) -> Definition:
    own = features.get(window.column or "")
    column = None if window.column is None else own.id if own is not None else columns[window.column]
    before = pipeline.keys[: pipeline.keys.index(window.key) + 1]
    error = AGGREGATES.get(window.aggregate).error
    dropped = pipeline.deduplicate
    identity = _id(
        "window",
        window.aggregate,
        column,
        window.size,
        window.probability,
        window.half_life,
        window.error or (None if error is None else error[1]),
        window.include_current,
        pipeline.time.lateness,
        [columns[key] for key in before],
        columns[pipeline.time.column],
        *([] if dropped is None else [columns[dropped.key], dropped.within]),
        *([] if window.rows is None else ["rows", window.rows]),
        *([] if window.gap is None else ["gap", window.gap]),
    )
    text = window.aggregate if window.column is None else f"{window.aggregate} of {window.column}"
    text += f" over {window.span} by {window.key}"
    return Definition(window.name, identity, text, () if own is None else (own.name,))


def _expression(sql: str | None, function: str | None, known: _Hashes) -> object:
    """What an expression says and what it reads. A function may read every column."""
    if function is not None:
        return [function, sorted(known.values())]
    tokens = normalized(sql or "", known)
    return [tokens, [[name, identity] for name, identity in sorted(known.items()) if name in tokens]]


def _names(sql: str | None, known: _Hashes) -> set[str]:
    return set(known) if sql is None else set(normalized(sql, known))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _id(*parts: object) -> str:
    canonical = json.dumps([_MEANING, *parts], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()

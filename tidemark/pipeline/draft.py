"""A first pipeline file from a topic's records: what can be seen in them, and comments where a person must choose."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tidemark.errors import ConfigError
from tidemark.pipeline.column_checks import ESCAPED, is_escaped
from tidemark.pipeline.drafted_label import DraftedLabel, drafted_labels
from tidemark.pipeline.drafted_time import DraftedTime, SeenColumn, drafted_time
from tidemark.pipeline.durations import format_duration
from tidemark.pipeline.loading import parse
from tidemark.pipeline.record_keys import KeyForm, form_of
from tidemark.runtime.suggestions import did_you_mean

_FRACTION: Final = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][+-]?[0-9]+)?")
_WITH_COMMA: Final = re.compile(r"-?(0|[1-9][0-9]*)(,[0-9]+)?")
_DEEPEST: Final = 4
"""Levels of objects within a record whose fields become columns."""
_MAX_CATEGORIES: Final = 20
_DAY: Final = 86_400_000_000
_FORMS: Final[dict[KeyForm, str]] = {
    "json": "the records' keys are this column as JSON",
    "int32": "the records' keys are this column in 4 bytes",
    "int64": "the records' keys are this column in 8 bytes",
    "other": "the records' keys are no column's; rows are repartitioned",
}
"""What a form other than `text` says."""
SETTINGS: Final = (
    "",
    "[selection]",
    '# policy: "robust", "margin", "badge", "random" and others: see the page on selection',
    'policy = "robust"',
    'tile = "6h"    # CHOOSE: so often cases are chosen, in event time',
    "budget = 8    # CHOOSE: cases for people in each tile",
    "explore = 1    # of which are drawn at random, to measure the model",
    "",
    "[start]",
    "anomalies = 32    # before there is a model odd events are asked about too, as far as labels say that it pays",
    "positives = 20    # then the likeliest positives, until there are so many or chance finds them",
    '# rule = "amount > 1000"    # CHOOSE: SQL over the features, where you know what to look for',
    "",
    "[training]",
    'learner = "mean"    # of few labels it makes most; "boosted" predicts four times as many rows a second',
    "min_labels = 16",
    "min_positive = 1",
    "",
    "[gates]",
    "min_holdout = 10",
    "",
)
"""How cases are chosen and models trained where nothing is known of a stream; see `drafted_settings`."""
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Sample:
    """A record of the topic. partition: in which it lies."""

    key: bytes | None
    value: bytes | None
    partition: int = 0


def drafted_settings() -> dict[str, dict[str, Any]]:
    """What the draft says of selection, start, training and gates, by section: what benchmarks of labels measure."""
    return tomllib.loads("\n".join(SETTINGS))


def draft(
    topic: str,
    samples: Sequence[Sample],
    *,
    partitions: int,
    key: str | None = None,
    time: str | None = None,
) -> str:
    """TOML of a pipeline over `topic` that passes `tidemark check`.

    samples: records of the topic; those that are no JSON objects are left out.  partitions: of the topic.
    key, time: columns, where the guess would be another.

    Raises:
        ConfigError: no record is a JSON object, or there is nothing that can be a time or a key; says what to give.

    """
    objects: set[str] = set()
    records = [(sample.key, fields) for sample in samples if (fields := _fields(sample.value, objects)) is not None]
    if not records:
        raise ConfigError(f"topic '{topic}': none of {len(samples)} records is a JSON object; is its format JSON?")
    seen, left_out = _seen([fields for _, fields in records], objects)
    timed = drafted_time(topic, seen, time)
    key_column = _key(topic, seen, records, key, timed.column)
    form = _form(key_column, records, seen)
    text = _text(topic, partitions, seen, left_out, key_column, form, timed, len(records))
    parse(text, "the draft")
    return text


def _fields(value: bytes | None, objects: set[str]) -> dict[str, Any] | None:
    try:
        return _flat(_decode(value or b""), _DEEPEST, objects)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _flat(fields: dict[str, Any], levels: int, objects: set[str], within: str = "") -> dict[str, Any]:
    """Fields of objects within the record beside its own, named with a dot.

    levels: so deep.  objects: gets the names of those objects.  within: the name of the object, with a dot.
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and value and levels and name and "." not in name:
            objects.add(f"{within}{name}")
            inside = _flat(value, levels - 1, objects, f"{within}{name}.")
            found |= {f"{name}.{inner}": own for inner, own in inside.items() if inner}
        else:
            found[name] = value
    return found


def _seen(records: Sequence[dict[str, Any]], objects: set[str]) -> tuple[dict[str, SeenColumn], dict[str, str]]:
    """Fields that can be columns, and why the others can't. objects: names of those whose fields may be."""
    columns: dict[str, SeenColumn] = {}
    mixed = {name for name in objects if any(fields.get(name) not in (None, {}) for fields in records)}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(name for fields in records for name in fields):
        values = [fields[name] for fields in records if fields.get(name) is not None]
        kinds = {type(value) for value in values}
        outer = next((each for each in mixed if f"{name}.".startswith(f"{each}.")), None)
        if outer is not None:
            left_out[name] = f"{_quoted(outer)} is an object in some records and not in others"
        elif name in objects:
            continue
        elif name.startswith("_") or not name:
            left_out[name] = "begins with '_'"
        elif is_escaped(name):
            left_out[name] = ESCAPED
        elif not values:
            left_out[name] = "always null"
        elif (kind := _kind(kinds, values)) is None:
            left_out[name] = " or ".join(sorted(k.__name__ for k in kinds))
        else:
            columns[name] = SeenColumn(name, kind, values, len(values) == len(records))
    return columns, left_out


def _kind(kinds: set[type], values: list[Any]) -> str | None:
    if kinds == {str}:
        return "string"
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return "int"
    if kinds <= {int, float}:
        return "float"
    return None


def _key(
    topic: str,
    seen: dict[str, SeenColumn],
    records: Sequence[tuple[bytes | None, dict[str, Any]]],
    wanted: str | None,
    time_column: str,
) -> str:
    """The column that the records are keyed by."""
    possible = {
        name: column for name, column in seen.items() if column.type in ("string", "int") and name != time_column
    }
    if wanted is not None:
        if wanted not in possible:
            raise ConfigError(
                f"topic '{topic}': '{wanted}' can't be a key: a key is text or an int, and not the time; "
                f"{did_you_mean(wanted, possible)}"
            )
        return wanted
    common = [name for name, column in possible.items() if 2 * len(column.values) >= len(records)]
    keyed = [name for name in common if _form(name, records, seen) != "other"]
    if keyed:
        return min(keyed, key=lambda name: (not seen[name].always, _form(name, records, seen) != "text"))
    possible = {name: column for name, column in possible.items() if column.always}
    repeated = [name for name, column in possible.items() if not column.identifies and column.distinct > 1]
    named = [name for name in repeated if name.lower().endswith(("id", "number", "key", "code"))]
    chosen = [*named, *repeated, *possible]
    # Where nothing names an entity there are no windows, and records are named by their time.
    return chosen[0] if chosen else time_column


def _form(name: str, records: Sequence[tuple[bytes | None, dict[str, Any]]], seen: Mapping[str, SeenColumn]) -> KeyForm:
    """How the records' keys tell a column, of those records that have it."""
    have = ((key, str(fields[name])) for key, fields in records if fields.get(name) is not None)
    return form_of(have, numbers=seen[name].type == "int")


def _gaps(key: SeenColumn, n: int) -> str:
    """What becomes of records without the key."""
    missing = n - len(key.values)
    return f"# CHOOSE: {key.name} is missing in {missing} of {n} records, which become dead letters"


def _text(
    topic: str,
    partitions: int,
    seen: dict[str, SeenColumn],
    left_out: dict[str, str],
    key: str,
    form: KeyForm,
    timed: DraftedTime,
    n: int,
) -> str:
    time = timed.column
    labels = drafted_labels(c for c in seen.values() if c.name not in (key, time))
    seen = {each: column for each, column in seen.items() if each not in {label.column for label in labels}}
    columns = [c for c in seen.values() if c.name not in (key, time)]
    written = [c for c in columns if _tells_numbers(c)]
    identity = next((c.name for c in columns if c.identifies and c.type == "string" and c not in written), None)
    counters = [c for c in columns if c.type == "int" and c.identifies and n > 1]
    numbers = [c for c in columns if c.type in ("int", "float", "bool") and c not in counters]
    texts = [c for c in columns if c.type == "string" and c.name != identity and c not in written]
    categories = [c for c in texts if c.distinct < len(c.values) or n == 1]
    free = [c.name for c in texts if c not in categories]
    names = _names([*numbers, *written, *categories], set(seen))
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", topic.removesuffix(".raw")).strip("-_")[:60] or "pipeline"
    if topic in (f"{name}.{own}" for own in ("features", "predictions", "labels", "outcomes", "metrics")):
        name = f"{name}-learning"
    keyed = [] if form == "text" else [f"key = {_quoted(form)}    # {_FORMS[form]}"]
    lines = [
        f"# Drafted by `tidemark init` from {n} records of the topic {topic}. Read it once: what could not be seen in",
        "# the records is marked CHOOSE. `tidemark check` tells whether it still fits together.",
        "",
        f"name = {_quoted(name)}",
        f"partitions = {partitions}",
        "# Windows are kept by these columns; the first is the key that the records are partitioned by.",
        *([] if seen[key].always else [_gaps(seen[key], n)]),
        f"keys = [{_quoted(key)}]",
        "",
        "[[raw]]",
        f"topic = {_quoted(topic)}",
        *keyed,
        "",
        "[time]",
        f"column = {_quoted(time)}",
        f"format = {_quoted(timed.format)}",
        *([f"patterns = {_quoted(timed.patterns)}{timed.comment}"] if timed.patterns else []),
        'lateness = "1m"    # CHOOSE: how far out of order records may come',
        f"max_ahead = {_quoted(format_duration(_DAY))}",
        "",
        "[columns]",
    ]
    lines += [
        f"{_quoted(c.name)} = {{ type = {_quoted(c.type)}{'' if c.always or c.name == key else ', required = false'} }}"
        for c in seen.values()
    ]
    lines += [f"# left out: {_quoted(left)} ({why})" for left, why in left_out.items()]
    lines += [
        f"# left out: {_quoted(label.column)} (may be the answer, which no model and nobody who is asked may see; "
        "CHOOSE it as a column if it is known with the event)"
        for label in labels
    ]
    lines += ["", "# ---- what a record tells by itself"]
    for column in numbers:
        sql = [] if names[column.name] == column.name else [f"sql = {_quoted(_identifier(column.name))}"]
        lines += ["", "[[features]]", f"name = {_quoted(names[column.name])}", *sql]
    for column in written:
        comma = _has_comma(column)
        pointed = f"REPLACE({_identifier(column.name)}, ',', '.')" if comma else _identifier(column.name)
        cast = f"TRY_CAST({pointed} AS DOUBLE)"
        read = ", a comma before the fraction (CHOOSE another if it parts thousands)" if comma else ""
        named = _free(f"{names[column.name]}_number", {*names.values(), *seen})
        lines += ["", "[[features]]", f"name = {_quoted(named)}"]
        lines += [f"sql = {_quoted(cast)}    # numbers as texts{read}; a text that is none is missing"]
    for column in categories:
        sql = [] if names[column.name] == column.name else [f"sql = {_quoted(_identifier(column.name))}"]
        known, comment = _categories(column)
        lines += ["", "[[features]]", f"name = {_quoted(names[column.name])}", *comment, *sql]
        lines += [f"categories = {_quoted(known)}"]
    lines += [f"# no feature: {_quoted(name)} (another text in every record; CHOOSE some SQL of it)" for name in free]
    lines += [
        f"# no feature: {_quoted(c.name)} (another number in every record, as of a counter; CHOOSE it if it measures)"
        for c in counters
    ]
    lines += _windows(key, None if key == time else seen[key], numbers, names, set(seen))
    lines += _label(identity, seen, labels)
    lines += SETTINGS
    return "\n".join(lines)


def _tells_numbers(column: SeenColumn) -> bool:
    """Whether all its texts are numbers, and none of them digits alone: those may be codes."""
    form = _WITH_COMMA if _has_comma(column) else _FRACTION
    return column.type == "string" and all(map(form.fullmatch, column.values))


def _has_comma(column: SeenColumn) -> bool:
    """Whether one of its texts has a comma."""
    return column.type == "string" and any("," in text for text in column.values)


def _categories(column: SeenColumn) -> tuple[list[str], list[str]]:
    """Texts that are told apart, in order, and the comment on those that are not."""
    counts = Counter(column.values)
    if len(counts) <= _MAX_CATEGORIES:
        return sorted(counts), []
    common = sorted(sorted(counts, key=lambda text: (-counts[text], text))[:_MAX_CATEGORIES])
    share = sum(counts[text] for text in common) / len(column.values)
    comment = [
        f"# the {len(common)} commonest of {len(counts)} texts seen, {share:.0%} of records; the others are missing.",
        "# CHOOSE: more of them, or SQL that groups them",
    ]
    return common, comment


def _windows(
    key: str, entity: SeenColumn | None, numbers: Sequence[SeenColumn], names: Mapping[str, str], columns: set[str]
) -> list[str]:
    """Aggregates by key. entity: the key's column; None: no column names an entity."""
    if entity is None:
        return ["", "# no windows: no column names an entity. CHOOSE a key, and what came before by it"]
    lines = ["", "# ---- what came before, by key: CHOOSE the sizes that matter"]
    prefix = _names([entity], set())[key]
    windows: list[tuple[str, str, str | None, str]] = [
        (f"{prefix}_count_1h", "count", None, "1h"),
        (f"{prefix}_count_1d", "count", None, "1d"),
    ]
    windows += [(f"{prefix}_{names[c.name]}_mean_1d", "mean", c.name, "1d") for c in numbers[:3]]
    windows.append((f"{prefix}_since_last", "since_last", None, "7d"))
    for wanted, aggregate, column_name, size in windows:
        window = _free(wanted, {*names.values(), *columns})
        of = [] if column_name is None else [f"column = {_quoted(column_name)}"]
        lines += ["", "[[windows]]", f"name = {_quoted(window)}", f"key = {_quoted(key)}"]
        lines += [f"aggregate = {_quoted(aggregate)}", *of, f"size = {_quoted(size)}"]
    return lines


def _label(identity: str | None, seen: Mapping[str, SeenColumn], labels: Sequence[DraftedLabel]) -> list[str]:
    """What people are asked."""
    named = [f"business_id = {_quoted(identity)}"] if identity else ['# business_id = "..."  # CHOOSE: names an event']
    classes: tuple[str, ...] = ("normal", "positive")
    column, seen_there = list[str](), ""
    if labels and labels[0].classes:
        classes = labels[0].classes
        column = [f"column = {_quoted(labels[0].column)}    # of a history, for `train --from` and `simulate`"]
        seen_there = f", as {_quoted(labels[0].column)} tells"
    elif labels:
        column = [f"# column = {_quoted(labels[0].column)}    # CHOOSE: of a history, if it tells these classes"]
    return [
        "",
        "[label]",
        *named,
        f"classes = {_quoted(list(classes))}    # CHOOSE: what people answer{seen_there}",
        f"positive = {_quoted(classes[-1])}    # CHOOSE: the class that is looked for",
        *column,
        'delay = "7d"    # CHOOSE: after which time the truth arrives by itself',
        f"context = {_quoted([c.name for c in seen.values()][:12])}",
        'question = ""    # CHOOSE: what people are asked',
    ]


def _names(columns: Sequence[SeenColumn], columns_of_file: set[str]) -> dict[str, str]:
    """A feature's name for each column: its own where that is a name, another that is free where it is not."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]+", "_", column.name)
        name = name if re.match(r"[A-Za-z_]", name) else f"f_{name}"
        names[column.name] = _free(name, {*names.values(), *(columns_of_file - {column.name})})
    return names


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _identifier(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _quoted(value: object) -> str:
    """A TOML string, or array of strings: as in JSON, but for one control character that JSON lets be."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""JSON records that nobody should write: those of ours with fields of any kind and size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from hypothesis import strategies as st

PLAIN = (
    *("null", "true", "false", "0", "-1", "0.5", "1e308", "-1e308", "1e400", "NaN", "Infinity", "-0.0", "1e-320"),
    *(str(10**30), str(-(10**30)), str(2**63), str(2**63 - 1), str(-(2**63)), str(2**53), str(2**62), "9" * 5_000),
    *('""', '"a"', r'"\u0000"', r'"\ud800"', r'"\u202e"', '"' + "x" * 100_000 + '"', '"answered"', '"retracted"'),
    *("[]", "{}", "[null]", "[0.5, 0.5]", "[1, 0]", "[1e308, 1e308]", '{"": null}', '{"a": {"b": [1]}}'),
    *("[" * 2_000 + "]" * 2_000, '{"a":' * 100_000, "[" + ",".join(["0"] * 20_000) + "]"),
    *('["a", "b"]', '{"x": 1e308}', '{"x": -1e308, "y": 1e400}', '{"x": "1"}', '{"x": null}'),
)


NUMBERS = tuple(map(str, (10**30, -(10**30), 2**63, 2**63 - 1, -(2**63), 2**62, 2**53, -1, 0, 1e308, 0.5)))


def mutants(record: Mapping[str, object]) -> st.SearchStrategy[bytes]:
    """The record's JSON with one to three fields, or fields of those, replaced, left out, added or given twice.

    At times another value altogether.
    """
    values = st.one_of(st.sampled_from(PLAIN), st.integers().map(str), st.floats().map(json.dumps))
    numbers = st.one_of(st.sampled_from(NUMBERS), values)
    changes = []
    for name, value in record.items():
        own = numbers if isinstance(value, int | float) else values
        changes.append(st.tuples(st.just((name,)), st.one_of(st.none(), own), st.booleans()))
        changes += [
            st.tuples(st.just((name, str(inner))), st.one_of(st.none(), numbers), st.booleans())
            for inner in (value if isinstance(value, dict) else ())
        ]
    unknown = st.sampled_from([("",), ("unknown",), ("x" * 5_000,)])
    changes.append(st.tuples(unknown, values, st.booleans()))
    drawn = st.lists(st.one_of(changes), min_size=1, max_size=3)
    return st.one_of(*[drawn.map(lambda each: _changed(record, each))] * 5, values.map(str.encode))


def single_mutants(record: Mapping[str, object]) -> Iterator[bytes]:
    """The record's JSON with each field, and each field of a field, replaced by each of the values, and left out."""
    paths: list[tuple[str, ...]] = [(name,) for name in record]
    paths += [(name, str(inner)) for name, value in record.items() if isinstance(value, dict) for inner in value]
    for path in paths:
        for value in (*PLAIN, *NUMBERS, None):
            yield _changed(record, [(path, value, False)])


def _changed(record: Mapping[str, object], changes: Sequence[tuple[tuple[str, ...], str | None, bool]]) -> bytes:
    fields = [(name, json.dumps(value)) for name, value in record.items() if not isinstance(value, dict)]
    inner = {
        name: [(key, json.dumps(each)) for key, each in value.items()]
        for name, value in record.items()
        if isinstance(value, dict)
    }
    whole = [(path[0], value, twice) for path, value, twice in changes if len(path) == 1]
    for path, value, twice in changes:
        if len(path) > 1:
            inner[path[0]] = _with(inner[path[0]], path[1], value, twice=twice)
    told = fields + [(name, _object(each)) for name, each in inner.items()]
    for name, value, twice in whole:
        told = _with(told, name, value, twice=twice)
    return _object(told).encode()


def _with(fields: list[tuple[str, str]], name: str, value: str | None, *, twice: bool) -> list[tuple[str, str]]:
    kept = fields if twice else [field for field in fields if field[0] != name]
    return kept if value is None else [*kept, (name, value)]


def _object(fields: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields) + "}"

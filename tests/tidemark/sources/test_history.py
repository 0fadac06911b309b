from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import small_pipeline

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.sources.history import read_history


def pipeline(classes: str = "") -> Pipeline:
    return small_pipeline("p", label='column = "truth"' + classes)


def row(number: int, **over: object) -> dict[str, object]:
    own = {"key": "k", "time": f"2025-01-01T00:{number:02d}:00Z", "a": 1.0, "b": 2.0, "c": 3.0, "truth": "no"}
    return own | over


def ndjson(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "h.ndjson"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def csv(folder: Path, text: str) -> Path:
    path = folder / "h.csv"
    path.write_text(text)
    return path


HEADER = "key,time,a,b,c,truth,more\n"


def test_nothing_is_guessed_from_the_first_rows(tmp_path: Path) -> None:
    whole = "".join(f"00{i:03d},2025-01-01T00:00:00Z,1,2,3,no,\n" for i in range(120))
    path = csv(tmp_path, HEADER + whole + "late,2025-01-01T00:00:00Z,5.75,2,3,yes,text\n")
    frame = read_history(pipeline(), path)
    assert frame["key"][7] == "00007"
    assert frame["key"][120] == "late"
    assert frame["a"][120] == 5.75
    assert frame.columns == ["key", "time", "a", "b", "c", "truth"]


def test_a_field_that_is_first_seen_late_is_kept(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row(i % 60).items() if name not in ("truth", "more")} for i in range(150)]
    frame = read_history(pipeline(), ndjson(tmp_path, [*rows, row(1, truth="yes", a=7.5)]))
    assert frame["truth"].drop_nulls().to_list() == ["yes"]
    assert frame["a"][150] == 7.5


def test_a_label_may_be_a_field_of_an_object_as_any_column_may(tmp_path: Path) -> None:
    nested = small_pipeline("p", label='column = "known.truth.fraud"')
    rows = [row(1, known={"truth": {"fraud": "yes"}}), row(2, known=None), row(3), row(4, known={"truth": {}})]
    assert read_history(nested, ndjson(tmp_path, rows))["known.truth.fraud"].to_list() == ["yes", None, None, None]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row(1), row(2, a="much")], 'h.ndjson, row 2: a: expected a number within 64 bits, got "much"'),
        ([row(1), row(2, key=7)], "h.ndjson, row 2: key: expected text, got 7"),
        ([row(1), row(2, time="soon")], "h.ndjson, row 2: time: \"soon\" is no time of format 'iso8601'"),
        ([row(1), row(2, truth=True)], "column 'truth' holds a str in row 1 and a bool in row 2; write all alike"),
        ([row(1, truth=[1])], "row 1: truth: expected a class, got '[1]'"),
        ([row(1), row(2, time="2099-01-01T00:00:00Z")], "row 2: time"),
        ([], "has no rows"),
    ],
)
def test_what_the_stream_would_refuse_is_named_with_file_row_column_and_value(
    tmp_path: Path, rows: list[dict[str, object]], why: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read_history(pipeline(), ndjson(tmp_path, rows), timestamp=1_800_000_000_000)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("k,2025-01-01T00:00:00Z,1,2\n", "h.csv, row 1: it has 4 cells, and the header names 7"),
        ("k,2025-01-01T00:00:00Z,1,x,3,no,\n", 'h.csv, row 1: b: expected a number within 64 bits, got "x"'),
        (",2025-01-01T00:00:00Z,1,2,3,no,\n", "h.csv, row 1: key: "),
    ],
)
def test_a_row_of_a_csv_is_named_too(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_history(pipeline(), csv(tmp_path, HEADER + text))
    assert why in str(raised.value)


def test_a_topic_is_one_of_the_pipelines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'q.raw' is no raw topic of p; did you mean"):
        read_history(pipeline(), ndjson(tmp_path, [row(1)]), topic="q.raw")
    assert read_history(pipeline(), ndjson(tmp_path, [row(1)]), topic="p.raw")["_topic"].to_list() == ["p.raw"]

"""CSV rows and CloudEvents as records: column by column as the same rows are in JSON."""

from __future__ import annotations

import base64
import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text
from schemas import batch_of

from dataflows.engine.environment import pipeline_and_settings
from dataflows.engine.warmup import load_reader
from tidemark.errors import ConfigError
from tidemark.features.raw_records import Records
from tidemark.formats import csv_records
from tidemark.formats.decoder import Decoded, Decoder
from tidemark.pipeline import Pipeline, parse
from tidemark.runtime.processor import Batch, Headers
from tidemark.warmup import EXAMPLES

TIME: Final = "2025-01-01T00:00:01Z"
ROW: Final = {"key": "k", "time": TIME, "a": 1.5, "b": -0.25, "c": 3.0}
HEADER: Final = ["key", "unread", "time", "a", "b", "c"]


def pipeline_of(settings: str, columns: str = "") -> Pipeline:
    text = pipeline_text("p").replace('topic = "p.raw"', f'topic = "p.raw"\n{settings}')
    text = text.replace('a = { type = "float" }', 'a = { type = "float", required = false }')
    text = text.replace(
        'b = { type = "float" }', 'b = { type = "int" }' if "csv" in settings else 'b = { type = "float" }'
    )
    return parse(text.replace("[label]", f"{columns}\n[label]"), "p.toml")


CSV: Final = pipeline_of(f'format = "csv"\nheader = {HEADER}\nseparator = ";"')
EVENTS: Final = pipeline_of(
    'format = "cloudevents"',
    'kind = { type = "string", names = ["ce_type"] }\nsubject = { type = "string", '
    'required = false, names = ["ce_subject"] }',
)


def reasons(decoded: Decoded) -> list[str]:
    return [each.reason for each in decoded.bad]


CELL: Final = st.one_of(
    st.sampled_from(
        ["", "1", "1.5", "-7", "7.0", "007", "+3", "1e3", ".5", "5.", "-", "nan", "NaN", "inf", "9" * 19, "x"]
    ),
    st.sampled_from(
        [
            "9" * 19,
            "x",
            "9007199254740993",
            "9007199254740992.0",
            "0.1000000000000000055511151231257827",
            "1e400",
            "1;2",
        ]
    ),
    st.text(max_size=4),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ';"\r\n') else cell


LINES: Final = st.one_of(
    st.tuples(st.text(max_size=4), CELL, st.just(TIME), CELL, CELL, CELL).map(
        lambda cells: ";".join(
            f'"{cell.replace(chr(34), chr(34) * 2)}"' if any(mark in cell for mark in ';"\r\n') else cell
            for cell in cells
        ).encode()
    ),
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2.5", ""]), st.integers(0, 9)).map(
        lambda row: f"{row[0]};;{TIME};{row[1]};{row[2]};1.0".encode()
    ),
    st.binary(max_size=12),
)


@given(st.lists(LINES, min_size=1, max_size=24))
def test_rows_of_csv_are_what_they_are_alone_and_what_python_reads_of_them(lines: list[bytes]) -> None:
    decoder = Decoder(CSV)
    together = decoder.decode(batch_of(lines))
    good = set(together.rows.tolist())
    told = {each.row: each.reason for each in together.bad}
    assert good | told.keys() == set(range(len(lines)))
    frame = together.frame.to_dicts()
    for i, line in enumerate(lines):
        alone = decoder.decode(batch_of([line]))
        if i in good:
            assert alone.frame.to_dicts() == [frame[sorted(good).index(i)]]
            (cells,) = csv.reader(io.StringIO(line.decode(), newline=""), delimiter=";", strict=True)
            row = alone.frame.row(0, named=True)
            assert row["key"] == cells[0]
            assert row["a"] == (None if cells[3].lower() in ("", "nan") else float(cells[3]))
            assert float(row["b"]) == float(cells[4])
        else:
            assert reasons(alone) == [told[i]]


TYPED: Final = pipeline_of(
    f'format = "csv"\nheader = {[*HEADER, "yes"]}\nseparator = ","', 'yes = { type = "bool", required = false }'
)
WORD: Final = st.sampled_from(["true", "True", "FALSE", "tRUE", "1", "", "truetrue", "yes"])
NUMBER: Final = st.sampled_from(["1", "0", "-0", "0.10", "12e-2", "1E5", "-3.5e+2", "007", "", " 1", "1 ", "1\r"])


@given(
    st.lists(
        st.tuples(
            st.tuples(st.text(max_size=3), st.text(max_size=3), st.just(TIME), NUMBER, NUMBER, NUMBER, WORD),
            st.tuples(*[st.booleans()] * 7),
            st.sampled_from(["", "\n", "\r\n"]),
        ),
        min_size=9,
        max_size=20,
    )
)
def test_cells_in_quotes_and_rows_with_the_end_of_their_line_are_what_they_are_alone(
    rows: list[tuple[tuple[str, ...], tuple[bool, ...], str]],
) -> None:
    def cell(text: str, in_quotes: bool) -> str:
        return '"' + text.replace('"', '""') + '"' if in_quotes else text

    lines = [(",".join(map(cell, cells, marks)) + end).encode() for cells, marks, end in rows]
    decoder = Decoder(TYPED)
    together = decoder.decode(batch_of(lines))
    frame, told = iter(together.frame.to_dicts()), {each.row: each.reason for each in together.bad}
    for i, line in enumerate(lines):
        alone = decoder.decode(batch_of([line]))
        assert (alone.frame.to_dicts() or reasons(alone)) == [told[i] if i in told else next(frame)]


def test_a_row_of_csv_that_is_none_is_named_and_the_rest_goes_on() -> None:
    good = f"k;;{TIME};1.5;-2;3".encode()
    bad = [
        b"k;1",
        b"k;;\xff;1;2;3",
        b'k;";;;;',
        good.replace(b"-2", b"-2.5"),
        good.replace(b"3", b""),
        b"\xef\xbb\xbf" + good,
    ]
    decoded = Decoder(CSV).decode(batch_of([good, *bad, *[good] * 10]))
    assert decoded.rows.tolist() == [0, *range(7, 17)]
    assert [reason.partition(":")[0] for reason in reasons(decoded)] == [
        "has 2 cells, and the pipeline file names 6 in `header`", "is no row of CSV", "is no row of CSV", "b", "c",
        "begins with a byte order mark (BOM); write UTF-8 without one",
    ]  # fmt: skip


def test_what_ingest_sends_as_csv_and_as_events_is_read_as_the_json_it_was_made_from() -> None:
    row = {"key": 'k;"\n', "time": TIME, "a": None, "b": 7, "c": 1e300}
    (sent,) = Records(CSV).records([json.dumps(row).encode()])
    assert sent.value == f'"k;""\n";;{TIME};;7;1e300'.encode()
    assert Decoder(CSV).decode(batch_of([sent.value])).frame.drop("time").row(0) == ('k;"\n', None, 7, 1e300)
    event = {"ce_type": "t", "key": "k", "time": TIME, "a": 1.5, "b": 2, "c": 3}
    (sent,) = Records(EVENTS).records([json.dumps(event).encode()])
    decoded = Decoder(EVENTS).decode(batch_of([sent.value]))
    assert decoded.frame.drop("time").row(0) == ("k", 1.5, 2.0, 3.0, "t", None)


def test_a_row_of_which_csv_has_no_cell_for_a_field_is_not_sent_without_it() -> None:
    """It goes as it is, for the stream to refuse it: a value that nobody takes out would be gone without a word."""
    row = {"key": "k", "time": TIME, "a": 1.5, "b": 2, "c": 3.0, "amuont": 7}
    (sent,) = Records(CSV).records([json.dumps(row).encode()])
    assert sent.value == json.dumps(row).encode()
    (sent,) = Records(CSV).records([json.dumps(row | {"amuont": None}).encode()])
    assert sent.value == f"k;;{TIME};1.5;2;3.0".encode()


def structured(data: object = ROW, **attributes: object) -> bytes:
    event = {"specversion": "1.0", "id": "7", "source": "/plant", "type": "reading"} | attributes
    return json.dumps({name: value for name, value in (event | {"data": data}).items() if value is not None}).encode()


@pytest.mark.parametrize(("pipeline", "read"), [(CSV, "scan_csv"), (EVENTS, "scan_json")])
def test_what_reads_large_rounds_is_loaded_also_of_formats_that_become_json(
    pipeline: Pipeline, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    for name in ("scan_csv", "scan_json"):
        monkeypatch.setitem(EXAMPLES, name, partial(loaded.append, name))
    load_reader(pipeline)
    assert loaded == [read]


BINARY: Final = {"ce_specversion": b"1.0", "ce_id": b"7", "ce_source": b"/plant", "ce_type": b"reading"}


def event_batch(records: list[tuple[bytes, dict[str, bytes]]]) -> Batch:
    batch = batch_of([value for value, _ in records])
    headers: list[Headers | None] = [list(pairs.items()) for _, pairs in records]
    batch.headers = headers
    return batch


def test_events_of_both_modes_are_read_with_their_attributes() -> None:
    plain = json.dumps(ROW).encode()
    packed = json.dumps(json.loads(structured(None)) | {"data_base64": base64.b64encode(plain).decode()}).encode()
    records: list[tuple[bytes, dict[str, bytes]]] = [
        (structured(subject="pump"), {"content-type": b"application/cloudevents+json; charset=utf-8"}),
        (structured(), {}),
        (packed, {}),
        (plain, BINARY | {"ce_subject": b"fan", "content-type": b"application/json"}),
        (plain, BINARY),
    ]
    decoded = Decoder(EVENTS).decode(event_batch(records))
    assert not decoded.bad
    assert decoded.frame["kind"].to_list() == ["reading"] * 5
    assert decoded.frame["subject"].to_list() == ["pump", None, None, "fan", None]
    assert decoded.frame["a"].to_list() == [1.5] * 5
    assert Decoder(EVENTS).event_times(event_batch(records)) == decoded.times.tolist()


BAD_EVENTS: Final[dict[str, tuple[bytes, dict[str, bytes], str]]] = {
    "no object": (b"[]", {}, "is no event: expected `object`"),
    "no JSON": (b"x", {}, "is no event: malformed JSON"),
    "no UTF-8": (b"\xff", {}, "is no event: malformed JSON"),
    "another version": (structured(specversion="0.3"), {}, "its specversion is 0.3"),
    "no version": (json.dumps(ROW).encode(), {}, "has no data"),
    "no id": (structured(id=None), {}, "is an event without 'id'"),
    "an id that is no text": (structured(id=7), {}, "is an event without 'id'"),
    "no data": (structured(None), {}, "has no data"),
    "a batch": (b"[]", {"content-type": b"application/cloudevents-batch+json"}, "is a batch of events"),
    "XML": (b"<a/>", BINARY | {"content-type": b"application/xml"}, "content type application/xml; send JSON"),
    "structured Avro": (structured(datacontenttype="avro/binary"), {}, "content type avro/binary; send JSON"),
    "both data": (structured(data_base64="e30="), {}, "has both data and data_base64"),
    "data twice": (structured().replace(b'"data":', b'"data": {"a": 1}, "data":'), {}, "gives 'data' twice"),
    "an escaped name twice": (structured().replace(b'"id":', b'"i\\u0064": "8", "id":'), {}, "gives 'id' twice"),
    "what is read twice": (structured(subject="x")[:-1] + b', "subject": "y"}', {}, "gives 'subject' twice"),
    "no base64": (structured(None, data_base64="e30"), {}, "has data_base64 that is no base64"),
    "data that is a text": (structured("x"), {}, "its data: expected `object`"),
    "a wrong type": (structured(ROW | {"a": "x"}), {}, "its data: a: expected a number within 64 bits"),
    "a name twice": (structured().replace(b'"b":', b'"a": 1, "b":'), {}, "its data: a: given more than once"),
    "a rounded number": (structured(ROW | {"a": 2**53 + 1}), {}, "its data: a: 9007199254740993 is beyond 2^53"),
    "deep": (structured(ROW | {"x": json.loads("[" * 99 + "]" * 99)}), {}, "its data: nested deeper than 64 levels"),
    "a missing column": (structured({"key": "k"}), {}, "time: is missing"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_an_event_that_is_none_is_named_and_the_rest_goes_on(name: str) -> None:
    value, headers, reason = BAD_EVENTS[name]
    decoded = Decoder(EVENTS).decode(event_batch([(structured(), {}), (value, headers), (structured(), {})]))
    assert decoded.rows.tolist() == [0, 2]
    assert reason in reasons(decoded)[0]


def test_an_attribute_that_headers_give_twice_is_refused_and_one_of_no_event_is_not() -> None:
    plain = json.dumps(ROW).encode()
    batch = event_batch([(plain, BINARY)] * 3)
    own: Headers = list(BINARY.items())
    twice: Headers = [*own, ("CE_Subject", b"a"), ("ce_subject", b"b")]
    batch.headers = [own, twice, [*own, ("trace", b"1"), ("trace", b"2")]]
    decoded = Decoder(EVENTS).decode(batch)
    assert decoded.rows.tolist() == [0, 2]
    assert "has the header ce_subject twice" in reasons(decoded)[0]


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([each[0] for each in BAD_EVENTS.values()])), max_size=6)
)
def test_whatever_comes_as_an_event_is_read_or_refused(values: list[bytes]) -> None:
    decoded = Decoder(EVENTS).decode(event_batch([(value, {}) for value in [structured(), *values]]))
    assert decoded.rows.tolist()[0] == 0
    assert len(decoded.rows) + len(decoded.bad) == len(values) + 1
    Decoder(EVENTS).event_times(event_batch([(value, BINARY) for value in values]))


def test_names_that_can_not_be_are_told() -> None:
    with pytest.raises(ConfigError, match=r"raw\[0\].header: 'a' is named twice"):
        Decoder(pipeline_of('format = "csv"\nheader = ["a", "a"]'))
    mixed = pipeline_of('format = "cloudevents"', 'd = { type = "string", names = ["ce_id", "id"] }')
    with pytest.raises(ConfigError, match="keep names of one kind"):
        Decoder(mixed)


def test_flows_that_read_a_copy_of_the_file_find_what_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "state" / "running.toml"
    copy.parent.mkdir()
    copy.write_text(pipeline_text("p"))
    assert pipeline_and_settings(str(copy))[0].folder == copy.parent
    monkeypatch.setenv("TIDEMARK_PIPELINE_FOLDER", str(tmp_path / "edited"))
    assert pipeline_and_settings(str(copy))[0].folder == tmp_path / "edited"


def test_few_rows_of_csv_and_many_take_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    lines = [f"k{i};x;{TIME};{rng.normal():.6f};{rng.integers(-9, 9)};{rng.normal():.3f}".encode() for i in range(40)]
    many = Decoder(CSV).decode(batch_of(lines))
    monkeypatch.setattr(csv_records, "_FEW", 1_000)
    assert many.frame.equals(Decoder(CSV).decode(batch_of(lines)).frame)
    assert not many.bad

"""Files as they should not be: each is read rightly, or refused in a sentence that names file, row, column, value."""

from __future__ import annotations

import gzip
import io
import json
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from models import small_pipeline

from labeling_grpc.files.importing import read as read_labels
from tidemark.errors import ConfigError
from tidemark.features.raw_records import Records
from tidemark.formats.declared import Declared
from tidemark.formats.reading import open_rows
from tidemark.pipeline import Pipeline
from tidemark.records.raw_record import RawRecord
from tidemark.sources.files import RecordFile
from tidemark.sources.history import read_history

HEADER = b"key,time,a,b,c,truth\n"
ROW = b"k,2025-01-01T00:00:00Z,1,2,3,no\n"
TEXT = (HEADER + ROW).decode()
LINE = b'{"key":"k","time":"2025-01-01T00:00:00Z","a":1,"b":2,"c":3,"truth":"no"}\n'
UNDER = "\N{ZERO WIDTH NO-BREAK SPACE}"


def parquet(renamed: dict[str, str] | None = None) -> bytes:
    frame = pl.DataFrame(
        {"key": ["k"], "time": ["2025-01-01T00:00:00Z"], "a": [1.0], "b": [2.0], "c": [3.0], "truth": ["no"]}
    )
    file = io.BytesIO()
    frame.rename(renamed or {}).write_parquet(file)
    return file.getvalue()


def pipeline() -> Pipeline:
    return small_pipeline("p", label='column = "truth"')


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def ingested(path: Path) -> list[RawRecord]:
    seconds = count(0, 100)
    file = RecordFile(path, pipeline(), clock=lambda: next(seconds))
    file.resume([], {})
    found: list[RawRecord] = []
    while (records := file.read(100)) is None or records:
        found += records or ()
    assert file.held is None
    return found


REFUSED = {
    "UTF-16": ("f.csv", TEXT.encode("utf-16"), "f.csv is UTF-16; write it as UTF-8"),
    "UTF-16 without a mark": ("f.csv", TEXT.encode("utf-16-le"), "f.csv is UTF-16, or no text; write it as UTF-8"),
    "UTF-16 with the higher byte first": ("f.csv", TEXT.encode("utf-16-be"), "f.csv is UTF-16, or no text"),
    "UTF-32": ("f.csv", TEXT.encode("utf-32"), "f.csv is UTF-32; write it as UTF-8"),
    "lines of UTF-16": ("f.ndjson", LINE.decode().encode("utf-16-le"), "f.ndjson is UTF-16, or no text"),
    "gzip": ("f.csv", gzip.compress(HEADER + ROW), "f.csv is compressed (gzip); unpack it"),
    "lines of gzip": ("f.ndjson", gzip.compress(LINE), "f.ndjson is compressed (gzip); unpack it"),
    "a spreadsheet": ("f.csv", b"PK\x03\x04" + bytes(range(256)), "f.csv is a zip archive or a spreadsheet"),
    "Parquet by another name": ("f.csv", parquet(), "f.csv is a Parquet file; let its name end in .parquet"),
    "nothing": ("f.csv", b"", "f.csv is empty; its first line must name the columns"),
    "a blank line first": ("f.csv", b"\n" + HEADER + ROW, "f.csv: the first line is blank; it must name the columns"),
    "two marks": ("f.csv", (UNDER * 2 + TEXT).encode(), r"f.csv: it names a column '\ufeffkey', and 'key' is declared"),
    "a space in the label's name": (
        "f.csv",
        TEXT.replace(",truth", ", truth").encode(),
        "a column ' truth', and",
    ),
    "a hard space in a name": (
        "f.csv",
        TEXT.replace(",truth", ",\xa0truth").encode(),
        r"a column '\xa0truth', and",
    ),
    "another case": (
        "f.csv",
        TEXT.replace("truth", "Truth").encode(),
        "a column 'Truth', and 'truth' is declared",
    ),
    "a NUL in a name": ("f.csv", TEXT.replace("key", "key\0").encode(), r"names a column 'key\x00', and 'key' is"),
    "a space in a name of Parquet": (
        "f.parquet",
        parquet({"truth": " truth"}),
        "a column ' truth', and 'truth'",
    ),
    "encrypted Parquet": ("f.parquet", b"PARE" + parquet()[4:-4] + b"PARE", "f.parquet can't be read: it is encrypted"),
    "an encrypted footer": ("f.parquet", parquet()[:-4] + b"PARE", "f.parquet can't be read: it is encrypted"),
    "Parquet without its end": ("f.parquet", parquet()[:-9], "it is no Parquet file, or it was not written to its end"),
    "only the marks of Parquet": ("f.parquet", b"PAR1PAR1", "it is no Parquet file, or it was not written to its end"),
    "a label twice": (
        "f.ndjson",
        LINE + LINE.replace(b'"truth"', b'"truth":"yes","truth"'),
        "f.ndjson, row 2: truth: given more than once",
    ),
    "carriage returns alone": ("f.csv", (HEADER + ROW).replace(b"\n", b"\r"), "it has a carriage return within"),
    "a NUL in a number": (
        "f.csv",
        HEADER + ROW.replace(b",1,", b",1\0,"),
        "row 1: a: expected a number within 64",
    ),
    "a decimal comma": (
        "f.csv",
        HEADER + ROW.replace(b",1,", b',"1,5",'),
        "row 1: a: expected a number within 64",
    ),
    "a space before a number": ("f.csv", HEADER + ROW.replace(b",1,", b", 1,"), 'a number within 64 bits, got " 1"'),
    "a digit of another script": (
        "f.csv",
        HEADER + ROW.replace(b",1,", ",\uff11,".encode()),
        "row 1: a: expected a number",
    ),
    "Latin-1": ("f.csv", HEADER + b"\xe9" + ROW, "f.csv, row 1: it is not UTF-8"),
    "zeros behind the end": (
        "f.csv",
        HEADER + ROW + b"\0" * 512,
        "f.csv, row 2: it has 1 cells, and the header",
    ),
    "a header again": ("f.csv", HEADER + ROW + HEADER, 'f.csv, row 2: a: expected a number within 64 bits, got "a"'),
    "an array of lines": ("f.ndjson", b"[" + LINE.strip() + b"]\n", "row 1: expected `object`, got `array`"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_no_file_of_rows_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    name, content, why = REFUSED[case]
    with pytest.raises(ConfigError) as raised:
        read_history(pipeline(), put(tmp_path, name, content))
    assert why in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert len(str(raised.value).splitlines()) == 1


READ = {
    "plain": HEADER + ROW,
    "a mark": UNDER.encode() + HEADER + ROW,
    "a mark before quotes": UNDER.encode() + HEADER.replace(b"key", b'"key"') + ROW,
    "Windows' ends of lines": (HEADER + ROW).replace(b"\n", b"\r\n"),
    "ends of lines of both kinds": HEADER + ROW.replace(b"\n", b"\r\n"),
    "no end of the last line": HEADER + ROW.strip(),
    "blank lines": HEADER + b"\n" + ROW + b"\n\n",
    "columns without a name": HEADER.strip() + b",,\n" + ROW.strip() + b",,\n",
    "columns that nobody declared, twice": HEADER.strip() + b",x,x\n" + ROW.strip() + b",7,8\n",
    "quotes around all": b'"key","time","a","b","c","truth"\n"k","2025-01-01T00:00:00Z","1","2","3","no"\n',
    "fifty thousand columns": b"x," * 50_000 + HEADER + b"," * 50_000 + ROW,
}


@pytest.mark.parametrize("case", sorted(READ))
def test_what_is_a_file_of_rows_is_read_alike_by_training_and_ingest(tmp_path: Path, case: str) -> None:
    path = put(tmp_path, "f.csv", READ[case])
    frame = read_history(pipeline(), path)
    assert frame.drop("time").rows() == [("k", 1.0, 2.0, 3.0, "no")]
    (record,) = ingested(path)
    assert record.key == b"k"
    assert not Records(pipeline()).decode([record.value]).bad
    assert json.loads(record.value) == {"key": "k", "time": "2025-01-01T00:00:00Z", "a": 1, "b": 2, "c": 3}


def test_a_slip_in_the_name_of_a_column_that_may_be_missing_is_refused(tmp_path: Path) -> None:
    content = b"event_id,label, Confidence\nx,no,1\n"
    with pytest.raises(ConfigError, match="it names a column ' Confidence', and 'confidence' is declared; rename one"):
        read_labels(put(tmp_path, "f.csv", content))
    declared = Declared({"caf\N{LATIN SMALL LETTER E WITH ACUTE}": "string"}.get, names=("caf\xe9",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is declared; rename one"):
        open_rows(put(tmp_path, "g.csv", "cafe\u0301\nx\n".encode()), declared)


@pytest.mark.parametrize("more", ["", f', "junk": {"9" * 5_000}'])
def test_an_imported_label_that_is_given_twice_is_refused(tmp_path: Path, more: str) -> None:
    line = f'{{"event_id": "x", "label": "no", "label": "yes"{more}}}\n'.encode()
    with pytest.raises(ConfigError, match=r"f.ndjson, row 1: label: given more than once"):
        read_labels(put(tmp_path, "f.ndjson", line))

"""The table of time formats: what every format owes, ours and another package's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text
from outside import entry_points_of, examples, in_path, install

from tidemark.errors import ConfigError
from tidemark.pipeline import load, parse
from tidemark.pipeline.draft import Sample, draft
from tidemark.times.iso8601 import UNREADABLE
from tidemark.times.time_formats import GROUP, LATEST, TIME_FORMATS, TimeFormat

SECOND: Final = 1_000_000
FORMATS: Final = list(TIME_FORMATS.all().items())
EACH: Final = pytest.mark.parametrize(("name", "written"), FORMATS, ids=[name for name, _ in FORMATS])
JUNK: Final = {
    "string": st.text(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
}


def named(written: str) -> str:
    """A pipeline file whose times are whole numbers in a format."""
    text = pipeline_text("p").replace('column = "time"', f'column = "time"\nformat = "{written}"')
    return text.replace('time = { type = "string" }', 'time = { type = "int" }')


def told(written: TimeFormat, at: int) -> object:
    """A time as a record tells it, after its way through JSON."""
    return msgspec.json.decode(msgspec.json.encode(written.write(at)))


@EACH
@given(seconds=st.lists(st.integers(0, LATEST // SECOND - 1), max_size=5))
def test_what_a_format_writes_it_reads_back(name: str, written: TimeFormat, seconds: list[int]) -> None:
    times = [second * SECOND for second in seconds]
    back = written.read([told(written, at) for at in times], ())
    assert back.dtype == np.dtype(np.int64)
    assert back.tolist() == times, name


@EACH
@given(data=st.data())
def test_a_value_s_time_depends_on_no_other_value_and_no_value_raises(
    name: str, written: TimeFormat, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(written.types))
    values = data.draw(st.lists(JUNK[kind], min_size=1, max_size=4))
    together = written.read(values, ()).tolist()
    assert together == [int(written.read([value], ())[0]) for value in values], name


@EACH
def test_a_format_recognises_what_it_writes_of_these_years_and_no_other_format_does(
    name: str, written: TimeFormat
) -> None:
    values = [told(written, year * 31_557_600 * SECOND) for year in (31, 45, 55)]
    kind = "string" if isinstance(values[0], str) else "int"
    assert [other for other, each in FORMATS if each.looks(values, kind)] == [name]


def test_a_time_format_of_another_package_is_named_in_a_pipeline_file_read_checked_and_guessed(tmp_path: Path) -> None:
    """The example of docs/contributing/extending.md, as it stands there."""
    files = examples("wire")
    text = named("compact")
    with in_path(install(tmp_path / "site", "wire", files, entry_points_of(files["pyproject.toml"]))):
        pipeline = parse(text, "p.toml")
        assert pipeline.time.format == "compact"
        by_path = parse(text.replace('"compact"', '"wire.times:COMPACT"'), "p.toml")
        assert TIME_FORMATS.get(by_path.time.format) is TIME_FORMATS.get("compact")
        written = TIME_FORMATS.get("compact")
        assert told(written, 1_738_315_815 * SECOND) == 20250131093015
        assert written.read([20250131093015, 20251331093015], ()).tolist() == [1_738_315_815 * SECOND, UNREADABLE]
        records = [
            Sample(b"k", msgspec.json.encode({"id": str(i), "key": "k", "time": 20250131093015 + i})) for i in (0, 1)
        ]
        assert 'format = "compact"' in draft("t", records, partitions=1)
        with pytest.raises(ConfigError, match="'compact' needs a column of type 'int', and 'time' is a string"):
            parse(text.replace('time = { type = "int" }', 'time = { type = "string" }'), "p.toml")
    with pytest.raises(ConfigError, match=r"time.format: 'compact' is not allowed; write 'iso8601', 'epoch_s', .* or"):
        parse(text, "p.toml")


BROKEN: Final = """
import numpy as np
from tidemark.times.time_formats import TimeFormat
def read(values, patterns):
    return np.array([int(value) for value in values])
def never(values, patterns):
    return np.zeros(len(values), np.int64)
def looks(values, kind):
    return False
RAISES = TimeFormat(("string",), read, str, looks)
LOSES = TimeFormat(("int",), never, int, looks)
FLOATS = TimeFormat(("float",), lambda values, _: np.array(values) / 1, float, looks)
NO_TYPES = TimeFormat((), read, str, looks)
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("RAISES", "it raises ValueError"),
        ("LOSES", "it reads [0, 0, 0] µs from what it writes for"),
        ("FLOATS", "its 'read' must give int64"),
        ("NO_TYPES", "its types are ()"),
        ("read", "it is a function, not a tidemark.times.time_formats.TimeFormat"),
    ],
)
def test_a_broken_time_format_is_told_at_its_key_of_the_file(name: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(named("own"))
    site = install(tmp_path / "site", "tiny", {"tiny_times.py": BROKEN}, {GROUP: {"own": f"tiny_times:{name}"}})
    with in_path(site), pytest.raises(ConfigError, match=r"time.format: time format 'own' of package tiny") as refused:
        load(path)
    assert says in str(refused.value)

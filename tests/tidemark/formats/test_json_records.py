from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import NOW_MS, START, shop

from tidemark.formats import json_scan
from tidemark.formats.decoder import Decoded, Decoder
from tidemark.formats.json_records import MAX_VALUE
from tidemark.formats.json_scan import name_hashes, suspicious
from tidemark.runtime.processor import Batch, Partition
from tidemark.times import iso8601, iso8601_scan
from tidemark.times.iso8601 import UNREADABLE, iso_times
from tidemark.times.time_patterns import time_pattern

GOOD = {"id": "P1", "at": START, "who": "w", "place": 3, "amount": 2.5, "kind": "a"}
PIPELINE = shop()
DECODER = Decoder(PIPELINE)


def batch(values: list[bytes | None], keys: list[bytes | None] | None = None, timestamp: int = NOW_MS) -> Batch:
    n = len(values)
    return Batch(
        Partition("shop.raw", 0, "0000aaaa"),
        np.arange(n, dtype=np.int64) * 2,
        np.full(n, timestamp, np.int64),
        keys or [b"k"] * n,
        values,
        [None] * n,
    )


def changed(**fields: object) -> bytes:
    return json.dumps(GOOD | fields).encode()


def without(*names: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name not in names}).encode()


def inserted(text: str) -> bytes:
    return json.dumps(GOOD).encode()[:-1] + text.encode() + b"}"


def placed(number: str) -> bytes:
    return json.dumps(GOOD).encode().replace(b'"place": 3', f'"place": {number}'.encode())


BAD: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "no value (a tombstone)"),
    "empty": (b"", "empty value"),
    "malformed": (b'{"id": "P1", "at"', "malformed JSON"),
    "two records in one": (json.dumps(GOOD).encode() * 2, "malformed JSON"),
    "a name twice beside 5,000 digits": (
        inserted(f', "id": "P2", "junk": {"9" * 5_000}'),
        "id: given more",
    ),
    "not an object": (b"[1, 2]", "expected `object`, got `array`"),
    "not UTF-8": (json.dumps(GOOD).encode().replace(b"P1", b"\xff\xfe"), "id: expected text"),
    "key not UTF-8": (b'{"\xff": 1}', "not UTF-8"),
    "raw newline in text": (json.dumps(GOOD).encode().replace(b"P1", b"P\n1"), "malformed JSON"),
    "NaN": (json.dumps(GOOD | {"amount": math.nan}).encode(), "JSON has no NaN and no Infinity, write null"),
    "Infinity": (json.dumps(GOOD | {"amount": -math.inf}).encode(), "JSON has no NaN and no Infinity, write null"),
    "NaN as text": (changed(amount="NaN"), 'amount: expected a number within 64 bits, got "NaN"'),
    "too large a number": (inserted(', "amount": 1e999').replace(b'"amount": 2.5, ', b""), "amount: expected a number"),
    "wrong type": (changed(place="three"), 'place: expected a whole number within 64 bits, got "three"'),
    "fraction as int": (changed(place=1.5), "place: expected a whole number within 64 bits, got 1.5"),
    "number as text": (changed(id=7), "id: expected text, got 7"),
    "beyond 64 bits": (changed(place=2**63), "place: expected a whole number within 64 bits, got 9223372036854775808"),
    "far beyond 64 bits": (changed(place=-(10**30)), "place: expected a whole number within 64 bits"),
    "an exponent that decimals don't take": (
        placed("1e99999999999999999999"),
        "place: expected a whole number within 64",
    ),
    "a small exponent that decimals don't take": (placed("1e-99999999999999999999"), "place: expected a whole number"),
    "missing field": (without("who"), "who: is missing"),
    "null field": (changed(id=None), "id: expected text, got null"),
    "null key": (changed(who=None), "who: expected text, got null"),
    "repeated key": (inserted(', "amount": 7'), "amount: given more than once"),
    "repeated key, escaped": (inserted(', "am\\u006funt": 7'), "amount: given more than once"),
    "too deep": (inserted(', "x": ' + "[" * 65 + "]" * 65), "nested deeper than 64 levels"),
    "far too deep": (inserted(', "x": ' + "[" * 100_000 + "]" * 100_000), "nested deeper than 64 levels"),
    "too large": (changed(extra="x" * 5_000_000), f"over the limit of {MAX_VALUE}"),
    "before 1970": (changed(at=-1), "at: -1 lies before 1970"),
    "far future": (
        changed(at=NOW_MS * 1_000 + 401 * 86_400_000_000),
        "lies 401.0 days after Kafka's timestamp; at most 400d",
    ),
    "BOM": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "begins with a byte order mark (BOM); write UTF-8 without"),
    "UTF-16 with a mark": (json.dumps(GOOD).encode("utf-16"), "is UTF-16; write UTF-8"),
    "UTF-16LE": (json.dumps(GOOD).encode("utf-16-le"), "is UTF-16; write UTF-8"),
    "UTF-16BE": (json.dumps(GOOD).encode("utf-16-be"), "is UTF-16; write UTF-8"),
    "UTF-32": (json.dumps(GOOD).encode("utf-32"), "is UTF-32; write UTF-8"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "is compressed (gzip)"),
    "Schema Registry": (b"\x00\x00\x00\x00\x2a" + json.dumps(GOOD).encode(), "has a Schema Registry frame (schema 42)"),
    "nearly whole": (
        inserted(', "place": 1.0000000000000000001').replace(b'"place": 3, ', b""),
        "place: expected a whole",
    ),
    "pointed beyond 64 bits": (
        placed("9223372036854775808.0"),
        "place: expected a whole number within 64 bits, got 9223372036854775808.0",
    ),
    "exponent beyond everything": (
        inserted(', "place": 1e400').replace(b'"place": 3, ', b""),
        "place: expected a whole",
    ),
    "whole number that float64 rounds": (
        changed(amount=9007199254740993),
        "amount: 9007199254740993 is beyond 2^53, and float64 does not hold it; declare the column an int or a string",
    ),
    "truth as int": (changed(place=True), "place: expected a whole number within 64 bits, got true"),
    "truth as float": (changed(amount=False), "amount: expected a number within 64 bits, got false"),
    "after all time": (changed(at=2**62), "at: 4611686018427387904 lies"),
}
UNUSUAL = {
    "pretty-printed": json.dumps(GOOD, indent=2).encode(),
    "other order": json.dumps(dict(reversed(GOOD.items()))).encode(),
    "extra fields": inserted(', "x": {"id": [1, {"at": 2}]}, "y": "\\"id\\": \\u00e9 {["'),
    "nested, but not too deep": inserted(', "x": ' + "[" * 63 + "]" * 63),
    "int as float": changed(amount=3),
    "whole with a point": placed("3.0"),
    "whole with an exponent": placed("30e-1"),
    "time with an exponent": changed(at=0).replace(b'"at": 0', f'"at": {START // 10_000_000}e7'.encode()),
    "large and exact": changed(amount=2**60),
    "optional missing": without("amount", "kind"),
    "optional null": changed(amount=None, kind=None),
    "text with a newline": changed(kind="a\nb\u2028"),
    "at Kafka's time": changed(at=NOW_MS * 1_000 + 400 * 86_400_000_000),
    "surrounded by space": b"\n " + json.dumps(GOOD).encode() + b"\r\n",
}


def as_table(decoded: Decoded) -> list[tuple[int, tuple[object, ...]]]:
    rows = zip(decoded.rows.tolist(), decoded.frame.rows(), strict=True)
    return [(row, (*values, int(time))) for (row, values), time in zip(rows, decoded.times, strict=True)]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named_with_its_reason_and_the_rest_goes_on(name: str) -> None:
    value, reason = BAD[name]
    decoded = DECODER.decode(batch([changed(id="before"), value, changed(id="after")]))
    assert decoded.frame["id"].to_list() == ["before", "after"]
    assert decoded.rows.tolist() == [0, 2]
    (bad,) = decoded.bad
    assert (bad.row, bad.step) == (1, "decode")
    assert reason in bad.reason
    assert len(bad.reason) < 400


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_record_is_good(name: str) -> None:
    decoded = DECODER.decode(batch([UNUSUAL[name]]))
    assert decoded.bad == []
    assert decoded.frame["who"].to_list() == ["w"]
    assert decoded.times.tolist() == [json.loads(UNUSUAL[name])["at"]]
    assert decoded.frame["place"].to_list() == [3]
    assert DECODER.event_times(batch([UNUSUAL[name]])) == decoded.bounded.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*(value for value, _ in BAD.values()), *UNUSUAL.values()]), max_size=12))
def test_a_record_means_the_same_whatever_lies_beside_it(values: list[bytes | None]) -> None:
    together = DECODER.decode(batch(values))
    expected, reasons = [], []
    for row, value in enumerate(values):
        alone = DECODER.decode(batch([value]))
        expected += [(row, content) for _, content in as_table(alone)]
        reasons += [(row, bad.reason) for bad in alone.bad]
    assert as_table(together) == expected
    assert [(bad.row, bad.reason) for bad in together.bad] == reasons


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), JSON, max_size=7), st.sampled_from([None, 2]), st.booleans())
def test_what_is_good_is_decided_as_a_plain_reading_of_the_json_decides(
    fields: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    record = GOOD | fields
    text = json.dumps(record, indent=indent, ensure_ascii=ascii_only)
    try:
        value = text.encode()
        is_text = all(ord(c) < 0xD800 or ord(c) > 0xDFFF for c in json.loads(text).__repr__())
    except UnicodeEncodeError:
        return
    good = (
        "NaN" not in text.replace('"NaN"', "")
        and is_text
        and isinstance(record["id"], str)
        and isinstance(record["who"], str)
        and all(
            isinstance(record[name], int | float)
            and not isinstance(record[name], bool)
            and math.isfinite(record[name])  # type: ignore[arg-type]
            and Decimal(repr(record[name])) == int(Decimal(repr(record[name])))
            and -(2**63) <= int(Decimal(repr(record[name]))) < 2**63
            for name in ("at", "place")
        )
        and (
            record["amount"] is None
            or (isinstance(record["amount"], int | float) and not isinstance(record["amount"], bool))
        )
        and (record["kind"] is None or isinstance(record["kind"], str))
        and not any(isinstance(v, float) and not math.isfinite(v) for v in _leaves(record))
        and (not isinstance(record["amount"], int) or _is_exact(record["amount"]))
        and 0 <= int(Decimal(repr(record["at"]))) <= NOW_MS * 1_000 + 400 * 86_400_000_000
    )
    decoded = DECODER.decode(batch([value]))
    assert (decoded.bad == []) == good, (text, decoded.bad)


def _is_exact(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]


def test_missing_values_are_null_and_a_null_key_is_bad() -> None:
    decoded = DECODER.decode(batch([changed(amount=-1), changed(amount=-1.0), changed(amount=-1.5)]))
    assert decoded.frame["amount"].to_list() == [None, None, -1.5]
    columns = PIPELINE.columns | {"who": PIPELINE.columns["who"].model_copy(update={"missing": ["?"]})}
    decoder = Decoder(PIPELINE.model_copy(update={"columns": columns}))
    decoded = decoder.decode(batch([changed(who="?"), changed()]))
    assert [(bad.row, bad.reason) for bad in decoded.bad] == [(0, "who: is null, and it is a key of the pipeline")]
    assert decoded.rows.tolist() == [1]


def test_a_record_without_a_key_is_bad_where_windows_need_its_partition() -> None:
    decoded = DECODER.decode(batch([changed(), changed(id="P2")], [None, b"k"]))
    assert decoded.frame["id"].to_list() == ["P2"]
    assert "the Kafka record has no key: windows over 'who'" in decoded.bad[0].reason
    free = Decoder(PIPELINE.model_copy(update={"windows": []}))
    assert free.decode(batch([changed()], [None])).bad == []


@pytest.mark.parametrize("timestamp", [-1, 2**62, 253_402_214_400_000])
def test_without_a_believable_kafka_timestamp_the_readers_clock_is_the_limit(timestamp: int) -> None:
    now = NOW_MS * 1_000
    ahead = PIPELINE.time.max_ahead
    for at, good in ((now + ahead, True), (now + ahead + 1, False), (253_339_228_800_000_000, False)):
        decoded = DECODER.decode(batch([changed(at=at)], timestamp=timestamp), now)
        assert bool(len(decoded.rows)) is good, at
        assert all(time == min(at, now + PIPELINE.time.most_skew) for time in decoded.bounded.tolist())
    far = changed(at=int(datetime(2500, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000)
    assert DECODER.decode(batch([far])).bad[0].reason.startswith("at: ")
    assert DECODER.decode(batch([changed(at=2**60)], timestamp=-1)).bad[0].reason == (
        "at: 1152921504606846976 lies after the year 9999"
    )


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("epoch_s", 1_700_000_000, 1_700_000_000_000_000),
        ("epoch_ms", 1_700_000_000_123, 1_700_000_000_123_000),
        ("epoch_us", 1_700_000_000_123_456, 1_700_000_000_123_456),
    ],
)
def test_epoch_times_are_microseconds(written: str, value: int, expected: int) -> None:
    time = PIPELINE.time.model_copy(update={"format": written})
    decoder = Decoder(PIPELINE.model_copy(update={"time": time}))
    assert decoder.decode(batch([changed(at=value)])).times.tolist() == [expected]
    assert decoder.decode(batch([changed(at=2**62)])).rows.tolist() == []


def test_an_unreadable_iso_time_is_bad() -> None:
    columns = PIPELINE.columns | {"at": PIPELINE.columns["at"].model_copy(update={"type": "string"})}
    time = PIPELINE.time.model_copy(update={"format": "iso8601"})
    decoder = Decoder(PIPELINE.model_copy(update={"time": time, "columns": columns}))
    decoded = decoder.decode(batch([changed(at="2025-01-01T00:00:00Z"), changed(at="soon"), changed(at="1969-12-31")]))
    assert decoded.times.tolist() == [START]
    assert [bad.reason for bad in decoded.bad] == [
        """at: "soon" is no time of format 'iso8601'""",
        'at: "1969-12-31" lies before 1970',
    ]


def test_fractions_of_seconds_are_rounded_to_microseconds() -> None:
    columns = PIPELINE.columns | {"at": PIPELINE.columns["at"].model_copy(update={"type": "float"})}
    time = PIPELINE.time.model_copy(update={"format": "epoch_s"})
    decoder = Decoder(PIPELINE.model_copy(update={"time": time, "columns": columns}))
    decoded = decoder.decode(batch([changed(at=1_700_000_000.25), changed(at=1e300), changed(at=-1e300)]))
    assert decoded.times.tolist() == [1_700_000_000_250_000]
    assert [bad.row for bad in decoded.bad] == [1, 2]


def test_an_empty_batch_has_the_columns() -> None:
    decoded = DECODER.decode(batch([]))
    assert decoded.frame.columns == list(PIPELINE.columns)
    assert (len(decoded.frame), len(decoded.rows), decoded.bad) == (0, 0, [])


def us(text: str) -> int:
    """µs of a time in the one form that needs no reading."""
    time = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


GOOD_TIMES = {
    "2025-01-31T09:30:15Z": "2025-01-31 09:30:15.0",
    "2025-01-31T09:30:15z": "2025-01-31 09:30:15.0",
    "2025-01-31t09:30:15Z": "2025-01-31 09:30:15.0",
    "2025-01-31 09:30:15": "2025-01-31 09:30:15.0",
    "2025-01-31T09:30": "2025-01-31 09:30:00.0",
    "2025-01-31T09Z": "2025-01-31 09:00:00.0",
    "2025-01-31": "2025-01-31 00:00:00.0",
    "20250131": "2025-01-31 00:00:00.0",
    "20250131T093015Z": "2025-01-31 09:30:15.0",
    "20250131T0930+0100": "2025-01-31 08:30:00.0",
    "2025-W05-5": "2025-01-31 00:00:00.0",
    "2025W055T09": "2025-01-31 09:00:00.0",
    "2020-W53-5": "2021-01-01 00:00:00.0",
    "2025-031": "2025-01-31 00:00:00.0",
    "2025031T0930": "2025-01-31 09:30:00.0",
    "2024-366": "2024-12-31 00:00:00.0",
    "2024-02-29T00:00:00Z": "2024-02-29 00:00:00.0",
    "2025-01-31T09:30:15+05:30": "2025-01-31 04:00:15.0",
    "2025-01-31T09:30:15+0530": "2025-01-31 04:00:15.0",
    "2025-01-31T09:30:15-08": "2025-01-31 17:30:15.0",
    "2025-01-31T09:30:15-00:00": "2025-01-31 09:30:15.0",
    "2025-01-31T09:30:15+23:59": "2025-01-30 09:31:15.0",
    "0001-01-01T00:00:00Z": "0001-01-01 00:00:00.0",
    "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999999",
    "2025-01-31T09:30:15,5Z": "2025-01-31 09:30:15.5",
    **{f"2025-01-31T09:30:15.{'123456789012'[:n]}Z": f"2025-01-31 09:30:15.{'123456'[:n]}" for n in range(1, 13)},
    **{f"2025-01-31T09:30:15.{'9' * n}+00:00": f"2025-01-31 09:30:15.{'999999'[:n]}" for n in range(1, 13)},
}
BAD_TIMES = [
    "", " ", "Z", "soon", "now", "2025", "2025-01", "25-01-31", "2025-1-31", "2025-01-1", "2025-13-01", "2025-00-10",
    "2025-02-29", "2100-02-29", "2025-04-31", "2025-01-32", "2025-01-00", "0000-01-01T00:00:00Z", "+2025-01-31",
    "-2025-01-31", "+012025-01-31T00:00:00Z", "10000-01-01", "2025-01-31T24:00:00Z", "2025-01-31T23:59:60Z",
    "2016-12-31T23:59:60Z", "2025-01-31T25:00:00Z", "2025-01-31T09:60:00Z", "2025-01-31T09:30:61Z",
    "03:30:45.123456 PM+00:00", "2025-01-31T03:30:45.123456 PM+00:00", "2025-01-31T03:30:45 PM", "2025-01-31T3:30:45Z",
    "2025-01-31T01:23:045Z", "2025-01-31T01:2:45Z", "2025-01-31T01:23:5Z", "2025-01-31T01:23:45blahZ",
    "2025-01-31T01:23:45Zblah", "2025-01-31T01:23:45ZZ", "2025-01-31T01:23:45+04:60", "2025-01-31T01:23:45+24:00",
    "2025-01-31T01:23:45+4:00", "2025-01-31T01:23:45+04:0", "2025-01-31T01:23:45+04:00:00", "2025-01-31T01:23:45+",
    "2025-01-31T01:23:45 +04:00", "2025-01-31T01:23:45 Z", "2025-01-31T01:23:45 UTC", "2025-01-31T01:23:45GMT",
    "2025-01-31T01:23:45−04:00", "2025-01-31T01:23:45.Z", "2025-01-31T01:23:45,", "2025-01-31T01:23.5Z",
    "2025-01-31T01.5Z", "2025-01-31T01:23:45.1.2Z", "2025-01-31T01:23:45._5Z", "2025-01-31TZ", "2025-01-31T",
    "2025-01-31Z",
    "2025-01-31+01:00", "2025-01-31  01:23:45", " 2025-01-31T01:23:45Z", "2025-01-31T01:23:45Z ",
    "2025-01-31T01:23:45Z\n",
    "2025-01-31X01:23:45Z", "2025-01-31_01:23:45Z", "2025/01/31", "31.01.2025", "01/31/2025", "Jan 31 2025",
    "20250131T01:23:45", "2025-01-31T012345", "2025-0131", "202501-31", "2025-W54-1", "2025-W53-1", "2025-W00-1",
    "2025-W05-0", "2025-W05-8", "2025-W05", "2025-W5-1", "2025-w05-5", "2025W05-5", "2025-000", "2025-366", "2025-367",
    "2025-31", "1738315815", "1738315815.5", "P1D", "2025-01-31/2025-02-01", "\uff12025-01-31",
    "2025-01-31T0\u0661:23:45Z",
    "2025-01-31T01-23-45", "2025-01-31T01:23:45\u200b", "T01:23:45Z", "01:23:45", "--01-31",
    "2025-01-31T01:23:45[UTC]",
]  # fmt: skip


def read(texts: list[str]) -> list[int]:
    found: list[int] = iso_times(texts).tolist()
    return found


@pytest.mark.parametrize("text", GOOD_TIMES)
def test_a_time_of_the_grammar_is_read(text: str) -> None:
    assert read([text]) == [us(GOOD_TIMES[text])]


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_text_that_is_no_time_of_the_grammar_is_refused(text: str) -> None:
    assert read([text]) == [UNREADABLE]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*GOOD_TIMES, *BAD_TIMES])
        | st.text(max_size=30)
        | st.from_regex(r"\A\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,7})?[Zz]?\Z")
        | st.tuples(st.sampled_from(sorted(GOOD_TIMES)), st.integers(0, 28), st.sampled_from("0159:-.,TZz+ W")).map(
            lambda edit: edit[0][: edit[1]] + edit[2] + edit[0][edit[1] + 1 :]
        ),
        max_size=5,
    )
)
def test_the_kernel_and_the_grammar_agree_whatever_stands_beside_a_text(texts: list[str]) -> None:
    expected = [UNREADABLE if (time := iso8601.iso_time(text)) is None else time for text in texts]
    assert read(texts) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iso8601_scan, "parse", cast("Any", iso8601_scan.parse).py_func)
        assert read(texts) == expected


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(-1439, 1439))  # noqa: DTZ001 - zone below
def test_what_python_writes_is_read_as_python_means_it(time: datetime, offset: int) -> None:
    expected = us(time.isoformat(" ", "microseconds"))
    calendar = time.isocalendar()
    assert read([time.isoformat(), time.isoformat() + "Z", time.isoformat(" ")]) == [expected] * 3
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    zoned = f"{time.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert read([zoned]) == [expected - offset * 60_000_000]
    if calendar.year <= 9999:
        midnight = us(f"{time.date().isoformat()} 00:00:00.0")
        week = f"{calendar.year:04}-W{calendar.week:02}-{calendar.weekday}"
        ordinal = f"{time.year:04}-{(time.date() - date(time.year, 1, 1)).days + 1:03}"
        assert read([time.date().isoformat(), week, ordinal]) == [midnight] * 3


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%d/%m/%Y %H:%M:%S", "31/01/2025 09:30:15", "2025-01-31 09:30:15.0"),
        ("%d/%m/%Y %H:%M:%S", "1/01/2025 09:30:15", None),
        ("%-d/%-m/%Y", "1/1/2025", "2025-01-01 00:00:00.0"),
        ("%-m/%-d/%Y %-I:%M %p", "1/5/2025 12:05 AM", "2025-01-05 00:05:00.0"),
        ("%-m/%-d/%Y %-I:%M %p", "1/5/2025 12:05 pm", "2025-01-05 12:05:00.0"),
        ("%-m/%-d/%Y %-I:%M %p", "1/5/2025 13:05 PM", None),
        ("%a, %d %b %Y %H:%M:%S %z", "Tue, 15 Nov 1994 08:12:31 +0100", "1994-11-15 07:12:31.0"),
        ("%a, %d %b %Y %H:%M:%S %z", "Wed, 15 Nov 1994 08:12:31 +0100", None),
        ("%Y.%j %H%M%S.%f", "2025.031 093015.123456789", "2025-01-31 09:30:15.123456"),
        ("%Y-%m-%d at %H h", "2025-01-31 at 09 h", "2025-01-31 09:00:00.0"),
        ("%Y-%m-%d at %H h", "2025-01-31 at 24 h", None),
        ("100%% %Y%m%d", "100% 20250131", "2025-01-31 00:00:00.0"),
    ],
)
def test_a_pattern_of_ones_own_is_read_as_strictly(pattern: str, text: str, expected: str | None) -> None:
    wanted = UNREADABLE if expected is None else us(expected)
    assert iso_times([text, "2025-01-31"], [time_pattern(pattern)]).tolist() == [wanted, us("2025-01-31 00:00:00.0")]
    columns = PIPELINE.columns | {"at": PIPELINE.columns["at"].model_copy(update={"type": "string"})}
    time = PIPELINE.time.model_copy(update={"format": "iso8601", "patterns": [pattern], "max_ahead": 2**60})
    decoder = Decoder(PIPELINE.model_copy(update={"time": time, "columns": columns}))
    assert decoder.decode(batch([changed(at=text)])).times.tolist() == ([] if expected is None else [wanted])


@pytest.mark.parametrize(
    "pattern", ["%H:%M", "%Y-%m-%d %p", "%Y-%m-%d %I", "%Q", "%y-%m-%d", "%Y %Y-%m-%d", "5% %Y-%m-%d", "%Y-%m-%d %S"]
)
def test_a_pattern_that_tells_no_time_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        time_pattern(pattern)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(["id", "at"]), JSON, max_size=5), st.booleans())
def test_only_records_with_repeated_or_escaped_keys_are_suspicious(fields: dict[str, object], repeat: bool) -> None:
    names = name_hashes(["id", "at"])
    text = json.dumps(fields, ensure_ascii=False)
    escaped_key = any(json.dumps(key, ensure_ascii=False) != f'"{key}"' for key in fields)
    if repeat and "id" in fields:
        text = text[:-1] + ', "id" : 1}'
    try:
        value = text.encode()
    except UnicodeEncodeError:
        return
    expected = [False, escaped_key or (repeat and "id" in fields)]
    assert suspicious([b"{}", value], names).tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scan, "_scan", cast("Any", json_scan._scan).py_func)
        assert suspicious([b"{}", value], names).tolist() == expected

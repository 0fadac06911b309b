"""A repair changes what it names, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.replay import Letter, Source
from tidemark.replay.corrections import Correction, Repair, assignments, corrected, corrections, difference

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _FLOATS | st.text(max_size=8)
_NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6).filter(lambda name: name != "amount")


def letter(value: bytes | None, key: bytes | None = b"C1") -> Letter:
    source = Source("shop.raw", 0, 7, "0a1b2c3d", None)
    return Letter(0, 3, source, "decode", "why", 1, key, value, (), truncated=False, size=0, sha256=None)


@pytest.mark.parametrize(
    ("sql", "value", "made"),
    [
        ("CAST(REPLACE(amount, ',', '.') AS DOUBLE)", b'{"amount":"12,5"}', 12.5),
        ("amount * 2", b'{"amount":21}', 42),
        ("CAST(amount AS VARCHAR)", b'{"amount":21}', "21"),
        ("COALESCE(amount, 0)", b'{"amount":null}', 0),
        ("CASE WHEN currency = 'JPY' THEN amount / 100.0 ELSE amount END", b'{"amount":50,"currency":"JPY"}', 0.5),
        ("'0742'", b"{}", "0742"),
        ("'it''s'", b"{}", "it's"),
        ("NULL", b"{}", None),
        ("TRUE", b"{}", True),
        ("-1.5", b"{}", -1.5),
    ],
)
def test_a_field_is_computed_from_the_records_fields(sql: str, value: bytes, made: object) -> None:
    repaired = Repair({"amount": sql}, types={"amount": pl.Float64()})(letter(value))
    assert json.loads(repaired.value or b"")["amount"] == made


@pytest.mark.parametrize(
    ("repair", "value", "made"),
    [
        (
            Repair({"user.geo.lat": "CAST(REPLACE(\"user.geo.lat\", ',', '.') AS DOUBLE)"}),
            b'{"id": 1.10, "user": {"id": 9007199254740993, "geo": {"lat": "1,5", "lon": 2.50}}}',
            b'{"id":1.10,"user":{"id":9007199254740993,"geo":{"lat":1.5,"lon":2.50}}}',
        ),
        (Repair({"user.id": "'u7'"}), b'{"user": {"x": 1}}', b'{"user":{"x":1,"id":"u7"}}'),
        (Repair({"user.id": "'u7'"}), b'{"user": null}', b'{"user":null,"user.id":"u7"}'),
        (Repair({"user.id": "'u7'"}), b'{"user": {}, "user.id": 7}', b'{"user":{},"user.id":"u7"}'),
        (Repair({"user.id": "owner"}), b'{"user": {"id": 1}, "owner": 1.0}', b'{"user":{"id":1.0},"owner":1.0}'),
        (Repair({"owner": '"user.id"'}), b'{"user": {"id": 1.0}}', b'{"user":{"id": 1.0},"owner":1.0}'),
        (Repair({}, drop=("user.id",)), b'{"user": {"id": 1, "x": 2}}', b'{"user":{"x":2}}'),
        (Repair({}, drop=("user.name",)), b'{"user": {"id": 1, "x": 2}}', b'{"user": {"id": 1, "x": 2}}'),
        (Repair({"user.id": "2"}), b'{"user": {"id": 1, "id": 3}}', b'{"user":{"id":2}}'),
    ],
)
def test_a_field_of_an_object_within_the_record_is_repaired_where_it_is_told(
    repair: Repair, value: bytes, made: bytes
) -> None:
    assert repair(letter(value)).value == made


def test_a_file_of_corrections_sets_and_drops_fields_within_objects_too() -> None:
    correction = Correction(3, set={"user.id": msgspec.Raw(b'"u7"')}, drop=["user.geo.lat"])
    value = b'{"user": {"id": 7, "geo": {"lat": "x", "lon": 1.50}}}'
    assert corrected(letter(value), correction).value == b'{"user":{"id":"u7","geo":{"lon":1.50}}}'


@pytest.mark.parametrize(
    ("repair", "value"),
    [
        (Repair({"user.id": "1"}), b'{"user": {"a": 1, "a": 2}}'),
        (Repair({"x": '"user.id" + 1'}), b'{"user": {"id": 1, "id": 2}}'),
        (Repair({"x": '"user.id" + 1'}), b'{"user": {"id": 1}, "user.id": 2}'),
    ],
)
def test_of_two_values_of_a_name_within_an_object_none_is_chosen(repair: Repair, value: bytes) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        repair(letter(value))


@given(fields=st.dictionaries(_NAMES, _SCALARS | st.lists(_SCALARS, max_size=2), max_size=5))
def test_fields_that_are_not_named_keep_their_very_bytes(fields: dict[str, object]) -> None:
    before = {name: json.dumps(value).encode() for name, value in fields.items()}
    value = b"{" + b", ".join(json.dumps(n).encode() + b": " + raw for n, raw in before.items()) + b"}"
    repaired = Repair({"amount": "1.5"})(letter(value))
    after = msgspec.json.decode(repaired.value or b"", type=dict[str, msgspec.Raw])
    assert {name: bytes(raw) for name, raw in after.items()} == before | {"amount": b"1.5"}
    assert replace(repaired, value=None) == replace(letter(None))


def test_numbers_that_no_float_holds_come_through_a_repair_of_another_field() -> None:
    value = b'{"id": 9007199254740993, "price": 1.10, "huge": 123456789012345678901234567890, "amount": "x"}'
    repaired = Repair({"amount": "0"})(letter(value))
    assert repaired.value == (b'{"id":9007199254740993,"price":1.10,"huge":123456789012345678901234567890,"amount":0}')


@pytest.mark.parametrize("repair", [Repair({"amount": "amount", "id": "id"}), Repair({}, drop=("gone",)), Repair({})])
def test_a_repair_that_changes_no_value_keeps_the_record_to_the_byte(repair: Repair) -> None:
    value = b'{"amount": 1.10,  "id": 123456789012345678901234567890, "note": "\\u00e9"}'
    assert repair(letter(value)) == letter(value)


@pytest.mark.parametrize("other", [b"1e400", b'"\xff"', b"-1e-9999999999", b"1" * 400])
def test_a_field_that_no_sql_could_read_bars_no_repair_of_another(other: bytes) -> None:
    repaired = Repair({"amount": "COALESCE(amount, 0) + 1"})(letter(b'{"odd":' + other + b',"amount":1}'))
    assert repaired.value == b'{"odd":' + other + b',"amount":2}'


@given(value=_SCALARS | st.lists(_SCALARS, max_size=2))
def test_a_field_that_is_made_of_another_alone_has_its_very_bytes(value: object) -> None:
    raw = json.dumps(value).encode()
    repaired = Repair({"amount": "odd"})(letter(b'{"odd":' + raw + b"}"))
    assert repaired.value == b'{"odd":' + raw + b',"amount":' + raw + b"}"


@pytest.mark.parametrize("sql", ["CAST(account AS VARCHAR)", "account + 0", "COALESCE(account, 1)"])
def test_a_whole_number_that_64_bits_do_not_hold_is_never_rounded_by_a_repair(sql: str) -> None:
    with pytest.raises(ConfigError, match=r"dead letter 3: .*account is a whole number of more than 64 bits"):
        Repair({"amount": sql})(letter(b'{"account":12345678901234567890}'))


@pytest.mark.parametrize(
    ("repair", "made"),
    [
        (Repair({"b": "2"}), None),
        (Repair({"b": "amount"}), None),
        (Repair({"amount": "amount + 1"}), None),
        (Repair({"amount": "amount"}), None),
        (Repair({"amount": "5"}), b'{"amount":5,"b":1}'),
        (Repair({}, drop=("amount",)), b'{"b":1}'),
    ],
)
def test_of_a_field_that_is_given_twice_no_value_is_chosen_unsaid(repair: Repair, made: bytes | None) -> None:
    before = letter(b'{"amount":1,"amount":1000,"b":1}')
    if made is None:
        with pytest.raises(ConfigError, match=r"dead letter 3.*amount'? (is given|twice)"):
            repair(before)
    else:
        after = repair(before)
        assert after.value == made
        assert [text for sign, text in difference(before, after) if sign == "-"] == ['{"amount":1,"amount":1000,"b":1}']


def test_a_correction_chooses_none_of_two_values_either() -> None:
    with pytest.raises(ConfigError, match="gives 'amount' twice"):
        corrected(letter(b'{"amount":1,"amount":1000,"b":1}'), Correction(3, set={"b": msgspec.Raw(b"2")}))


@pytest.mark.parametrize(
    ("repair", "value", "told"),
    [
        (Repair({"amount": "no_such + 1"}), b'{"amount":1}', "no_such"),
        (Repair({"amount": "SELECT"}), b'{"amount":1}', "dead letter 3"),
        (Repair({"amount": "1"}), b'{"amount":', "repair its whole text"),
        (Repair({"amount": "1"}), b"[1]", "is no JSON object"),
        (Repair({"amount": "1"}), None, "is no JSON object"),
        (Repair({}, value="value"), b"\xff{}", "is no UTF-8"),
        (Repair({}, value="1"), b"{}", "CAST it to VARCHAR"),
        (Repair({"amount": "1e999"}), b"{}", "dead letter 3"),
    ],
)
def test_what_cannot_be_repaired_is_an_error_that_says_which_and_why(
    repair: Repair, value: bytes | None, told: str
) -> None:
    with pytest.raises(ConfigError, match="dead letter 3") as raised:
        repair(letter(value))
    assert told in str(raised.value)
    assert str(raised.value).count("\n") == 0


def test_the_whole_text_and_the_key_can_be_made_anew() -> None:
    repaired = Repair({}, value="REPLACE(value, '''', '\"')", key="UPPER(key)")(letter(b"{'a': 1}", b"c1"))
    assert (repaired.value, repaired.key) == (b'{"a": 1}', b"C1")


def test_a_file_of_corrections_sets_drops_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "corrections.ndjson"
    file.write_text(
        '{"offset": 1, "set": {"amount": 12.50, "who": "Zoë"}, "drop": ["old"]}\n\n'
        '{"offset": 2, "value": {"a": 1.10}, "key": "C9"}\n'
        '{"offset": 3, "value": "text", "key": null}\n'
        '{"offset": 4, "value": null}\n'
    )
    lines = corrections(file)
    one = corrected(letter(b'{"amount":"x","old":1,"keep":2e3}'), lines[0, 1])
    assert one.value == '{"amount":12.50,"keep":2e3,"who":"Zoë"}'.encode()
    two = corrected(letter(b"broken"), lines[0, 2])
    assert (two.value, two.key) == (b'{"a": 1.10}', b"C9")
    three = corrected(letter(b"broken"), lines[0, 3])
    assert (three.value, three.key) == (b"text", None)
    assert corrected(letter(b"broken"), lines[0, 4]).value is None


@pytest.mark.parametrize(
    "line",
    [
        '{"offset": "1"}',
        "{",
        '{"offset": 1, "sett": {}}',
        '{"offset": 1, "set": []}',
        "[]",
        '{"offset": 1}\n{"offset": 1}',
    ],
)
def test_a_line_that_is_no_correction_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "c.ndjson"
    file.write_text(line)
    with pytest.raises(ConfigError, match=r"c\.ndjson:[12]: "):
        corrections(file)


def test_the_difference_names_what_is_taken_out_put_in_and_changed() -> None:
    before = letter(b'{"amount": "1,5", "old": 1, "same": 2}')
    after = letter(b'{"amount": 1.5, "same": 2, "new": 3}', b"C2")
    assert list(difference(before, after)) == [
        ("-", "key C1"),
        ("+", "key C2"),
        ("-", 'amount: "1,5"'),
        ("+", "amount: 1.5"),
        ("-", "old: 1"),
        ("+", "new: 3"),
    ]


def test_a_correction_gives_the_whole_bytes_and_headers_of_a_record_of_any_format(tmp_path: Path) -> None:
    path = tmp_path / "c.ndjson"
    first = '{"offset": 3, "base64": "AAAAAQJr", "headers": {"ce_id": "7", "x": null}}'
    path.write_text(first + '\n{"offset": 4, "base64": "?"}')
    lines = corrections(path)
    before = replace(letter(b"{"), headers=(("ce_id", b"\xff"),))
    after = corrected(before, lines[0, 3])
    assert after.value == b"\x00\x00\x00\x01\x02k"
    assert after.headers == (("ce_id", b"7"), ("x", None))
    assert [sign for sign, _ in difference(before, after)] == ["-", "+", "-", "+"]
    with pytest.raises(ConfigError, match="its base64 is none"):
        corrected(before, lines[0, 4])


def test_a_field_that_is_set_twice_is_set_to_neither() -> None:
    assert assignments(["a = 1", "b=x = 2"]) == {"a": "1", "b": "x = 2"}
    with pytest.raises(ConfigError, match="a is set twice, to '1' and to '2'"):
        assignments(["a = 1", "a=2"])

"""Expressions of the product against an evaluator in plain Python, which shares no code with them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from benchmarks.support.offline_sql import Refused, parse
from tidemark.features.rows import surviving
from tidemark.pipeline.expressions import EvaluationError, Schema, compile_expression, evaluate
from tidemark.pipeline.sql.values import TIMESTAMP

SCHEMA: Schema = {
    "i": pl.Int64(),
    "j": pl.Int64(),
    "f": pl.Float64(),
    "g": pl.Float64(),
    "b": pl.Boolean(),
    "s": pl.String(),
    "u": pl.String(),
    "t": TIMESTAMP,
}
WHOLES = st.one_of(
    st.integers(-12, 12),
    st.sampled_from([2**31, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), -(2**53) - 1, 127, 128, -129, 255]),
    st.integers(-(2**63), 2**63 - 1),
)
NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, 0.3, 2.5, -2.5, 3.5, 1e308, -1e308, 5e-324, 2.0**53, 1e19]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-1000, 1000).map(lambda n: n / 8),
)
TEXTS = st.sampled_from(
    [
        "",
        "5411",
        "-7",
        "+7",
        "007",
        " 7",
        "1e3",
        "1.5",
        "nan",
        "inf",
        "1e999",
        "x",
        "éa.b",
        "a.b",
        "x.x",
        "300",
        "日本x",
    ]
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - UTC without a zone
ROWS = st.fixed_dictionaries(
    {
        "i": st.none() | WHOLES,
        "j": st.none() | WHOLES,
        "f": st.none() | NUMBERS,
        "g": st.none() | NUMBERS,
        "b": st.none() | st.booleans(),
        "s": st.none() | TEXTS,
        "u": st.none() | TEXTS,
        "t": st.none() | TIMES,
    }
)
PARTS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOY", "DOW", "ISODOW", "HOUR", "MINUTE", "SECOND", "CENTURY"]


def written(value: float) -> str:
    return f"({value!r})" if math.copysign(1, value) < 0 else repr(value)


def grammar() -> dict[str, st.SearchStrategy[str]]:
    """SQL of each type. Branches of one CASE have one type: what a mixed one is, the table below says."""
    whole = st.deferred(lambda: wholes)
    number = st.deferred(lambda: numbers)
    truth = st.deferred(lambda: truths)
    text = st.deferred(lambda: texts)
    any_number = whole | number

    def form(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda chosen: pattern.format(*chosen))

    wholes: st.SearchStrategy[str] = st.one_of(
        st.sampled_from(["i", "j", "LENGTH(s)", "STRPOS(u, 'x')", "OCTET_LENGTH(s)"]),
        st.integers(0, 300).map(str) | st.sampled_from([str(2**53), str(2**63 - 1), "(-9223372036854775808)"]),
        st.sampled_from(PARTS).map(lambda part: f"EXTRACT({part} FROM t)"),
        form("({} {} {})", whole, st.sampled_from(["+", "-", "*", "//", "%", "DIV", "&", "|"]), whole),
        form("({} + {})", truth, truth),
        form("({} * {})", truth, whole),
        form("(-{})", whole),
        form("ABS({})", whole),
        form("SIGN({})", whole),
        form("STRPOS({}, {})", text, text),
        form("LENGTH({})", text),
        form("(CASE WHEN {} THEN {} WHEN {} THEN {} ELSE {} END)", truth, whole, truth, whole, whole),
        form("(CASE {} WHEN {} THEN {} END)", whole, whole, whole),
        form("COALESCE({}, {})", whole, whole),
        form("NULLIF({}, {})", whole, any_number),
        form("GREATEST({}, {})", whole, whole),
        form("LEAST({}, {}, {})", whole, whole, whole),
        form("{}({} AS {})", st.sampled_from(["CAST", "TRY_CAST"]), any_number | text, st.sampled_from(INTEGERS)),
    )
    numbers: st.SearchStrategy[str] = st.one_of(
        st.sampled_from(["f", "g", "(EXTRACT(MINUTE FROM t) / 60.0)", "EXTRACT(MILLISECOND FROM t)"]),
        NUMBERS.map(written),
        form("({} / {})", any_number, any_number),
        form("({} {} {})", number, st.sampled_from(["+", "-", "*", "/", "//", "%"]), any_number),
        form("({} {} {})", any_number, st.sampled_from(["+", "-", "*", "/", "//", "%"]), number),
        form("({} + {})", truth, number),
        form("(-{})", number),
        form("{}({})", st.sampled_from(["ABS", "SIGN", "CEIL", "FLOOR", "TRUNC"]), number),
        form("(CASE WHEN {} THEN {} ELSE {} END)", truth, number, number),
        form("COALESCE({}, {})", number, number),
        form("GREATEST({}, {})", number, number),
        form("{}({} AS {})", st.sampled_from(["CAST", "TRY_CAST"]), any_number | text, st.sampled_from(FLOATS)),
    )
    truths: st.SearchStrategy[str] = st.one_of(
        st.sampled_from(["b", "TRUE", "FALSE", "(f IS NULL)", "(t > '2024-02-29T12:00:00')"]),
        form("({} {} {})", any_number, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), any_number),
        form("({} {} {})", text, st.sampled_from(["=", "<>", "<", "<="]), text),
        form("({} {} {})", truth, st.sampled_from(["AND", "OR"]), truth),
        form("(NOT {})", truth),
        form("({} {}BETWEEN {} AND {})", any_number, st.sampled_from(["", "NOT "]), any_number, any_number),
        form("({} {}IN ({}, {}))", whole, st.sampled_from(["", "NOT "]), whole, any_number),
        form("({} IN ({}))", whole, st.lists(st.integers(-20, 20).map(str), min_size=9, max_size=12).map(", ".join)),
        form("({} IS NOT NULL)", any_number),
        form("CAST({} AS BOOLEAN)", any_number),
    )
    texts: st.SearchStrategy[str] = st.one_of(
        st.sampled_from(["s", "u", "'7'", "'x.'", "''"]),
        form("({} || {})", text, whole | text),
        form("UPPER({})", text),
        form("SUBSTR({}, {}, {})", text, st.integers(0, 4).map(str), st.integers(0, 4).map(str)),
        form("LEFT({}, {})", text, st.sampled_from(["0", "2", "(-1)"])),
        form("RIGHT({}, {})", text, st.sampled_from(["0", "2", "(-1)"])),
        form("CAST({} AS VARCHAR)", whole | truth),
        form("(CASE WHEN {} THEN {} ELSE {} END)", truth, text, text),
    )
    return {"whole": wholes, "number": numbers, "truth": truths, "text": texts}


INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "UINT")
FLOATS = ("DOUBLE", "REAL")
GRAMMAR = grammar()


def product(sql: str, rows: list[dict[str, Any]], schema: Schema = SCHEMA) -> list[Any]:
    """Values of the rows; `Refused` in place of those without a right one."""
    expression = compile_expression("r", sql, None, schema)
    computed, refused = surviving(
        lambda frame: evaluate([expression], frame), pl.DataFrame(rows, schema=schema, orient="row")
    )
    values = iter(computed["r"].to_list())
    return [Refused if row in refused else next(values) for row in range(len(rows))]


def oracle(sql: str, row: dict[str, Any]) -> Any:  # noqa: ANN401 - a value of any type
    try:
        return parse(sql)[0](row)
    except Refused:
        return Refused


def same(a: object, b: object) -> bool:
    return a is b or (a is not None and b is not None and type(a) is type(b) and a == b)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(GRAMMAR)).flatmap(GRAMMAR.__getitem__), st.lists(ROWS, min_size=1, max_size=4))
def test_any_expression_gives_what_plain_python_computes_or_its_row_is_refused(
    sql: str, rows: list[dict[str, Any]]
) -> None:
    try:
        computed = product(f"CASE WHEN i IS NULL THEN {sql} ELSE {sql} END", rows)
    except ValueError as refused:  # constants that no row can compute are refused when the file is read
        if not any(word in str(refused) for word in ("2^53", "64 bits", "always NULL")):
            raise
        return
    for value, row in zip(computed, rows, strict=True):
        expected = oracle(sql, row)
        if expected is None and value is Refused:
            continue  # what does not fit stands beside NULL, which makes the result NULL: refused all the same
        assert same(value, expected), (sql, row, value, expected)


MISSING: dict[str, Any] = dict.fromkeys(SCHEMA)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(GRAMMAR)).flatmap(GRAMMAR.__getitem__), ROWS | st.just(MISSING), st.integers(0, 5))
@example("(0 = STRPOS(u, 'x'))", MISSING, 2)  # Polars gave one value for both rows
def test_rows_that_are_all_alike_have_a_value_each(sql: str, row: dict[str, Any], count: int) -> None:
    try:
        expression = compile_expression("r", f"CASE WHEN i IS NULL THEN {sql} ELSE {sql} END", None, SCHEMA)
    except ValueError:  # refused when the file is read
        assume(condition=False)
        raise
    try:
        found = evaluate([expression], pl.DataFrame([row] * count, schema=SCHEMA, orient="row"))
    except EvaluationError:
        return  # all of them are refused
    assert len(found) == count
    assert found["r"].n_unique() <= 1


@pytest.mark.parametrize("sql", ["i + (-(-9223372036854775808))", "s || (-(-9223372036854775808))"])
def test_a_constant_that_no_whole_number_holds_is_refused_in_a_sentence(sql: str) -> None:
    with pytest.raises(ValueError, match="9223372036854775808 never fits into a whole number of 64 bits"):
        compile_expression("r", sql, None, SCHEMA)


LATE: dict[str, Any] = {
    "i": -7,
    "j": 3,
    "f": 2.5,
    "g": -2.5,
    "b": True,
    "s": "5411",
    "u": "éa.b",
    "t": datetime(2026, 11, 29, 23, 59, 58, 987_654),  # noqa: DTZ001 - UTC without a zone
}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("EXTRACT(HOUR FROM t) * 60 + EXTRACT(MINUTE FROM t)", 1439),
        ("EXTRACT(HOUR FROM t) * 3600", 82_800),
        ("POWER(EXTRACT(HOUR FROM t), 2)", 529.0),
        ("EXTRACT(MINUTE FROM t) / 60.0", 59 / 60),
        ("EXTRACT(DOY FROM t) * 100", 33_300),
        ("EXTRACT(YEAR FROM t) * 2000000", 4_052_000_000),
        ("EXTRACT(DECADE FROM t) - EXTRACT(CENTURY FROM t)", 181),
        ("EXTRACT(HOUR FROM t + INTERVAL '90 minutes')", 1),
        ("EXTRACT(EPOCH FROM t - '2026-11-29')", 86_398.987654),
        ("DATE_PART('hour', t) * 60", 1380),
        ("HOUR(t) * 60", 1380),
        ("LENGTH(s) - 10", -6),
        ("-LENGTH(s)", -4),
        ("OCTET_LENGTH(u) - BIT_LENGTH(s)", -27),
        ("STRPOS(s, 'x') - 1", -1),
        ("STRPOS(u, 'a')", 2),
        ("STRPOS(u, '.')", 3),
        ("POSITION('1' IN s) - 4", -1),
        ("i / 2", -3.5),
        ("i // 2", -3),
        ("i DIV 2", -3),
        ("i % 4", -3),
        ("MOD(i, -4)", -3),
        ("g // 2", -1.0),
        ("1 // 0.1 + 0 * f", 9.0),
        ("MOD(f, 0.1)", math.fmod(2.5, 0.1)),
        ("i / 0", None),
        ("i % 0", None),
        ("f / 0 > 5", None),
        ("b + b + b", 3),
        ("TRUE + (i < 0)", 2),
        ("b = 1", True),
        ("CAST(b AS INT) - 5", -4),
        ("CASE WHEN b THEN i ELSE 2.5 END", -7.0),
        ("CASE WHEN b THEN b ELSE 300 END", 1),
        ("COALESCE(NULL, i, 2.5)", -7.0),
        ("GREATEST(LENGTH(s), i, NULL)", 4),
        ("LENGTH(s) > i", True),
        ("LENGTH(s) BETWEEN -5 AND 4.5", True),
        ("CAST(300 + i AS SMALLINT) * 1000", 293_000),
        ("CAST(f AS TINYINT)", 2),
        ("CAST(0.1 AS REAL) * f", 0.1 * 2.5),
        ("CAST(s AS UINT) - 6000", -589),
        ("i + 9007199254740993", 9_007_199_254_740_986),
        ("-9223372036854775808 - i", -(2**63) + 7),
        ("f * 1.1", 2.5 * 1.1),
        ("f + 12345678901234567890.5", 2.5 + 12345678901234567890.5),
        ("FLOOR(LOG10(1000 + 0 * f))", 3.0),
        ("LOG2(536870912.0 + 0 * f)", 29.0),
        ("LOG(8 + 0 * f, 2)", 3.0),
        ("ROUND(f)", 2.0),
        ("ROUND(f / 3, 2)", 0.83),
        ("ROUND(i)", -7),
        ("SIGN(g) * LENGTH(s)", -4.0),
        ("XOR(i, 3)", -6),
        ("SUBSTR(s, 0, 2)", "5"),
        ("SUBSTRING(s FROM 2 FOR 2)", "41"),
        ("TRIM(BOTH '51' FROM s)", "4"),
        ("SPLIT_PART(u, '.', 2)", "b"),
        ("CONCAT(s, NULL, i)", "5411-7"),
        ("u LIKE '_a.%' AND u NOT LIKE 'a%'", True),
        ("u ILIKE 'ÉA%'", True),
        ("s ~ '^5.*1$'", True),
        ("REPLACE(u, '.', '-')", "éa-b"),
        ("i IS DISTINCT FROM NULL", True),
        ("(f > 5) IS NOT TRUE", True),
        ("IF(i > 0, CAST(u AS INT), 1)", 1),
        ("CASE WHEN s ~ '^[a-z]' THEN CAST(s AS DATE) END IS NULL", True),
    ],
)
def test_a_table_of_expressions_gives_its_figures(sql: str, expected: object) -> None:
    (value,) = product(sql, [LATE])
    assert same(value, expected), (sql, value)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("i + 9223372036854775807 - 2 * i", "9223372036854775814 does not fit into a whole number of 64 bits"),
        ("j * 9223372036854775807", "27670116110564327421 does not fit"),
        ("ABS(i - 9223372036854775801)", "9223372036854775808 does not fit"),
        ("(i + 9007199254741000) * 0.5", "9007199254740993 is beyond 2^53"),
        ("i + 9007199254741000 < 2.5", "9007199254740993 is beyond 2^53"),
        ("CAST(i * 100 AS TINYINT)", "-700 can't be cast to TINYINT"),
        ("CAST(i AS UINT)", "-7 can't be cast to UINT"),
        ("CAST(f * 1e30 AS BIGINT)", "2.5e+30 can't be cast to BIGINT"),
        ("CAST(u AS DOUBLE)", "'éa.b' can't be cast to DOUBLE"),
        ("CAST(s || '.0' AS INT)", "'5411.0' can't be cast to INT"),
        ("CAST(u AS TIMESTAMP)", "'éa.b' can't be cast to TIMESTAMP"),
    ],
)
def test_a_row_without_a_right_value_is_refused_with_the_value(sql: str, reason: str) -> None:
    expression = compile_expression("r", sql, None, SCHEMA)
    with pytest.raises(EvaluationError) as raised:
        evaluate([expression], pl.DataFrame([LATE], schema=SCHEMA))
    assert str(raised.value).startswith(f"r: {reason}")


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        ("f::DECIMAL(5, 1)", "there are no decimals; CAST to DOUBLE"),
        ("CAST(s AS VARCHAR(2))", "known are BIGINT, DOUBLE"),
        ("i ^ 2", "write POWER(x, y) or XOR(x, y)"),
        ("i << 2", "is not known here"),
        ("~i", "is not known here"),
        ("s + 1", "'+' is of numbers, and got text"),
        ("s > 5", "it mixes a whole number with text; CAST one of them"),
        ("CASE WHEN b THEN s ELSE i END", "it mixes a whole number with text"),
        ("NOT i", "'i' is a whole number, not true or false; compare it"),
        ("CASE WHEN i THEN 1 END", "compare it, as in x <> 0"),
        ("t + 1", "'+' is of numbers, and got a time"),
        ("CAST(t AS BIGINT)", "write EXTRACT(EPOCH FROM ...)"),
        ("EXTRACT(DAY FROM t - t)", "of a duration there is no DAY"),
        ("EXTRACT(FORTNIGHT FROM t)", "EXTRACT knows no 'FORTNIGHT'"),
        ("t + INTERVAL '1 month'", "INTERVAL can't be read"),
        ("t > 'soon'", "'soon' is no time"),
        ("i + 18446744073709551616", "does not fit into 64 bits"),
        ("f + 1e400", "1e400 is beyond float64"),
        ("f * 9007199254740993", "9007199254740993 is beyond 2^53"),
        ("amount.f", "is not known here"),
        ("i + 1_000", "'_000' follows without an operator"),
        ("0x1F + i", "it is no SQL expression"),
        ("i; j", "write exactly one"),
        ("DROP TABLE x", "is not known here"),
        ("(SELECT i)", "it looks at other rows"),
        ("SUM(i) FILTER (WHERE b)", "it looks at other rows"),
        ("RANDOM() + i", "the function RANDOM() is not known"),
        ("LENGHT(s)", "did you mean LENGTH?"),
        ("LENGTH(s, s)", "LENGTH takes 1 arguments, and got 2"),
        ("POWER(i)", "POWER takes 2 arguments, and got 1"),
        ("NULLIF(i)", "the function NULLIF() is not known"),
        ("s ~ '('", "is no regular expression"),
        ("NULL", "it is always NULL"),
        ("CURRENT_DATE > t", "it asks for the present time"),
        ("(" * 4_000 + "i" + ")" * 4_000, "it is nested too deeply"),
        ("i" + " + i" * 4_000, "characters, over the limit"),
    ],
)
def test_what_can_not_be_computed_rightly_is_refused_with_a_remedy(sql: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        compile_expression("r", sql, None, SCHEMA)
    assert remedy in str(raised.value), str(raised.value)


FUNCTIONS = {
    "SQRT(f)": math.sqrt,
    "CBRT(f)": math.cbrt,
    "EXP(f)": math.exp,
    "LN(f)": math.log,
    "LOG1P(f)": math.log1p,
    "LOG2(f)": math.log2,
    "LOG10(f)": math.log10,
    "POWER(f, 1.5)": lambda x: math.pow(x, 1.5),
    "POWER(2, f)": lambda x: math.pow(2, x),
    "SIN(f)": math.sin,
    "COS(f)": math.cos,
    "TAN(f)": math.tan,
    "ASIN(f)": math.asin,
    "ACOS(f)": math.acos,
    "ATAN(f)": math.atan,
    "ATAN2(f, 2)": lambda x: math.atan2(x, 2),
    "DEGREES(f)": math.degrees,
    "RADIANS(f)": math.radians,
}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(NUMBERS, min_size=2, max_size=6))
def test_functions_agree_with_the_c_library_and_with_themselves_in_any_batch(sql: str, values: list[float]) -> None:
    together = product(sql, [LATE | {"f": value} for value in values])
    assert together == [product(sql, [LATE | {"f": value}])[0] for value in values]
    for value, computed in zip(values, together, strict=True):
        try:
            expected = FUNCTIONS[sql](value)
        except (ValueError, OverflowError):
            expected = math.inf
        if math.isfinite(expected):
            assert computed == pytest.approx(expected, rel=2e-15, abs=5e-324), (sql, value)
        else:
            assert computed is None


def test_a_quotient_by_a_constant_has_the_same_bits_in_every_batch() -> None:
    for sql in ("f / 1000", "f / CASE WHEN b THEN 1000.0 ELSE 60.0 END", "f / (10 * 100)", "f / COALESCE(NULL, 1e3)"):
        for rows in (1, 2, 100):
            assert product(sql, [LATE | {"f": 13.0}] * rows) == [0.013] * rows

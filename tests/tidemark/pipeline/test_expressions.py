"""What an expression gives is found by trying it, SQL once for each kind of rows, a user's function each time."""

from __future__ import annotations

import polars as pl
import pytest

from tidemark.pipeline import expressions
from tidemark.pipeline.expressions import Expression, check_expression, compile_expression

WHOLE: dict[str, pl.DataType] = {"amount": pl.Int64(), "fee": pl.Int64()}
REAL: dict[str, pl.DataType] = {"amount": pl.Float64(), "fee": pl.Int64()}


def test_an_expression_has_the_type_that_the_columns_give_it_however_often_it_is_checked() -> None:
    for _ in range(2):
        assert check_expression(compile_expression("x", "amount + 1", None, WHOLE), WHOLE) == pl.Int64
        assert check_expression(compile_expression("x", "amount + 1", None, REAL), REAL) == pl.Float64
        assert check_expression(compile_expression("x", "amount + 1", None, WHOLE, number=True), WHOLE) == pl.Float64


def test_sql_is_tried_once_and_a_function_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    really = expressions._tried

    def counted(expression: Expression, schema: expressions.Schema) -> pl.DataType:
        tried.append(expression.name)
        return really(expression, schema)

    monkeypatch.setattr(expressions, "_tried", counted)
    for _ in range(3):
        check_expression(compile_expression("counted", "amount * 17 + fee", None, WHOLE), WHOLE)
        function = Expression("called", None, lambda rows: rows["amount"] * 1.5, ("amount",))
        assert check_expression(function, WHOLE) == pl.Float64
    assert tried.count("counted") == 1
    assert tried.count("called") == 3

"""Flows that are put together wrongly say so."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
import numpy as np
import polars as pl
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from flow_rounds import FlowProcessor, opened
from streaming import START, Models, shop

import dataflows.operators as tm
from dataflows.run import expected_cause
from tidemark.errors import ConfigError
from tidemark.runtime.processor import Batch, Partition

_PIPELINE = shop(keys=1)
_RAW = Partition("shop.raw", 0, "0000aaaa")


def _batch(*amounts: object) -> Batch:
    rows = [
        f'{{"id": "P{i}", "at": {START + i}, "who": "w", "place": 1, "amount": {a}}}' for i, a in enumerate(amounts)
    ]
    n = len(rows)
    return Batch(_RAW, np.arange(n), np.full(n, START // 1_000), [b"w"] * n, [row.encode() for row in rows], [None] * n)


def _flow(columns: Any) -> FlowProcessor:  # noqa: ANN401 functions that are wrong in different ways
    def build(source: Any, sink: Any) -> Dataflow:  # noqa: ANN401 a test's
        flow = Dataflow("own")
        raw = tm.by_topic("raw", tm.input("read", flow, source), _PIPELINE.raw_topics)
        decoded = tm.decode("decode", raw, _PIPELINE)
        mapped = tm.map_columns("own", decoded.oks, _PIPELINE, columns)
        rows = tm.row_features("row_features", mapped.oks, _PIPELINE)
        featured = tm.window_features("windows", rows.oks, _PIPELINE)
        scored = tm.predict("predict", featured, _PIPELINE, Models())
        letters = tm.dead_letters("letters", decoded.errs, mapped.errs, rows.errs, topic="shop.deadletter")
        tm.commit("commit", sink, letters, scored)
        return flow

    return opened(FlowProcessor(build, clock=lambda: START + 10**9), _RAW)


def test_rows_on_which_a_function_of_ones_own_fails_are_dead_letters_and_their_neighbours_go_on() -> None:
    outputs = _flow(lambda rows: rows.with_columns(pl.col("amount").replace_strict({1.0: 10.0, 2.0: 20.0}))).process(
        _batch(1, 7, 2, '"x"')
    )
    letters = [output for output in outputs if output.topic == "shop.deadletter"]
    assert [dict(letter.headers)["step"] for letter in letters] == [b"columns", b"decode"]
    assert [dict(letter.headers)["source_offset"] for letter in letters] == [b"1", b"3"]
    assert len(outputs) == 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (lambda rows: rows.head(1), "gave 1 rows for 2; it must give one for each"),
        (lambda rows: rows.drop("amount"), "gave None for column 'amount', which is Float64"),
        (lambda rows: rows.with_columns(amount=pl.lit("1")), "gave String for column 'amount', which is Float64"),
        (lambda rows: rows.with_columns(pl.col("at") + pl.duration(hours=1)), "changed 'at'"),
        (lambda rows: rows.reverse(), "changed 'at'"),
    ],
    ids=["fewer rows", "no column", "another type", "other times", "another order"],
)
def test_a_function_that_gives_other_rows_or_columns_is_an_error_that_says_what_to_do(
    columns: Any,  # noqa: ANN401 a function
    message: str,
) -> None:
    with pytest.raises(BytewaxRuntimeError) as raised:
        _flow(columns).process(_batch(1, 2))
    assert message in str(expected_cause(raised.value))


def test_a_flow_whose_errors_go_nowhere_does_not_start() -> None:
    def build(source: Any, sink: Any) -> Dataflow:  # noqa: ANN401 a test's
        flow = Dataflow("own")
        raw = tm.by_topic("raw", tm.input("read", flow, source), _PIPELINE.raw_topics)
        decoded = tm.decode("decode", raw, _PIPELINE)
        rows = tm.row_features("row_features", decoded.oks, _PIPELINE)
        letters = tm.dead_letters("letters", decoded.errs, topic="shop.deadletter")
        tm.commit("commit", sink, letters, op.map("nothing", rows.oks, lambda one: tm.Round(one.work, [])))
        return flow

    with pytest.raises(ConfigError, match="step 'row_features': its `errs` go nowhere"):
        FlowProcessor(build)


def test_a_stream_that_delivers_a_round_twice_is_an_error() -> None:
    def build(source: Any, sink: Any) -> Dataflow:  # noqa: ANN401 a test's
        flow = Dataflow("own")
        raw = tm.by_topic("raw", tm.input("read", flow, source), _PIPELINE.raw_topics)
        twice: Any = op.flat_map("twice", raw, lambda one: [tm.Round(one.work, [])] * 2)
        tm.commit("commit", sink, twice, op.map("once", raw, lambda one: tm.Round(one.work, [])))
        return flow

    with pytest.raises(BytewaxRuntimeError) as raised:
        opened(FlowProcessor(build), _RAW).process(_batch(1))
    assert "its stream number 0 delivers a round twice" in str(expected_cause(raised.value))

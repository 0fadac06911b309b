"""Steps that may refuse rows: what goes on, and what does not, as two streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream

from dataflows.operators.envelope import Round
from tidemark.runtime.steps import Outcome, Refused

T = TypeVar("T")


@dataclass(frozen=True)
class RowsAndErrors(Generic[T]):
    """Streams of a step that may refuse rows: those that go on, and those that can't (for `dead_letters`)."""

    oks: Stream[Round[T]]
    errs: Stream[Round[Sequence[Refused]]]


def split(outcomes: Stream[Round[Outcome[Any]]]) -> RowsAndErrors[Any]:
    """Both streams of a step's outcomes, for an operator to return."""
    return RowsAndErrors(op.map("oks", outcomes, _oks), op.map("errs", outcomes, _errs))


def _oks(one: Round[Outcome[T]]) -> Round[T]:
    return Round(one.work, one.payload.oks)


def _errs(one: Round[Outcome[Any]]) -> Round[Sequence[Refused]]:
    return Round(one.work, one.payload.errs)

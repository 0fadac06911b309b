"""Cases that are much like another one, laid out for one look at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.shown.facts import FactBook
from labeling_grpc.client.values import Case
from tidemark.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Cell:
    """A column's value of a case. differs: from that of the case in hand."""

    value: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A case. number: its place in the list, from 0."""

    number: int
    name: str
    key: str
    when: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Listing:
    """The cases. columns: names of the values, as people read them.  shown: the case in hand."""

    columns: list[str]
    shown: Row
    rows: list[Row]


def listing(pipeline: Pipeline, shown: Case, cases: Sequence[Case]) -> Listing:
    """Cases beside the one in hand.

    Args:
        pipeline: whose cases they are.
        shown: the case in hand.
        cases: like it.

    Returns:
        A row for each, in their order.

    """
    book = FactBook(pipeline)
    own = {fact.name: fact for fact in book.of(shown, None).context}

    def row(number: int, case: Case) -> Row:
        facts = {fact.name: fact.value for fact in book.of(case, None).context}
        cells = [Cell(facts.get(name, ""), facts.get(name, "") != fact.value) for name, fact in own.items()]
        name = case.business_id or case.event_id
        return Row(number, name, case.key or "", book.times.moment(case.time), cells)

    return Listing(
        [fact.words for fact in own.values()],
        row(-1, shown),
        [row(number, case) for number, case in enumerate(cases)],
    )

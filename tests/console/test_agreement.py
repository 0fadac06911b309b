"""The agreement matrix, against counting by hand."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from models import label_of

from console.shown.agreement import Agreements
from tidemark.records import Label

VOTES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc"), st.sampled_from(["yes", "no"])), max_size=60)


def vote(event: int, who: str, label: str) -> Label:
    return msgspec.structs.replace(label_of(event, [1.0, 2.0, 3.0], label, annotator=who), status="vote")


@given(votes=VOTES)
def test_each_two_people_are_counted_over_the_cases_that_both_answered_last(votes: list[tuple[int, str, str]]) -> None:
    counted = Agreements(str.__eq__)
    for one in votes:
        counted.take(vote(*one))
    names, rows = counted.matrix()
    last = {(event, who): label for event, who, label in votes}
    for (i, first), (j, second) in itertools.product(enumerate(names), repeat=2):
        both = [event for event in range(9) if first != second and {(event, first), (event, second)} <= set(last)]
        cell = rows[i][j]
        assert (cell is None) == (not both)
        if cell is not None:
            same = sum(last[event, first] == last[event, second] for event in both)
            assert (cell.cases, cell.share) == (len(both), same / len(both))
            assert 0 <= cell.low <= cell.share <= cell.high <= 1


def test_more_events_than_are_held_are_counted_all_the_same() -> None:
    counted = Agreements(str.__eq__, events=3)
    for event in range(20):
        counted.take(vote(event, "ada", "yes"))
        counted.take(vote(event, "ben", "no"))
    names, rows = counted.matrix()
    assert names == ["ada", "ben"]
    cell = rows[0][1]
    assert cell is not None
    assert (cell.cases, cell.share) == (20, 0.0)


def test_what_is_no_vote_counts_for_nobody() -> None:
    counted = Agreements(str.__eq__)
    counted.take(label_of(1, [1.0, 2.0, 3.0], "yes", annotator="ada"))
    assert counted.matrix() == ([], [])

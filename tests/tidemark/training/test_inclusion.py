"""Labels of a random draw and of outcomes together are weighted to the shares of the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import label_of, small_pipeline

from tidemark.records import OUTCOME, SOURCES, Label, LabelSource
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import dataset
from tidemark.training.inclusion import inclusion_of
from tidemark.training.learners.evidence import inverse

RARE, EVENTS = 0.02, 40_000
SHARE = {"no": 0.02, "yes": 1.0}
ALIKE = {"no": 1.0, "yes": 1.0}


def stream(
    drawn: float, chosen: float, share: Mapping[str, float] = SHARE, focus: Mapping[str, float] = ALIKE
) -> list[Label]:
    """Labels of events of which each has an outcome: people answer those drawn, and of the rare class some chosen.

    focus: how much likelier events of a class are drawn, each by its own chance.
    """
    rng = np.random.default_rng(11)
    labels = []
    for event in range(EVENTS):
        name = "yes" if rng.random() < RARE else "no"
        base = label_of(event, [0.0, 0.0, 0.0], name, annotation_id=f"a{event}")
        chance = drawn * focus[name]
        if rng.random() < chance:
            labels.append(msgspec.structs.replace(base, reason="explore", inclusion_probability=chance))
        elif rng.random() < (chosen if name == "yes" else chosen / 50):
            labels.append(base)
        if rng.random() < share[name]:
            outcome = {"annotator": OUTCOME, "annotation_id": f"o{event}", "source": "outcome", "share": share[name]}
            labels.append(msgspec.structs.replace(base, reason="outcome", **outcome))
    return labels


@pytest.mark.parametrize("sources", [SOURCES, ("person", "outcome")])
@pytest.mark.parametrize("drawn", [0.0, 0.002, 0.02, 0.2])
@pytest.mark.parametrize("chosen", [0.0, 0.5])
def test_a_class_counts_as_often_as_it_is_in_the_stream_however_many_were_drawn_too(
    drawn: float, chosen: float, sources: Sequence[LabelSource]
) -> None:
    rows = dataset(enumerate(stream(drawn, chosen)), ModelSchema.of(small_pipeline()), sources=sources)
    assert rows.inclusion is not None
    assert rows.uneven
    weights = inverse(rows.inclusion, bounded=False)
    assert weights[rows.target == 1].sum() / weights.sum() == pytest.approx(RARE, rel=0.15)


@pytest.mark.parametrize("taken", [0.1, 0.5, 1.0])
def test_so_it_does_where_events_are_drawn_by_chances_that_differ(taken: float) -> None:
    labels = stream(0.05, 0.5, {"no": taken, "yes": taken}, {"no": 1.0, "yes": 18.0})
    rows = dataset(enumerate(labels), ModelSchema.of(small_pipeline()))
    assert rows.inclusion is not None
    weights = inverse(rows.inclusion, bounded=False)
    assert weights[rows.target == 1].sum() / weights.sum() == pytest.approx(RARE, rel=0.15)


CHANCE = st.none() | st.floats(1e-6, 1.0)


@given(st.lists(st.tuples(CHANCE, CHANCE), max_size=20))
def test_a_label_has_a_weight_where_its_event_was_drawn_or_its_outcome_taken_and_only_there(
    chances: list[tuple[float | None, float | None]],
) -> None:
    table = np.array(chances, np.float64).reshape(-1, 2)
    found = inclusion_of(table[:, 0], table[:, 1])
    there = ~np.isnan(table).all(axis=1)
    assert (np.isnan(found) == ~there).all()
    assert ((found[there] > 0) & (found[there] <= 1)).all()
    if not there.any() or np.isnan(table[:, 1]).all():
        assert np.array_equal(found, table[:, 0], equal_nan=True)

"""Labels of all sources, and the one policy by which those that contradict each other are decided between."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.evaluation.labels import drawn_labels, final_labels, resolved, source_of
from tidemark.records import ENDING, SOURCES, Label, LabelSource

DRAWN: dict[str, Any] = {"reason": "explore", "inclusion_probability": 0.1}


def label(event: int = 1, word: str | None = "good", **changed: object) -> Label:
    fields: dict[str, object] = {
        "event_id": f"raw-0-{event}-0000abcd",
        "business_id": None,
        "key": "k",
        "time": 0,
        "status": "answered" if word is not None else "expired",
        "label": word,
        "annotator": "ann",
        "known_at": 5,
        "answered_at": 5,
        "reason": "uncertain",
        "inclusion_probability": None,
        "tile": 0,
        "tile_count": 1_000,
        "policy": "1",
        "features": {"a": 1.0},
        "probabilities": [0.8, 0.2],
        "uncertainty": 0.4,
        "model": "m1",
    }
    return msgspec.convert({**fields, **changed}, Label)


def outcome(event: int = 1, word: str = "bad", known_at: int = 50, **changed: object) -> Label:
    told: dict[str, object] = {
        "reason": "outcome",
        "source": "outcome",
        "annotator": "outcome",
        "features": {},
        "probabilities": None,
        "model": "none",
        "known_at": known_at,
        "answered_at": known_at,
    }
    return msgspec.structs.replace(label(event, word), **(told | changed))


def only(labels: list[Label], sources: tuple[LabelSource, ...] = SOURCES) -> Label:
    (found,) = final_labels(labels, sources)
    return found


@pytest.mark.parametrize(
    ("said", "source"),
    [
        (label(), "person"),
        (label(annotator="program:rule"), "program"),
        (label(annotator="consensus", annotators=["program:a", "program:b"]), "program"),
        (label(annotator="consensus", annotators=["program:a", "ann"]), "person"),
        (label(reason="imported"), "import"),
        (label(source="import"), "import"),
        (label(source="review"), "review"),
        (outcome(), "outcome"),
        (outcome(source=None), "outcome"),
    ],
)
def test_whose_word_a_label_is_follows_from_its_record(said: Label, source: LabelSource) -> None:
    assert source_of(said) == source


def test_the_source_that_comes_first_has_the_word_and_the_others_make_a_conflict() -> None:
    said = [
        label(word="good", annotator="ann"),
        label(word="bad", annotator="program:rule", answered_at=6),
        label(word="bad", annotator="boss", source="review", answered_at=4),
        label(word="bad", annotator="file", source="import", answered_at=9),
    ]
    (found,) = resolved(said)
    assert (found.label.annotator, found.source, found.conflict) == ("boss", "review", True)
    (found,) = resolved(said, ("person", "program"))
    assert (found.label.annotator, found.source, found.conflict) == ("ann", "person", True)
    (found,) = resolved(said, ("program", "import"))
    assert (found.label.annotator, found.source, found.conflict) == ("program:rule", "program", False)


def test_an_outcome_keeps_the_features_and_the_draw_of_an_event_that_somebody_answered() -> None:
    asked = label(word="good", answered_at=5, **DRAWN)
    for said in ([asked, outcome()], [outcome(), asked]):
        found = only(said)
        assert (found.label, found.annotator, found.known_at) == ("bad", "outcome", 50)
        assert (found.features, found.inclusion_probability, found.reason) == ({"a": 1.0}, 0.1, "explore")
        assert drawn_labels(said) == [found]
        assert only(said, ("person", "outcome")) == asked


def test_a_drawn_event_that_only_has_an_outcome_is_learnt_from_and_stays_unanswered_in_the_draw() -> None:
    expired = label(word=None, **DRAWN)
    said = [expired, outcome()]
    found = only(said)
    assert (found.label, found.inclusion_probability, found.reason) == ("bad", None, "outcome")
    assert found.features == {"a": 1.0}
    assert drawn_labels(said) == [expired]
    assert drawn_labels([outcome()]) == []


def test_of_outcomes_the_one_counts_that_was_known_last() -> None:
    first, later = outcome(known_at=50, annotation_id="a"), outcome(word="good", known_at=60, annotation_id="b")
    for said in permutations([first, later, first]):
        assert only(list(said)) == later


def test_answers_of_a_source_that_does_not_count_leave_a_case_unanswered() -> None:
    found = only([label(annotator="program:rule", **DRAWN)], ("person",))
    assert (found.status, found.label) == ("withdrawn", None)
    assert final_labels([outcome()], ("person",)) == []


def test_a_retracted_answer_leaves_the_outcome() -> None:
    said = label(annotation_id="x")
    gone = label(word=None, status="retracted", annotation_id="y", supersedes="x", answered_at=6)
    assert final_labels([said, gone]) == []
    assert only([said, gone, outcome()]).label == "bad"


# ---- the oracle: a few lines that know of no order of arrival


def oracle(said: list[Label], sources: tuple[LabelSource, ...]) -> str | None:
    """The class of one event; None where there is none."""
    said = sorted({msgspec.json.encode(each): each for each in said}.values(), key=_when)
    gone = {each.supersedes for each in said if each.supersedes and each.status in ENDING}
    newest = {each.annotator: each for each in said if source_of(each) != "outcome" and each.status in ENDING}
    words: dict[LabelSource, list[str]] = defaultdict(list)
    for each in sorted(newest.values(), key=_when):
        if each.status == "answered" and each.annotation_id not in gone:
            words[source_of(each)].append(each.label or "")
    truths = sorted((each.known_at, each.annotation_id or "", each.label) for each in said if each.reason == "outcome")
    words["outcome"] = [truths[-1][2] or ""] if truths else []
    for source in sources:
        if votes := Counter(words[source]):
            return [word for word in words[source] if votes[word] == max(votes.values())][-1]
    return None


def _when(each: Label) -> tuple[object, ...]:
    return each.answered_at, each.annotation_id or "", each.annotator, each.status, each.label or ""


@st.composite
def histories(draw: st.DrawFn) -> list[Label]:
    """Annotations of two events, each with a number of its own."""
    said: list[Label] = []
    for number in range(draw(st.integers(0, 9))):
        event, word = draw(st.integers(1, 2)), draw(st.sampled_from(["good", "bad", "ugly"]))
        at, name = draw(st.integers(1, 4)), f"x{number}"
        own = [each.annotation_id for each in said if each.event_id == label(event).event_id]
        if draw(st.booleans()) and draw(st.booleans()):
            said.append(outcome(event, word, known_at=at, annotation_id=name))
            continue
        status = draw(st.sampled_from(["answered", "answered", "answered", "skipped", "expired", "retracted", "vote"]))
        said.append(
            label(
                event,
                word if status in {"answered", "vote"} else None,
                status=status,
                annotator=draw(st.sampled_from(["a", "b", "program:p"])),
                annotation_id=name,
                answered_at=at,
                supersedes=draw(st.sampled_from([None, *own])) if own else None,
                source=draw(st.sampled_from([None, None, "review", "import"])),
                inclusion_probability=0.1 if event == 1 else None,
            )
        )
    return said


@given(histories(), st.permutations(SOURCES), st.integers(1, 5), st.data())
def test_whatever_the_order_of_arrival_and_however_often_a_label_comes_the_final_labels_are_the_same(
    said: list[Label], order: list[LabelSource], counted: int, data: st.DataObject
) -> None:
    sources = tuple(order[:counted])
    found = {each.label.event_id: each for each in resolved(said, sources)}
    again = data.draw(st.lists(st.sampled_from(said), max_size=4)) if said else []
    mixed = data.draw(st.permutations([*said, *again]))
    assert {each.label.event_id: each for each in resolved(mixed, sources)} == found
    for event in {each.event_id for each in said}:
        final = found.get(event)
        expected = oracle([each for each in said if each.event_id == event], sources)
        assert (None if final is None else final.label.label) == expected
        if final is not None:
            assert (final.source is None) == (expected is None)
            assert final.source is None or final.source in sources

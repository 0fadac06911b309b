"""The demo's report says what was found, no more."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.demo.curves import compare
from tidemark.demo.pace import Pace
from tidemark.demo.plot import svg
from tidemark.demo.report import html, write_report
from tidemark.demo.result import (
    Accounting,
    Asked,
    DemoResult,
    FeatureWeight,
    Latency,
    Measured,
    ModelPoint,
    ReasonCount,
    Reliability,
)
from tidemark.demo.sentence import sentence
from tidemark.reports.picture import DARK, LIGHT

ACTIVE = [
    ModelPoint("v000050", 50, 9, 0.30),
    ModelPoint("v000100", 100, 20, 0.55),
    ModelPoint("v000150", 150, 31, 0.70),
]
RANDOM = [ModelPoint("r000150", 150, 2, 0.10), ModelPoint("r000300", 300, 4, 0.50)]
ACCOUNTING = Accounting(
    events=1_000,
    predicted=998,
    dead_letters=2,
    doubled=0,
    candidates=300,
    labels=300,
    answered=300,
    labels_doubled=0,
    budget=320,
)
RESULT = DemoResult(
    seed=1,
    title="Card <fraud>",
    seconds=20.0,
    rate=50.0,
    base_rate=0.01,
    holdout=500,
    active=ACTIVE,
    draws=[RANDOM],
    latency=Latency(p50=40, p95=90, p99=130),
    accounting=ACCOUNTING,
)


def test_the_ratio_is_of_the_first_active_model_that_reaches_the_last_random_one() -> None:
    """0.55 reaches 0.50 with 100 labels of 300."""
    assert RESULT.labels_to_match == 100
    assert RESULT.ratio == pytest.approx(1 / 3)


def test_an_active_arm_that_never_reaches_it_has_no_ratio_and_the_report_says_so() -> None:
    """No figure is made up."""
    worse = msgspec.structs.replace(RESULT, active=[ModelPoint("v", 50, 1, 0.2)])
    assert worse.ratio is None
    assert "at the end the random ones were ahead" in html(worse)
    assert msgspec.structs.replace(RESULT, draws=[]).ratio is None
    assert "nothing to compare" in html(msgspec.structs.replace(RESULT, draws=[[]]))


def test_the_report_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    """One HTML file without a reference to anything outside it, and a PNG."""
    path = write_report(RESULT, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "Card &lt;fraud&gt;" in text
    assert "<fraud>" not in text
    assert 'src="' not in text
    assert escape(sentence(RESULT)) in text
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_sentence_compares_whole_curves_and_not_one_point() -> None:
    """The random arm passed its own last point at half of its labels: that one point would flatter."""
    draws = [[ModelPoint("r", 100, 1, 0.6), ModelPoint("r", 200, 2, 0.4)], [ModelPoint("r", 200, 2, 0.4)]]
    result = msgspec.structs.replace(RESULT, draws=draws, base_rate=0.1)
    # Chosen: .1 up to 50, .3 up to 100, .55 up to 150, .7 up to 200.
    active = (50 * 0.1 + 50 * 0.3 + 50 * 0.55 + 51 * 0.7) / 201
    random = ((100 * 0.1 + 100 * 0.6 + 0.4) + (200 * 0.1 + 0.4)) / 402
    comparison = compare(ACTIVE, draws, 0.1)
    assert comparison is not None
    assert comparison.active == pytest.approx(active)
    assert comparison.ratio == pytest.approx(active / random)
    assert comparison.ahead_from == 0
    assert f"{active:.2f} in the mean" in sentence(result)
    assert "two draws" in sentence(result)
    assert f"{active / random:.1f} times as much; they were never behind" in sentence(result)


def test_the_label_from_which_an_arm_is_never_behind_is_told() -> None:
    ahead_at_first = [ModelPoint("r", 20, 1, 0.2), ModelPoint("r", 300, 1, 0.5)]
    comparison = compare(ACTIVE, [ahead_at_first], 0.1)
    assert comparison is not None
    assert comparison.ahead_from == 50
    assert "from label 50 on they were never behind" in sentence(
        msgspec.structs.replace(RESULT, draws=[ahead_at_first], base_rate=0.1)
    )
    late = compare(ACTIVE, [[ModelPoint("r", 300, 1, 0.9)]], 0.1)
    assert late is not None
    assert late.ahead_from is None


POINTS = st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=6).map(
    lambda pairs: [
        ModelPoint("m", labels, 1, quality)
        for labels, quality in zip(sorted(pair[0] for pair in pairs), [pair[1] for pair in pairs], strict=True)
    ]
)


@given(POINTS, st.lists(POINTS, min_size=1, max_size=4), st.floats(0.01, 0.5))
def test_curves_are_compared_as_counting_label_by_label_does(
    active: list[ModelPoint], draws: list[list[ModelPoint]], guess: float
) -> None:
    def quality(points: list[ModelPoint], labels: int) -> float:
        before = [point.average_precision for point in points if point.labels <= labels]
        return before[-1] if before else guess

    most = min(points[-1].labels for points in draws)
    ours = [quality(active, labels) for labels in range(most + 1)]
    theirs = [np.array([quality(points, labels) for points in draws]).mean() for labels in range(most + 1)]
    ahead = [labels for labels in range(most + 1) if all(ours[at] >= theirs[at] for at in range(labels, most + 1))]
    comparison = compare(active, draws, guess)
    assert comparison is not None
    assert comparison.active == pytest.approx(sum(ours) / len(ours))
    assert np.mean(comparison.random) == pytest.approx(sum(theirs) / len(theirs))
    assert comparison.ahead_from == (ahead[0] if ahead else None)


FULL = msgspec.structs.replace(
    RESULT,
    positive="<fraud>",
    asked=[
        Asked("cold", 0, {"amount": 12.5, "<b>": "</td>"}, None, "legitimate", "legitimate"),
        Asked("uncertain", 10**15, {"amount": None}, 0.44, "legitimate", "fraud"),
    ],
    reasons=[ReasonCount("cold", 16, 1), ReasonCount("uncertain", 200, 80)],
    weights=[FeatureWeight("terminal_count_1d", 0.4), FeatureWeight("<i>", 0.1)],
    reliability=[Reliability(0.01, 0.02, 0.9), Reliability(0.8, 0.7, 0.1)],
    measured=[Measured("v000100", 0.5, 0.2, 0.8, 40, 0.55)],
)


def test_the_report_has_what_people_look_for_first() -> None:
    text = re.sub(r"<[^>]*>", " ", html(FULL))
    assert re.search(r"v000100\s+0\.500\s+0\.200 to 0\.800\s+0\.550\s+40", text)
    assert re.search(r"the model could not tell\s+200\s+40%", text)
    assert re.search(r"amount 12\.5, &lt;b&gt; &lt;/td&gt;\s+–\s+legitimate", text)
    assert re.search(r"44%\s+legitimate \(truth: fraud\)", text)
    assert re.search(r"terminal_count_1d\s+40%", text)
    assert re.search(r"80\.0%\s+70\.0%\s+50", text)
    assert "Mean error 1.90%" in text
    assert "<fraud>" not in html(FULL)
    assert "<i>" not in re.sub(r'<i style="width:\d+%">', "", html(FULL))


def test_the_long_table_of_models_is_folded() -> None:
    text = html(FULL)
    assert "<details><summary>All 5 models</summary>" in text
    assert text.index("<details>") > text.index("What was asked")


def test_a_loss_is_told_in_red() -> None:
    """Events that are neither predicted nor dead letters are lost."""
    assert RESULT.accounting.lost == 0
    lossy = msgspec.structs.replace(ACCOUNTING, predicted=990)
    assert lossy.lost == 8
    assert 'class="bad"' in html(msgspec.structs.replace(RESULT, accounting=lossy))
    assert "Nothing was lost" in html(RESULT)


def test_the_picture_is_the_same_for_the_same_numbers_in_both_themes() -> None:
    """Deterministic SVG, so that a report can be compared."""
    assert svg(RESULT, LIGHT) == svg(RESULT, LIGHT)
    assert DARK.background in svg(RESULT, DARK)


def test_the_pace_stops_for_a_lagging_stream_a_pile_of_cases_and_labels_not_learnt_from() -> None:
    """What one look allows is used up until the next."""
    pace = Pace(max_lag=1_000, max_unselected=20, max_unlearnt=10)
    assert not pace.take(500)
    pace.saw(lag=0, unselected=0, waiting=0, untrained=0)
    assert [pace.take(500) for _ in range(3)] == [True, True, False]
    pace.saw(lag=800, unselected=0, waiting=0, untrained=0)
    assert not pace.take(500)
    pace.saw(lag=0, unselected=0, waiting=11, untrained=0)
    assert not pace.take(500)
    pace.saw(lag=0, unselected=0, waiting=0, untrained=11)
    assert not pace.take(500)
    pace.saw(lag=0, unselected=0, waiting=6, untrained=5)
    assert not pace.take(500)
    pace.saw(lag=0, unselected=21, waiting=0, untrained=0)
    assert not pace.take(500)

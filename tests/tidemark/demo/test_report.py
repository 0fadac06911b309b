"""The demo's report says what was found, no more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidemark.demo.pace import Pace
from tidemark.demo.plot import DARK, LIGHT, svg
from tidemark.demo.report import html, write_report
from tidemark.demo.result import Accounting, DemoResult, Latency, ModelPoint

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
    random=RANDOM,
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
    assert "did not reach" in html(worse)
    assert msgspec.structs.replace(RESULT, random=[]).ratio is None


def test_the_report_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    """One HTML file without a reference to anything outside it, and a PNG."""
    path = write_report(RESULT, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "Card &lt;fraud&gt;" in text
    assert "<fraud>" not in text
    assert 'src="' not in text
    assert "100 labels, well chosen, did the work of 300 random ones" in text
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


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

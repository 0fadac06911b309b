"""The tutorial with a stream of one's own: half-hours of an electricity market, as others have published them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loop.first_champion import headline, market, right_predictions
from benchmarks.support.newcomer import Newcomer, follow_tutorial
from tidemark.runtime.settings import Settings


@pytest.mark.timeout(400)
def test_the_tutorial_leads_from_ones_own_topic_to_a_champion_and_to_how_often_it_is_right(tmp_path: Path) -> None:
    data = Settings.from_environment().data_dir
    if (own := market(data)) is None:
        pytest.skip(f"electricity.parquet is not in {data}; name its folder in TIDEMARK_DATA")
    newcomer = Newcomer(tmp_path, own=own)
    try:
        way = follow_tutorial(newcomer)
        figure, told = headline(newcomer), right_predictions(newcomer)
        assert newcomer.stop() == 0, newcomer.printed
    finally:
        newcomer.leave()
    assert way.written <= 12, "lines written by hand"
    assert figure is not None
    assert figure["n"] >= 30
    assert told is not None
    assert told["predictions"] > 20_000
    assert told["right"] > told["commoner_class"] + 0.05
    assert figure["high"] - figure["low"] < 0.5, "a figure that tells something"

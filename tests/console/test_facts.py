from __future__ import annotations

from models import pipeline_text

from console.shown.facts import FactBook
from labeling_grpc.client.values import Case
from tidemark.pipeline import parse

WINDOWS = """
[[windows]]
name = "{name}"
key = "key"
aggregate = "{aggregate}"
size = "1h"
{more}
"""
SHOWN = {
    "whole": ("mean", 'column = "a"', "mean of a", "5"),
    "last": ("mean", 'column = "a"\nrows = 5', "mean of a, last 5", "5"),
    "session": ("mean", 'column = "a"\ngap = "5m"', "mean of a, gap 5m", "5"),
    "odd": ("zscore", 'column = "a"', "z-score of a", "5"),
    "began": ("since_first", "", "since the first", "5 s"),
    "pace": ("rate", "", "rate (1/s)", "5"),
    "trend": ("slope", 'column = "a"', "slope of a (1/s)", "5"),
}


def test_each_window_of_one_size_has_a_line_of_its_own_however_it_is_cut() -> None:
    windows = "".join(
        WINDOWS.format(name=name, aggregate=aggregate, more=more) for name, (aggregate, more, *_) in SHOWN.items()
    )
    pipeline = parse(pipeline_text().replace("[label]", windows + "[label]"), "p.toml")
    case = Case(
        "e", None, "k", 0, "explore", 0.0, {}, dict.fromkeys(SHOWN, 5.0), (), None, "v1", None, "", 0,
        "", "", (),
    )  # fmt: skip
    (table,) = FactBook(pipeline).of(case, None).windows
    told = {kind: [fact.value for fact in facts if fact is not None] for kind, facts in table.rows}
    assert told == {kind: [value] for _, _, kind, value in SHOWN.values()}

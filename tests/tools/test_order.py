from __future__ import annotations

from pathlib import Path

from longest import LONGEST

TESTS = Path(__file__).parents[1]


def test_each_file_that_is_begun_first_is_there() -> None:
    assert set(LONGEST) <= {path.name for path in TESTS.rglob("test_*.py")}


def test_no_file_is_named_twice() -> None:
    assert len(set(LONGEST)) == len(LONGEST)

import pytest

from tidemark.selection.clock import Watermarks


@pytest.mark.parametrize(
    ("times", "idle", "passed"),
    [
        ((5, 9), (False, False), 5),
        ((5, 9), (True, False), 9),
        ((5, None), (False, False), None),
        ((5, None), (False, True), 5),
        ((5, 9), (True, True), 9),
        ((None, None), (True, True), None),
        ((None, None), (False, True), None),
    ],
)
def test_time_is_what_all_partitions_have_passed_but_the_idle_ones(
    times: tuple[int | None, ...], idle: tuple[bool, ...], passed: int | None
) -> None:
    assert Watermarks(times, idle).passed() == passed


def test_a_watermark_never_goes_back_and_rows_end_idleness() -> None:
    marks = Watermarks.unknown(2).advanced(0, 7, idle=False).advanced(1, 3, idle=True)
    assert marks == Watermarks((7, 3), (False, True))
    assert marks.advanced(0, 6, idle=False).advanced(1, None, idle=False) == Watermarks((7, 3), (False, False))


def test_partitions_that_were_added_are_waited_for() -> None:
    assert Watermarks((4,), (True,)).extended(3) == Watermarks((4, None, None), (True, False, False))

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflows.engine.batch_size import MOST_PATIENCE, BatchSize


def test_after_one_record_that_was_too_large_batches_grow_back_to_what_they_were() -> None:
    size = BatchSize(8_000)
    while size.rows > 1:
        size.shrink()
    sizes = []
    while size.rows < 8_000:
        size.grow()
        sizes.append(size.rows)
    assert sizes == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_000]


@given(fits=st.integers(1, 8_000))
def test_a_stream_whose_records_stay_large_loses_few_of_its_transactions(fits: int) -> None:
    size = BatchSize(8_000)
    failures = 0
    for _ in range(2_000):
        if size.rows > fits:
            size.shrink()
            failures += 1
        else:
            size.grow()
    assert failures < 2_000 / MOST_PATIENCE + 25
    assert size.rows * 4 > min(fits, 8_000), "as many rows as fit, but for a factor"

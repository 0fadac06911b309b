import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.monitoring.index import HashIndex

batches = st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=25)


@given(batches, st.lists(st.integers(0, 14), max_size=9), st.integers(0, 60))
@settings(deadline=None)
def test_it_finds_what_a_dict_of_lists_finds(added: list[list[int]], asked: list[int], forgotten: int) -> None:
    index, number = HashIndex(), 0
    expected: list[tuple[int, int]] = []
    for position, hashes in enumerate(added):
        rows = np.arange(number, number + len(hashes))
        index.add(np.array(hashes, np.uint64), rows)
        expected += list(zip(hashes, rows.tolist(), strict=True))
        number += len(hashes)
        if position == len(added) // 2:
            index.forget_before(forgotten)
    at, rows = index.find(np.array(asked, np.uint64))
    assert sorted(zip(at.tolist(), rows.tolist(), strict=True)) == sorted(
        (position, row)
        for position, hash_ in enumerate(asked)
        for known, row in expected
        if known == hash_ and row >= forgotten
    )


def test_memory_of_forgotten_rows_is_given_back() -> None:
    index = HashIndex()
    for start in range(0, 100_000, 100):
        index.add(np.arange(start, start + 100, dtype=np.uint64), np.arange(start, start + 100))
        index.forget_before(start - 1_000)
    assert len(index) < 20_000

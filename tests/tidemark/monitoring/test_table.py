from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemark.monitoring.table import RollingTable

DTYPE = np.dtype([("partition", "i4"), ("value", "i8")])


@dataclass
class Naive:
    """Batches as lists of (value, partition, batch's offset)."""

    rows: list[tuple[int, int, int]] = field(default_factory=list)

    def rewind(self, partition: int) -> int | None:
        return next((offset for _, of, offset in self.rows if of == partition), None)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(0, 700)),
        st.tuples(st.just("forget"), st.integers(0, 900), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 2), st.just(0)),
    ),
    max_size=12,
)


@given(steps)
def test_it_holds_what_a_list_holds_and_knows_where_to_rewind_to(steps: list[tuple[str, int, int]]) -> None:
    table, naive, offset = RollingTable(DTYPE), Naive(), 0
    for what, which, n in steps:
        if what == "append":
            rows = np.zeros(n, DTYPE)
            rows["partition"], rows["value"] = which, np.arange(offset, offset + n)
            numbers = table.append(rows, which, offset)
            assert table.rows["value"][table.at(numbers)].tolist() == rows["value"].tolist()
            naive.rows += [(value, which, offset) for value in range(offset, offset + n)]
            offset += n
        elif what == "forget":
            count = min(which, len(table))
            table.forget(count)
            naive.rows = naive.rows[count:]
        else:
            table.drop(which)
            naive.rows = [row for row in naive.rows if row[1] != which]
        assert table.rows["value"].tolist() == [value for value, _, _ in naive.rows]
        assert len(table) == len(naive.rows)
        assert [table.rewind(p) for p in range(3)] == [naive.rewind(p) for p in range(3)]

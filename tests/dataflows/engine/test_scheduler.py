"""Which rows are processed together. No Kafka, and a clock that the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from dataflows.engine.batch_size import records_to_read
from dataflows.engine.config import EngineConfig
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.scheduler import PartitionProgress, Rounds, together
from tidemark.runtime.processor import UNKNOWN_TIME, Batch, Output, Partition, RoundProcessor, TaskState
from tidemark.runtime.settings import Settings

AHEAD = 1_000
IDLE = 0.5


@st.composite
def standings(draw: st.DrawFn) -> PartitionProgress:
    gaps = draw(st.lists(st.integers(1, 50), max_size=6))
    counts = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    times = draw(
        st.lists(st.one_of(st.integers(0, 9_000), st.just(UNKNOWN_TIME)), min_size=len(gaps), max_size=len(gaps))
    )
    return PartitionProgress(
        rows=counts[-1] if counts else 0,
        event_time=draw(st.one_of(st.none(), st.integers(0, 9_000))),
        marks=list(zip(counts, times, strict=True)),
        silent=not counts and draw(st.booleans()),
        replaying=draw(st.booleans()),
        arrived=draw(st.one_of(st.none(), st.integers(0, 9_000))),
    )


GROUPS = st.lists(standings(), min_size=1, max_size=6)


@given(GROUPS)
def test_somebody_goes_on_with_all_it_has_once_those_without_rows_are_silent(group: list[PartitionProgress]) -> None:
    if any(not s.rows and not s.silent and not s.replaying for s in group) or not any(s.rows for s in group):
        return
    rows = together(group, AHEAD)
    assert any(count == partition.rows > 0 for count, partition in zip(rows, group, strict=True))


@given(GROUPS)
def test_nobody_goes_further_than_the_bound_beyond_where_the_slowest_comes(group: list[PartitionProgress]) -> None:
    live = [s for s in group if not s.replaying]
    for partition, count in zip(group, together(group, AHEAD), strict=True):
        assert 0 <= count <= partition.rows
        if partition.replaying:
            assert count == partition.rows
            continue
        slowest = [s.reach for s in live if not s.silent and s.reach is not None]
        taken = [time for mark, time in partition.marks if mark <= count and time != UNKNOWN_TIME]
        if taken:
            assert max(taken) <= min(slowest) + AHEAD


@given(GROUPS)
def test_one_whose_time_is_unknown_is_waited_for_and_goes_first(group: list[PartitionProgress]) -> None:
    unknown = [s.reach is None and not s.replaying and not s.silent for s in group]
    for partition, first, count in zip(group, unknown, together(group, AHEAD), strict=True):
        if first:
            assert count == partition.rows
        elif any(unknown) and not partition.replaying:
            assert all(time == UNKNOWN_TIME for mark, time in partition.marks if mark <= count) or count == 0


@given(GROUPS, st.integers(1, 50), st.integers(0, 9_000))
def test_a_partition_whose_rows_tell_no_time_gives_them_all_and_holds_others_where_it_arrived(
    group: list[PartitionProgress], rows: int, arrived: int
) -> None:
    unreadable = PartitionProgress(rows, marks=[(rows, UNKNOWN_TIME)], arrived=arrived)
    *others, own = together([*group, unreadable], AHEAD)
    assert own == rows
    for partition, alone, beside in zip(group, together(group, AHEAD), others, strict=True):
        assert beside <= alone
        reach = partition.reach
        if partition.replaying or (reach is not None and reach <= arrived + AHEAD):
            assert beside == alone


# ---- with lanes ------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """A consumed record whose event time is its value."""

    at: int
    time: int

    def __len__(self) -> int:
        return 8

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return str(self.time).encode()

    def headers(self) -> None:
        return None


class Timed:
    """As much of a round processor as choosing needs."""

    topics: Sequence[str] = ("t",)

    def open(self, partition: Partition, metadata: str) -> int | None:
        raise NotImplementedError

    def close(self, partition: Partition) -> None:
        raise NotImplementedError

    def process(self, batch: Batch) -> list[Output]:
        raise NotImplementedError

    def process_round(self, batches: Sequence[Batch]) -> list[Output]:
        raise NotImplementedError

    def metadata(self, partition: Partition) -> str:
        raise NotImplementedError

    def tick(self, now: float) -> list[Output]:
        raise NotImplementedError

    def event_time(self, batch: Batch) -> int | None:
        raise NotImplementedError

    def event_times(self, batch: Batch) -> list[int]:
        return [int(value or b"") for value in batch.values]


def lanes_of(*times: Sequence[int]) -> list[Lane]:
    """A lane for each partition, that holds records of these event times."""
    lanes = []
    for index, own in enumerate(times):
        lane = Lane("t", index)
        lane.open(Partition("t", index, "0"), generation=1, start=0, committed=0, now=0.0)
        rows = [Row(offset, time) for offset, time in enumerate(own)]
        for begin in range(0, len(rows), 7):
            lane.add(cast("list[Message]", rows[begin : begin + 7]), 0.0)
        lanes.append(lane)
    return lanes


def rounds(batch_rows: int, *, align: int | None = AHEAD) -> Rounds:
    processor = Timed()
    assert isinstance(processor, RoundProcessor)
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=batch_rows, align=align, idle_timeout=IDLE)
    return Rounds(config, processor)


def sizes(chosen: list[list[tuple[Lane, Batch]]]) -> list[dict[int, int]]:
    """Rows of each partition in each round."""
    return [{lane.index: len(batch) for lane, batch in together} for together in chosen]


@given(st.lists(st.integers(0, 39), min_size=1, max_size=20, unique=True).map(sorted))
def test_a_look_at_a_lane_shows_the_rows_that_it_gives_later(places: list[int]) -> None:
    (lane,) = lanes_of(range(50))
    lane.take(10, 1_000)
    looked = lane.at(places)
    taken = lane.take(40, 1_000)
    assert looked.offsets.tolist() == [int(taken.offsets[place]) for place in places]
    assert looked.values == [taken.values[place] for place in places]


def test_a_round_ends_near_the_same_event_time_in_each_partition_however_dense_they_are() -> None:
    dense, sparse = lanes_of(range(0, 100_000, 100), range(0, 1_000_000, 1_000))
    (counts,) = sizes(rounds(400).choose([dense, sparse], 0.0))
    assert counts == {0: 349, 1: 35}, "all before 34,900, where the dense one has a mark"


def test_a_partition_far_ahead_waits_until_the_other_is_silent() -> None:
    ahead, empty = lanes_of(range(90_000, 90_400), ())
    ahead.event_time, empty.event_time, empty.at_end = 80_000, 0, True
    choosing = rounds(100)
    assert choosing.choose([ahead, empty], 0.1) == []
    assert choosing.choose([ahead, empty], 0.2) == []
    assert sizes(choosing.choose([ahead, empty], IDLE)) == [{0: 100}]


def test_a_small_round_of_many_rows_waits_a_moment_for_what_is_being_fetched() -> None:
    lanes = lanes_of(range(0, 400_000, 1_000), range(0, 2_000, 1_000))
    choosing = rounds(100)
    assert choosing.choose(lanes, 5.0) == []
    assert choosing.choose(lanes, 5.019) == []
    assert sizes(choosing.choose(lanes, 5.021)) == [{0: 1, 1: 1}], "all before 1,000, the end of the second for now"


def test_a_backlog_after_a_silence_waits_a_moment_for_those_of_the_other_partitions() -> None:
    first, second = lanes_of(range(500), ())
    first.at_end = second.at_end = True
    choosing = rounds(400)
    assert choosing.choose([first, second], 9.0) == [], "the second has been silent for long"
    second.add(cast("list[Message]", [Row(0, 50)]), 9.01)
    second.at_end = True
    assert sizes(choosing.choose([first, second], 9.01)) == [{0: 374, 1: 1}], "before the last mark that fits"
    assert sizes(choosing.choose([first, second], 9.6)) == [{0: 126}], "awake"
    first.add(cast("list[Message]", [Row(501, 501)]), 9.7)
    assert sizes(choosing.choose([first, second], 9.7)) == [{0: 1}]
    assert choosing.choose([first, second], 9.8) == []
    first.add(cast("list[Message]", [Row(502 + i, 502) for i in range(100)]), 9.9)
    assert choosing.choose([first, second], 9.9) == []
    assert sizes(choosing.choose([first, second], 9.93)) == [{0: 100}], "it is silent indeed"


def test_a_backlog_after_a_silence_waits_for_partitions_that_hold_what_is_not_shown_yet() -> None:
    first, second = lanes_of(range(500), ())
    first.at_end = second.at_end = True
    held_back = [second]
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=400, align=AHEAD, idle_timeout=IDLE)
    choosing = Rounds(config, Timed(), withholds=held_back.__contains__)
    assert choosing.choose([first, second], 9.0) == []
    assert choosing.choose([first, second], 9.0 + IDLE) == [], "what the second holds is not shown yet"
    second.add(cast("list[Message]", [Row(0, 50)]), 9.1 + IDLE)
    second.at_end = True
    assert sizes(choosing.choose([first, second], 9.1 + IDLE)) == [{0: 374, 1: 1}]


def test_a_backlog_after_a_silence_does_not_wait_for_ever_for_what_is_not_shown() -> None:
    first, second = lanes_of(range(500), ())
    first.at_end = second.at_end = True
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=400, align=AHEAD, idle_timeout=IDLE)
    choosing = Rounds(config, Timed(), withholds=lambda _: True)
    assert choosing.choose([first, second], 9.0) == []
    assert sizes(choosing.choose([first, second], 9.0 + IDLE * 4)) == [{0: 400}]


def test_few_rows_do_not_wait() -> None:
    lanes = lanes_of([5], [7])
    for lane in lanes:
        lane.at_end = True
    assert sizes(rounds(100).choose(lanes, 0.0)) == [{0: 1, 1: 1}]


def test_without_alignment_each_partition_gives_its_share() -> None:
    assert sizes(rounds(100, align=None).choose(lanes_of(range(500), range(10**6, 10**6 + 20)), 0.0)) == [
        {0: 50, 1: 20}
    ]


def test_a_round_never_has_more_rows_than_it_may_even_one() -> None:
    choosing = rounds(8)
    choosing.batch_rows = 1
    lanes = lanes_of(range(5), range(5), range(5))
    assert [sum(counts.values()) for counts in sizes(choosing.choose(lanes, 0.0))] == [1]


@given(st.integers(1, 10_000), st.lists(st.floats(0.25, 1), min_size=1, max_size=50))
def test_no_more_than_a_few_rounds_of_rows_wait_however_many_are_processed_of_each(
    batch_rows: int, shares: list[float]
) -> None:
    held = 0
    for share in shares:
        asked = records_to_read(held, batch_rows)
        assert asked >= 1, "what others wait for may lie behind"
        held += asked
        assert held <= 4 * batch_rows + max(batch_rows // 4, 1)
        held -= min(held, max(1, int(batch_rows * share)))


def test_rows_to_replay_wait_for_nobody() -> None:
    replayed, ahead = lanes_of(range(50), ())
    replayed.committed, replayed.event_time, ahead.event_time = 50, 10**9, 0
    assert sizes(rounds(100).choose([replayed, ahead], 0.0)) == [{0: 50}]


# ---- a backlog -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=80).map(sorted), min_size=2, max_size=5),
    st.integers(20, 80),
    st.integers(0, 2**32),
)
def test_a_backlog_goes_on_in_the_order_of_event_times_whatever_is_fetched_when(
    histories: list[list[int]], batch_rows: int, seed: int
) -> None:
    chance, choosing = Random(seed), rounds(batch_rows)
    lanes = lanes_of(*([] for _ in histories))
    to_come = [[Row(offset, time) for offset, time in enumerate(own)] for own in histories]
    given_on: list[int] = []
    now = 0.0
    while any(to_come) or any(lane.rows for lane in lanes):
        now += IDLE / 20
        assert now < 1_000 * IDLE, "it stands still"
        for lane in lanes:
            lane.last_row = now  # a fetch comes before its partition counts as silent
        fetched = chance.choice(lanes)
        rest = to_come[fetched.index]
        count = chance.randint(1, 60)
        if rest:
            fetched.add(cast("list[Message]", rest[:count]), now)
            del rest[:count]
        fetched.at_end = not rest
        for chosen in choosing.choose(lanes, now):
            times = [[int(value or b"") for value in batch.values] for _, batch in chosen]
            for (lane, _), own in zip(chosen, times, strict=True):
                lane.event_time = max(own)
            given_on += sorted(itertools.chain(*times))  # as rows are handed on to their next key
    assert given_on == sorted(itertools.chain(*histories))


def test_a_backlog_is_cut_at_one_event_time_also_where_bytes_cut_a_partition_short() -> None:
    lanes = lanes_of(range(0, 400, 2), range(1, 401, 2))
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=300, batch_bytes=800, align=AHEAD)
    choosing = Rounds(config, cast("TaskState", Timed()))
    (chosen,) = choosing.choose(lanes, 0.0)
    assert {lane.index: batch.values[-1] for lane, batch in chosen} == {0: b"96", 1: b"97"}, "800 bytes are 100 rows"


def test_rows_that_go_on_to_nobody_are_not_cut_at_one_event_time() -> None:
    lanes = lanes_of([10, 90], [20], [30], [40])
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=4, align=AHEAD, idle_timeout=IDLE, last=("t",))
    assert sizes(Rounds(config, Timed()).choose(lanes, 0.0)) == [{0: 1, 1: 1, 2: 1, 3: 1}]


def test_who_catches_up_waits_for_one_that_is_replayed_and_others_go_as_far_as_it_is() -> None:
    behind, live, replayed = lanes_of(range(200), range(5), range(100, 150))
    behind.event_time, live.at_end = 3, True
    replayed.committed = 50
    assert sizes(rounds(100).choose([behind, live, replayed], 0.0)) == [{1: 3, 2: 33}]


def test_the_first_whose_replay_is_over_waits_for_those_whose_is_not() -> None:
    behind, replayed = lanes_of(range(200), range(100, 150))
    replayed.committed = 50
    choosing = rounds(100)
    assert sizes(choosing.choose([behind, replayed], 0.0)) == [{1: 50}]
    replayed.position = 50
    replayed.event_time = 149
    assert sizes(choosing.choose([behind, replayed], 0.0)) == [{0: 90}], "none beyond where the other has come"


def test_rows_that_the_client_may_hold_behind_those_of_others_are_waited_for() -> None:
    """A partition that had come to the end of its log has rows again, which nobody has read yet."""
    first, second = lanes_of(range(100), ())
    first.event_time = second.event_time = 0
    second.at_end = True
    for lane in (first, second):
        lane.hear(9.0, all_told=False)
    choosing = rounds(100)
    assert choosing.choose([first, second], 9.0) == []
    assert choosing.choose([first, second], 9.1) == [], "it has been silent for long, but nobody knows"
    second.add(cast("list[Message]", [Row(0, 40)]), 9.2)
    for lane in (first, second):
        lane.hear(9.2, all_told=True)
    assert sizes(choosing.choose([first, second], 9.2)) == [{0: 40}]


@given(
    histories=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=2, max_size=6),
    batch_rows=st.integers(1, 8),
    ended=st.booleans(),
)
def test_no_backlog_stands_still_however_its_rows_are_out_of_order(
    histories: list[list[int]], batch_rows: int, *, ended: bool
) -> None:
    lanes, choosing = lanes_of(*histories), rounds(batch_rows)
    now = 0.0
    while any(lane.rows for lane in lanes):
        chosen: list[list[tuple[Lane, Batch]]] = []
        for _ in range(4):  # a round may be put off, and those that have come to their end are waited for
            now += IDLE * 4
            for lane in lanes:
                lane.at_end = ended
            if chosen := choosing.choose(lanes, now):
                break
        assert chosen
        for lane, batch in itertools.chain(*chosen):
            lane.event_time = max(lane.event_time or 0, *(int(value or b"") for value in batch.values))


def test_one_that_is_not_at_its_end_and_has_no_rows_for_long_is_given_up_until_one_comes() -> None:
    first, second = lanes_of(range(1_000), ())
    first.event_time = second.event_time = 0
    choosing = rounds(100)
    for lane in (first, second):
        lane.hear(0.0, all_told=True)
    assert choosing.choose([first, second], IDLE) == []
    assert choosing.choose([first, second], IDLE * 4) != []
    for lane in (first, second):
        lane.hear(IDLE * 5, all_told=False)
    assert choosing.choose([first, second], IDLE * 5) != [], "rows of the first that wait in the client hold up nobody"
    second.add(cast("list[Message]", [Row(0, 150)]), IDLE * 6)
    assert not second.given_up


def test_a_live_partition_that_never_rests_is_no_backlog() -> None:
    """The client tells the end of a partition where a fetch brings nothing, which may never be."""
    config = EngineConfig("g", Settings.from_environment({}), batch_rows=100, align=AHEAD, idle_timeout=IDLE)
    choosing = Rounds(config, cast("TaskState", Timed()), wall=lambda: 0.5)  # rows have the timestamp 0
    lanes = lanes_of([100, 101], [40])
    assert sizes(choosing.choose(lanes, 60.0)) == [{0: 2, 1: 1}]


def test_a_dense_partition_among_sparse_ones_does_not_wait_for_rows_that_would_not_help_it() -> None:
    lanes = lanes_of(range(1_000), *([10_000] * 40 for _ in range(15)))
    for lane in lanes:
        lane.at_end = True
    assert rounds(320).choose(lanes, 0.0) != []


def test_one_event_time_that_fills_more_than_a_round_goes_on() -> None:
    lanes = lanes_of([7] * 500, [7] * 500)
    choosing = rounds(100)
    (counts,) = sizes(choosing.choose(lanes, 0.0))
    assert sum(counts.values()) == 100

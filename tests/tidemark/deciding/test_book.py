"""A rule's book: each key once within a time, no day over its budget, and the likeliest first."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tidemark.deciding.book import Book

HOUR = 3_600_000_000
START = 1_750_000_000_000_000
times = st.integers(START, START + 80 * HOUR)
events = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), times, st.sampled_from([0.5, 0.7, 0.8, 0.9, 0.99])), max_size=60
)


@given(events, st.sampled_from([0, HOUR, 30 * HOUR]), st.none() | st.integers(1, 5))
def test_a_key_is_told_of_once_within_suppress_and_a_day_has_no_more_alerts_than_its_budget(
    log: list[tuple[str | None, int, float]], suppress: int, per_day: int | None
) -> None:
    book = Book(suppress, per_day)
    told: list[tuple[str | None, int]] = []
    for key, time, probability in log:
        decided = book.alert(key, time, probability)
        near = [other for known, other in told if known == key and key is not None and abs(time - other) < suppress]
        if decided == "suppressed":
            assert near
        if decided == "alert":
            told.append((key, time))
            assert len(near) == 0 or len([1 for known, _ in told if known == key]) > 8, "of a key eight are kept"
    days = Counter(datetime.fromtimestamp(time // 1_000_000, UTC).date() for _, time in told)
    assert per_day is None or max(days.values(), default=0) <= per_day
    assert sum(day.alert for day in book.days.values()) == len(told)


@given(events, st.sampled_from([0, HOUR]), st.none() | st.integers(1, 5), st.integers(0, 60))
def test_a_book_that_is_read_back_decides_as_the_one_that_was_lost(
    log: list[tuple[str | None, int, float]], suppress: int, per_day: int | None, cut: int
) -> None:
    whole, second = Book(suppress, per_day), Book(suppress, per_day)
    for number, (key, time, probability) in enumerate(log):
        decided = whole.alert(key, time, probability)
        if number < cut:
            second.take(key, time, probability, decided)
        else:
            assert second.alert(key, time, probability) == decided
    assert second.days == whole.days


def test_what_is_left_of_a_day_is_for_those_that_are_among_the_likeliest_of_24_hours() -> None:
    book = Book(per_day=2)
    decided = [book.alert(None, START + number, p) for number, p in enumerate([0.6, 0.9, 0.8, 0.95])]
    assert decided == ["alert", "alert", "over_budget", "over_budget"], "two a day, whatever comes"
    later = START + 24 * HOUR
    assert book.alert(None, later - HOUR, 0.7) == "over_budget", "0.9, 0.8 and 0.95 of the last hours were likelier"
    assert book.alert(None, later - HOUR, 0.93) == "alert"
    assert book.alert(None, later + 2 * HOUR, 0.8) == "alert", "those of yesterday's first hour have passed"


@given(st.lists(st.tuples(times, st.sampled_from([0.2, 0.5, 0.9])), max_size=60), times, st.floats(0, 1))
def test_likelier_ones_are_counted_over_the_24_hours_up_to_the_event(
    log: list[tuple[int, float]], last: int, probability: float
) -> None:
    book = Book(per_day=1_000_000)
    for time, p in log:
        book.take(None, time, p, "alert")
    held = [p for time, p in log if last // HOUR - 24 < time // HOUR <= last // HOUR]
    bins = sorted(int(p * 4_096) for p in held)
    above = len(bins) - bisect_left(bins, min(int(probability * 4_096), 4_095) + 1)
    assert book._recent.above(last, probability) == above


def test_one_clock_that_is_fast_does_not_spend_the_day_on_poor_ones() -> None:
    book = Book(per_day=2)
    for p in (0.95, 0.96, 0.97):
        book.alert(None, START - 12 * HOUR, p)
    assert book.alert(None, START + 30 * HOUR, 0.9) == "alert"
    assert book.alert(None, START, 0.6) == "over_budget", "three of the last 24 hours were likelier"


def test_probabilities_of_many_hours_are_kept_within_a_bound() -> None:
    book = Book(per_day=10**9)
    for number in range(2_000):
        book.alert(None, START + number * HOUR, 0.9)
    assert len(book._recent._hours) <= 192


def test_a_day_is_one_of_the_zone() -> None:
    midnight = int(datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6)
    book = Book(per_day=1, zone=ZoneInfo("Europe/Berlin"))
    assert book.alert(None, midnight - 1_000_000, 0.9) == "alert"
    assert book.alert(None, midnight, 0.95) == "alert"
    short = timedelta(hours=23)  # clocks are put forward
    assert book.alert(None, midnight + int(short.total_seconds() * 1e6) - 1_000_000, 0.99) == "over_budget"
    assert book.alert(None, midnight + int(short.total_seconds() * 1e6), 0.99) == "alert"
    assert sorted(book.days) == ["2026-03-28", "2026-03-29", "2026-03-30"]


@given(st.integers(-(2**62), 2**62))
def test_any_time_has_a_day(time: int) -> None:
    assert len(Book(zone=ZoneInfo("Pacific/Kiritimati")).day(time)) == 10


def test_what_is_kept_does_not_grow_with_keys_that_nobody_is_near_any_more() -> None:
    book = Book(suppress=1_000_000, per_day=10**9)
    for number in range(60_000):
        book.alert(f"k{number}", START + number * 60_000_000, 0.9)
    assert len(book._told) < 15_000
    assert len(book._counted) < 15_000


def test_one_clock_that_is_fast_lets_no_key_be_told_of_twice() -> None:
    book = Book(suppress=HOUR, ahead=72 * HOUR)
    assert book.alert("a", START, 0.9) == "alert"
    book.alert("fast", START + 72 * HOUR, 0.9)
    for number in range(20_000):
        book.alert(f"k{number}", START, 0.9)
    assert book.alert("a", START + HOUR // 2, 0.9) == "suppressed"


def test_an_alert_comes_after_an_abstention_and_nothing_within_suppress_after_an_alert() -> None:
    book = Book(suppress=HOUR)
    assert book.abstain("a", START, 0.5) == "abstain"
    assert book.abstain("a", START + 1, 0.6) == "suppressed"
    assert book.alert("a", START + 2, 0.9) == "alert"
    assert book.alert("a", START + 3, 0.9) == "suppressed"
    assert book.abstain("a", START + 4, 0.5) == "suppressed"
    assert book.abstain("a", START + 3 * HOUR, 0.5) == "abstain"

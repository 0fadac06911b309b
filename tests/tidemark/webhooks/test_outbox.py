from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import RecordError
from tidemark.records import encode
from tidemark.webhooks.client import Attempt
from tidemark.webhooks.outbox import DAY, FIRST, Delivery, Held, Outbox, anew, delivery_of

START = 1_750_000_000.0
OK = Attempt(200)
BROKEN = Attempt(500, "answered 500 Internal Server Error")
AWAY = Attempt(503, "answered 503 Service Unavailable", away=True)
GONE = Attempt(410, "answered 410 Gone", gone=True)


def delivery(name: str, at: float = START) -> Delivery:
    micros = int(at * 1_000_000)
    return Delivery(webhook="w", id=name, type="label.completed", body="{}", since=micros, next_at=micros)


def outbox_of(*names: str, at: float = START, seed: int = 0) -> Outbox:
    outbox = Outbox(random.Random(seed).random)
    for offset, name in enumerate(names):
        outbox.put(delivery(name, at), offset)
    return outbox


def due(outbox: Outbox, now: float) -> Held:
    held = outbox.due(now)
    assert held is not None
    return held


def test_deliveries_are_tried_in_the_order_in_which_they_came() -> None:
    outbox = outbox_of("a", "b", "c")
    tried = []
    while (held := outbox.due(START)) is not None:
        tried.append(held.delivery.id)
        assert outbox.settle(held, OK, START).done == (held,)
    assert tried == ["a", "b", "c"]
    assert len(outbox) == 0
    assert outbox.next_due(START) is None


def test_one_that_fails_holds_up_none_behind_it_and_comes_again() -> None:
    outbox = outbox_of("a", "b")
    outbox.settle(due(outbox, START), BROKEN, START)
    assert due(outbox, START).delivery.id == "b"
    outbox.settle(due(outbox, START), OK, START)
    assert outbox.due(START) is None
    again = outbox.next_due(START)
    assert again is not None
    assert START + 0.75 * FIRST <= again <= START + 1.25 * FIRST
    held = due(outbox, again)
    assert (held.delivery.id, held.delivery.attempts, held.delivery.reason) == ("a", 1, BROKEN.reason)
    assert outbox.failing_since() == START
    outbox.settle(held, OK, again)
    assert outbox.failing_since() is None


def test_a_receiver_that_is_away_is_left_alone_and_then_has_all_in_little_time() -> None:
    outbox = outbox_of("a", "b", "c")
    now, waits = START, []
    for _ in range(12):
        outbox.settle(due(outbox, now), AWAY, now)
        assert outbox.due(now) is None
        again = outbox.next_due(now)
        assert again is not None
        waits.append(again - now)
        now = again
    assert 0.75 * FIRST <= waits[0] <= 1.25 * FIRST
    assert all(0.75 * 600 <= wait <= 1.25 * 600 for wait in waits[8:])
    back = now
    while (at := outbox.next_due(now)) is not None:
        now = max(now, at)
        outbox.settle(due(outbox, now), OK, now)
    assert now <= back + 1.25 * 600


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("seed", range(5))
def test_deliveries_that_make_a_receiver_fail_hold_up_none_behind_them(count: int, seed: int) -> None:
    """A proxy answers 502 where the program behind it falls over what it is sent."""
    bad, good = [f"bad{number}" for number in range(count)], [f"good{number}" for number in range(50)]
    outbox, now = outbox_of(*bad, *good, seed=seed), START
    taken: set[str] = set()
    while len(taken) < len(good) and now < START + 7_200:
        at = outbox.next_due(now)
        assert at is not None
        now = max(now, at)
        held = due(outbox, now)
        fails = held.delivery.id in bad
        if not fails:
            taken.add(held.delivery.id)
        outbox.settle(held, AWAY if fails else OK, now)
    assert taken == set(good)
    assert len(outbox) == count


def test_a_receiver_that_names_a_time_is_not_asked_before() -> None:
    outbox = outbox_of("a", "b")
    outbox.settle(due(outbox, START), Attempt(429, "answered 429", away=True, retry_after=3_600), START)
    assert outbox.due(START + 3_599) is None
    assert due(outbox, START + 3_600).delivery.id == "b", "it may be a that it can't take"
    outbox = outbox_of("a", "b")
    outbox.settle(due(outbox, START), Attempt(500, "answered 500", retry_after=3_600), START)
    outbox.settle(due(outbox, START), OK, START)
    assert outbox.due(START + 3_599) is None
    assert due(outbox, START + 3_600).delivery.id == "a"


def test_a_delivery_is_given_up_after_a_day_and_a_last_attempt_at_its_end() -> None:
    outbox, now, times = outbox_of("a"), START, []
    while True:
        held = due(outbox, now)
        settled = outbox.settle(held, BROKEN, now)
        times.append(now - START)
        if settled.given_up:
            break
        assert settled.again == (held,)
        again = outbox.next_due(now)
        assert again is not None
        now = again
    assert times[-1] == DAY
    assert 15 <= len(times) <= 40
    assert all(after > before for before, after in pairwise(times))
    ((given_up, why),) = settled.given_up
    assert given_up.delivery.id == "a"
    assert why == f"given up after 24 h, tried {len(times)} times: answered 500 Internal Server Error"
    assert len(outbox) == 0


def test_all_that_waited_for_a_day_is_given_up_with_a_receiver_that_is_away() -> None:
    names = [f"d{number}" for number in range(1_000)]
    outbox = outbox_of(*names)
    outbox.put(delivery("young", START + 3_600), 1_000)
    now = START
    while now < START + DAY:
        outbox.settle(due(outbox, now), AWAY, now)
        again = outbox.next_due(now)
        assert again is not None
        now = again
    settled = outbox.settle(due(outbox, now), AWAY, now)
    assert [held.delivery.id for held, _ in settled.given_up] == names
    assert settled.given_up[0][1] == f"given up after 24 h, tried once: {AWAY.reason}"
    assert "never tried, for the receiver was away" in settled.given_up[500][1]
    assert len(outbox) == 1


def test_a_receiver_that_wants_no_more_is_not_asked_again() -> None:
    outbox = outbox_of("a", "b")
    settled = outbox.settle(due(outbox, START), GONE, START)
    assert [(held.delivery.id, why) for held, why in settled.given_up] == [("a", "answered 410 Gone: it wants no more")]
    assert due(outbox, START).delivery.id == "b"


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    outbox = outbox_of("a", at=START + 400 * DAY)
    assert due(outbox, START).delivery.id == "a"
    outbox.settle(due(outbox, START), AWAY, START)
    assert due(outbox, START - 2 * DAY).delivery.id == "a"


def test_a_newer_record_of_a_delivery_changes_nothing_but_where_it_is() -> None:
    outbox = outbox_of("a")
    outbox.settle(due(outbox, START), BROKEN, START)
    outbox.put(delivery("a"), 17)
    held = due(outbox, START + DAY)
    assert (held.delivery.attempts, held.offset) == (1, 17)


def test_what_a_person_sends_again_has_its_day_anew() -> None:
    old = Delivery(
        webhook="w", id="a", type="t", body="{}", since=1, next_at=2, attempts=30, failed_at=3, reason="answered 500"
    )
    assert anew(old, START) == delivery("a").__class__(
        webhook="w", id="a", type="t", body="{}", since=int(START * 1e6), next_at=int(START * 1e6)
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"w/b", encode(delivery("a"))),
        (b"x/a", encode(delivery("a"))),
        (None, encode(delivery("a"))),
        (b"w/a", b""),
        (b"w/a", b"{}"),
        (b"w/a", b"\xff"),
        (b"w/a", encode(delivery("a")).replace(b'"since":1', b'"since":1e99')),
        (b"w/a\r\nX: y", encode(delivery("a\r\nX: y"))),
        ("w/\u202eb".encode(), encode(delivery("\u202eb"))),
        (b"w/a", encode(delivery("a")).replace(b'"body":"{}"', b'"body":"%s"' % (b"x" * 200_001))),
        (b"w/" + b"a" * 101, encode(delivery("a" * 101))),
        (b"w/a", encode(delivery("a")).replace(b'"attempts":0', b'"attempts":9223372036854775807')),
    ],
)
def test_what_is_no_delivery_is_refused(key: bytes | None, value: bytes) -> None:
    with pytest.raises(RecordError):
        delivery_of(key, value, "w")


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_whatever_a_stranger_writes_is_a_delivery_or_an_error_of_ours(value: bytes) -> None:
    with pytest.raises(RecordError):
        delivery_of(b"w/a", value, "w")


@given(st.lists(st.sampled_from([OK, BROKEN, AWAY, GONE]), max_size=80), st.integers(0, 99), st.integers(1, 6))
def test_nothing_is_lost_whatever_a_receiver_answers(answers: list[Attempt], seed: int, count: int) -> None:
    names = [f"d{number}" for number in range(count)]
    outbox, now = outbox_of(*names, seed=seed), START
    done: list[str] = []
    given_up: list[str] = []
    for answer in answers:
        at = outbox.next_due(now)
        if at is None:
            break
        now = max(now, at)
        held = due(outbox, now)
        settled = outbox.settle(held, answer, now)
        done += [each.delivery.id for each in settled.done]
        given_up += [each.delivery.id for each, _ in settled.given_up]
        assert all(each.delivery.attempts > 0 for each in settled.again)
    waiting = [name for name in names if name in outbox]
    assert sorted(done + given_up + waiting) == sorted(names)

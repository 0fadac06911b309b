"""Deliveries under way: which is due when, how often it was tried, when it is given up.

A delivery that fails is tried again for a day, ever more seldom, and holds up none behind it. A receiver that takes
nothing for now (no connection, 429, 502 to 504) is left alone for a while as a whole. Then it is tried with another
delivery: it may be the one before that it can't take.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from tidemark.errors import RecordError
from tidemark.records import Int64, Record, decode
from tidemark.webhooks.client import Attempt
from tidemark.webhooks.events import MOST_BYTES

DAY: Final = 86_400.0
FIRST: Final = 5.0
"""Seconds after which what failed is tried for the second time."""
_FACTOR: Final = 3.0
_MOST_WAIT: Final = 7_200.0
_MOST_REST: Final = 600.0
_JITTER: Final = 0.25
"""Share by which a wait is longer or shorter, so that what failed together does not come back together."""
_SECOND: Final = 1_000_000
_IDENTITY: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
"""It is sent as a header, and logged."""
_MOST_ATTEMPTS: Final = 1_000_000
_REASON: Final = 2_000


class Delivery(Record, frozen=True, kw_only=True):
    """`P.webhooks`, key `WEBHOOK/ID`: an event that a receiver has not taken yet.

    since: when it was put here.  next_at: when it is tried.  failed_at: when it first failed.  Times in µs since 1970.
    """

    webhook: str
    id: str
    type: str
    body: str
    since: Int64
    next_at: Int64
    attempts: Int64 = 0
    failed_at: Int64 | None = None
    reason: str = ""

    @property
    def key(self) -> bytes:
        """Key of its record."""
        return f"{self.webhook}/{self.id}".encode()


@dataclass(slots=True)
class Held:
    """A delivery, and the offset of its newest record."""

    delivery: Delivery
    offset: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of deliveries after an attempt. done: are to be forgotten.  again: are kept as they are now.

    given_up: with the reason that people are told.
    """

    done: tuple[Held, ...] = ()
    again: tuple[Held, ...] = ()
    given_up: tuple[tuple[Held, str], ...] = ()


class Outbox:
    """The deliveries of one webhook, in the order in which they were put here. Times are s since 1970."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        """Begin with none. jitter: draws a number from 0 to 1."""
        self._jitter = jitter
        self._held: dict[str, Held] = {}
        self._failures = 0
        self._rests_until = 0.0
        self._rested_at = 0.0
        self.last_reason = ""

    def __len__(self) -> int:
        """Deliveries that wait."""
        return len(self._held)

    def __contains__(self, identity: str) -> bool:
        """Whether a delivery waits."""
        return identity in self._held

    def put(self, delivery: Delivery, offset: int) -> None:
        """Take a delivery in, or note where the newest record of one is."""
        held = self._held.get(delivery.id)
        if held is None:
            self._held[delivery.id] = Held(delivery, offset)
        else:
            held.offset = offset

    def drop(self, identity: str) -> None:
        """Forget a delivery."""
        self._held.pop(identity, None)

    def due(self, now: float) -> Held | None:
        """The delivery to try; None where none is due.

        The oldest first. Of a receiver that took nothing the last time one that was tried least often, the newest and
        the oldest by turns: where some deliveries make it fail, others get past them.
        """
        if self._rests(now):
            return None
        due = (held for held in self._held.values() if self._due_at(held.delivery, now) <= now)
        if not self._failures:
            return next(due, None)
        by_age = list(due) if self._failures % 2 == 0 else list(due)[::-1]
        return min(by_age, key=_attempts, default=None)

    def next_due(self, now: float) -> float | None:
        """When one is due; None where none waits."""
        if not self._held:
            return None
        first = min(self._due_at(held.delivery, now) for held in self._held.values())
        return max(first, self._rests_until) if self._rests(now) else first

    def failing_since(self) -> float | None:
        """Since when deliveries that wait have failed; None where none has."""
        failed = [held.delivery.failed_at for held in self._held.values() if held.delivery.failed_at is not None]
        return min(failed) / _SECOND if failed else None

    def settle(self, held: Held, attempt: Attempt, now: float) -> Settled:
        """Take note of what came of an attempt.

        Args:
            held: the delivery that was tried.
            attempt: what came of it.
            now: when.

        Returns:
            What became of it, and of others that are given up with it.

        """
        if attempt.delivered:
            self._failures, self._rests_until = 0, 0.0
            self.drop(held.delivery.id)
            if self.failing_since() is None:
                self.last_reason = ""
            return Settled(done=(held,))
        self.last_reason = attempt.reason
        self._tried(held, attempt, now)
        if attempt.away:
            self._rest(attempt, now)
            over = [each for each in self._held.values() if self._is_over(each.delivery, now)]
        else:
            over = [held] if attempt.gone or self._is_over(held.delivery, now) else []
        for each in over:
            self.drop(each.delivery.id)
        given_up = tuple((each, _why(each.delivery, attempt, now)) for each in over)
        return Settled(given_up=given_up, again=() if held in over else (held,))

    def _tried(self, held: Held, attempt: Attempt, now: float) -> None:
        before = held.delivery
        most = _MOST_REST if attempt.away else _MOST_WAIT
        wait = self._wait(min(FIRST * _FACTOR ** min(before.attempts, 20), most))
        wait = max(wait, attempt.retry_after or 0.0)
        next_at = min(now + wait, max(before.since / _SECOND + DAY, now + FIRST))  # the last try ends the day
        held.delivery = msgspec.structs.replace(
            before,
            attempts=before.attempts + 1,
            next_at=int(next_at * _SECOND),
            failed_at=int(now * _SECOND) if before.failed_at is None else before.failed_at,
            reason=attempt.reason,
        )

    def _rest(self, attempt: Attempt, now: float) -> None:
        wait = self._wait(min(FIRST * 2 ** min(self._failures, 20), _MOST_REST))
        self._failures += 1
        self._rested_at, self._rests_until = now, now + max(wait, attempt.retry_after or 0.0)

    def _rests(self, now: float) -> bool:
        return self._rested_at <= now < self._rests_until  # a clock that was set back ends it

    def _wait(self, seconds: float) -> float:
        return seconds * (1 + _JITTER * (2 * self._jitter() - 1))

    @staticmethod
    def _due_at(delivery: Delivery, now: float) -> float:
        at = delivery.next_at / _SECOND
        return at if at <= now + DAY else now  # a clock that was set back holds nothing up

    @staticmethod
    def _is_over(delivery: Delivery, now: float) -> bool:
        return now >= delivery.since / _SECOND + DAY


def delivery_of(key: bytes | None, value: bytes, webhook: str) -> Delivery:
    """A delivery from its record, which anybody may have written.

    Args:
        key: of the record.
        value: of the record.
        webhook: whose it must be.

    Returns:
        The delivery.

    Raises:
        RecordError: it is none, or not of the webhook.

    """
    delivery = decode(Delivery, value)
    if delivery.webhook != webhook or delivery.key != key:
        raise RecordError("webhook", f"a delivery whose key is not {webhook}/ID")
    told = _IDENTITY.fullmatch(delivery.id) and len(delivery.body) <= MOST_BYTES and len(delivery.reason) <= _REASON
    if not told or not 0 <= delivery.attempts <= _MOST_ATTEMPTS:
        raise RecordError("webhook", "a delivery that no webhook has written")
    return delivery


def _attempts(held: Held) -> int:
    return held.delivery.attempts


def anew(delivery: Delivery, now: float) -> Delivery:
    """A delivery that was sent again by a person, as if it had just been put here."""
    at = int(now * _SECOND)
    return msgspec.structs.replace(delivery, since=at, next_at=at, attempts=0, failed_at=None, reason="")


def _why(delivery: Delivery, attempt: Attempt, now: float) -> str:
    if attempt.gone:
        return f"{attempt.reason}: it wants no more"
    hours = max(now - delivery.since / _SECOND, 0) / 3_600
    times = "once" if delivery.attempts == 1 else f"{delivery.attempts:,} times"
    tried = f"tried {times}" if delivery.attempts else "never tried, for the receiver was away"
    return f"given up after {hours:.0f} h, {tried}: {attempt.reason}"

"""What a webhook tells of itself in `P.metrics`: what was delivered, what waits, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemark.records import Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output

METRICS: Final = (
    MetricKind(
        "webhook_deliveries",
        "deliveries a second",
        "every webhook",
        "webhooks",
        "What a receiver has taken since the webhook last told so. `n` is how many since its process began; the detail "
        "names the `webhook`, and tells how many are `waiting` and how many were `given_up` as dead letters, and "
        "since when what waits has failed (`failing_since`, s since 1970) and why (`reason`).",
    ),
)
NAME: Final = "webhook_deliveries"
EVERY: Final = 10.0
"""Seconds between two that tell something new."""
AT_LEAST: Final = 30.0
"""Seconds after which a webhook says that it runs, though nothing has changed."""
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How a webhook stands. delivered, given_up: since its process began.  failing_since: s since 1970."""

    delivered: int = 0
    given_up: int = 0
    waiting: int = 0
    failing_since: float | None = None
    reason: str = ""


class WebhookTelling:
    """Makes the metrics of a webhook's process."""

    def __init__(self, topic: str, webhook: str) -> None:
        """Begin.

        Args:
            topic: of the metrics.
            webhook: its name in the pipeline file.

        """
        self._topic, self._webhook = topic, webhook
        self._at: float | None = None
        self._told = Deliveries()

    def due(self, now_is: Deliveries, now: float) -> bool:
        """Whether it is time. now: s since 1970."""
        if self._at is None or not 0 <= now - self._at < AT_LEAST:
            return True
        return now_is != self._told and now - self._at >= EVERY

    def metric(self, now_is: Deliveries, now: float, *, runs: bool = True) -> Output:
        """The metric, which is taken for told.

        Args:
            now_is: how the webhook stands.
            now: s since 1970.
            runs: false where the process ends.

        Returns:
            What to send.

        """
        seconds = now - self._at if self._at is not None else 0.0
        rate = (now_is.delivered - self._told.delivered) / seconds if seconds > 0 else None
        self._at, self._told = now, now_is
        told = Metric(
            name=NAME,
            value=rate,
            low=None,
            high=None,
            n=now_is.delivered,
            at=int(now * _SECOND),
            model="",
            source="webhooks",
            detail={
                "webhook": self._webhook,
                "waiting": now_is.waiting,
                "given_up": now_is.given_up,
                "failing_since": now_is.failing_since,
                "reason": now_is.reason,
                "runs": int(runs),
            },
        )
        return Output(self._topic, encode(told), f"{NAME}/{self._webhook}".encode())

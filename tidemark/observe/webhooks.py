"""What the webhooks of a pipeline have told of themselves in `P.metrics`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from tidemark.observe.status_record import WebhookStatus
from tidemark.pipeline.model import WebhookSpec
from tidemark.records import Metric
from tidemark.records.webhook_telling import AT_LEAST, NAME
from tidemark.runtime.web_addresses import web_address

SILENT: Final = 3 * AT_LEAST
"""Seconds after which a webhook that has told nothing is taken for one that does not run."""
_SHOWN: Final = 300


class Webhooks:
    """The latest that each webhook of the pipeline file has told. Others are nobody's."""

    def __init__(self, specs: Sequence[WebhookSpec]) -> None:
        """Begin with the webhooks that the pipeline file declares."""
        self._receivers = {spec.name: web_address(spec.url).origin for spec in specs}
        self._latest: dict[str, Metric] = {}

    def take(self, metric: Metric) -> bool:
        """Take in a metric; whether it tells of a webhook."""
        if metric.name != NAME:
            return False
        name = str(metric.detail.get("webhook"))
        if name in self._receivers:
            self._latest[name] = metric
        return True

    def found(self, now: float) -> list[WebhookStatus]:
        """Each webhook as it is. now: s since 1970."""
        return [_status(name, receiver, self._latest.get(name), now) for name, receiver in self._receivers.items()]


def _status(name: str, receiver: str, told: Metric | None, now: float) -> WebhookStatus:
    detail = {} if told is None else told.detail
    since = detail.get("failing_since")
    return WebhookStatus(
        name=name,
        receiver=receiver,
        runs=told is not None and bool(detail.get("runs")) and now - told.at / 1e6 < SILENT,
        delivered=0 if told is None else told.n,
        given_up=_count(detail.get("given_up")),
        waiting=_count(detail.get("waiting")),
        failing_since=float(since) if isinstance(since, int | float) else None,
        reason=str(detail.get("reason") or "")[:_SHOWN],
        at=None if told is None else told.at / 1e6,
    )


def webhook_problems(webhooks: Collection[WebhookStatus], file: str) -> list[str]:
    """Sentences on the webhooks that do not run. file: of the pipeline, as a person names it."""
    return [
        f"webhook '{webhook.name}' "
        + ("has not run yet" if webhook.at is None else "does not run")
        + f": see the log of `tidemark up`, or start it with `tidemark webhook run {file} {webhook.name}`"
        for webhook in webhooks
        if not webhook.runs
    ]


def receiver_problems(webhooks: Collection[WebhookStatus]) -> list[str]:
    """Sentences on receivers that do not take what they are sent."""
    problems = []
    for webhook in webhooks:
        if webhook.failing_since is not None and webhook.waiting:
            wait = "1 delivery waits" if webhook.waiting == 1 else f"{webhook.waiting:,} deliveries wait"
            problems.append(
                f"webhook '{webhook.name}': {webhook.receiver} {webhook.reason or 'takes nothing'}, since "
                f"{utc(webhook.failing_since)}; {wait}. Once the receiver is mended they go by themselves, within a "
                "day"
            )
    return problems


def given_up_notes(webhooks: Collection[WebhookStatus], file: str) -> list[str]:
    """Sentences on deliveries that were given up. file: of the pipeline, as a person names it."""
    notes = []
    for webhook in webhooks:
        if webhook.given_up:
            became = (
                "1 delivery became a dead letter"
                if webhook.given_up == 1
                else (f"{webhook.given_up:,} deliveries became dead letters")
            )
            notes.append(
                f"webhook '{webhook.name}': {became} since it began; once the receiver takes them, `tidemark "
                f"deadletter replay {file} --step 'webhook {webhook.name}'`"
            )
    return notes


def utc(seconds: float) -> str:
    """A time as problems tell it, to a minute. seconds: since 1970."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "some time"


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0

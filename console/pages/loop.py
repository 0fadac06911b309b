"""The Loop page: what runs, how fast, how good, what is wrong and what to do. Live by server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from console.loop.prometheus import exposition
from console.loop.series import CHARTED, Point, strongest
from console.loop.watch import Look
from console.pages.common import Visit, verified
from console.rendering import rendered
from console.security.access import may
from console.security.requests import RejectedError
from console.shown.drift import drifts
from console.shown.facts import words
from console.shown.formatting import duration, share
from console.site import Site
from labeling_grpc.client import AsyncLabelingClient, RefusedError, UnreachableError
from labeling_grpc.client.queue_status import queue_status
from labeling_grpc.label_studio.status import bridge_status
from tidemark.errors import LabelingError, TidemarkError
from tidemark.observe.refusals import MOST
from tidemark.observe.status import status_of
from tidemark.observe.status_record import LabelingStatus, QualityStatus, Status, TopicStatus
from tidemark.observe.words import (
    R_SQUARED,
    alert_words,
    budget_words,
    decision_words,
    gain_words,
    label_words,
    quality_words,
    seconds_words,
)
from tidemark.runtime.safe_text import safe

_EVERY_SECONDS: Final = 2.0
_MOST_SECONDS: Final = 3_600.0
"""Of one stream of events: the browser begins another, and its session is looked at anew."""
_CHAMPIONS: Final = 6
_WIDEST: Final = 0.5
"""Of the interval of a quality that is shown as one figure."""
_DRAWN_ELSE: Final = ("quality", "inputs_drift")
_FEATURES: Final = 5
"""Of which the evidence of a change is drawn."""
_SHORT: Final = (
    "predictions",
    "proposals",
    "candidates",
    "labels",
    "models",
    "metrics",
    "outcomes",
    "deadletter",
)
"""Topics of a pipeline that are shown, as `Topics` names them."""
_HOURS: Final = {"1": 1, "6": 6, "24": 24, "168": 168}


@dataclass(frozen=True, slots=True)
class Champion:
    """A model in the timeline. sources: whose word its labels are, in words, "" where it is one kind's.

    after: how long after its newest label it was made, "" where that is not known.
    """

    version: str
    when: str
    labels: int
    decision: str
    state: str
    sources: str = ""
    after: str = ""


async def show(visit: Visit) -> Response:
    """The page, with the loop as it is now."""
    await verified(visit)
    return visit.page("loop.html", "loop", live=await _live(visit), hours=list(_HOURS))


async def events(visit: Visit) -> Response:
    """The loop, again and again, as server-sent events."""
    await verified(visit)
    return StreamingResponse(_events(visit), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def series(visit: Visit) -> Response:
    """Figures over time, for the charts."""
    await verified(visit)
    hours = _HOURS.get(visit.request.query_params.get("hours", "6"))
    if hours is None:
        raise RejectedError(400, f"hours: write one of {', '.join(_HOURS)}")
    look = await visit.site.watch.look()
    begin = time.time() - 3_600 * hours
    over_time = {name: _columns(look.series.since(name, begin)) for name in CHARTED if name not in _DRAWN_ELSE}
    shares = not visit.site.pipeline.label.is_number
    learning = {"learning": _learning(look), "shares": shares}
    drift = _drift(look.series.since("inputs_drift", begin))
    return JSONResponse({"begin": begin, "end": time.time(), "series": over_time, "drift": drift, **learning})


async def metrics(request: Request) -> Response:
    """Every pipeline's figures for Prometheus: as bearer of a token, or from this machine where there are none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise RejectedError(401, "send a token of the labeling service: Authorization: Bearer TOKEN")
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise RejectedError(401, "this is no token")
    statuses = []
    for site in request.app.state.sites.values():
        async with site.connections.introduced("tidemark-console", token) as (client, caller):
            if not may(caller.role, "loop") or not (caller.known or request.app.state.options.local):
                raise RejectedError(403, "figures are not for this role")
            statuses.append(await _status(site, client, await site.watch.look()))
    return PlainTextResponse(exposition(statuses), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _events(visit: Visit) -> AsyncIterator[str]:
    until = time.monotonic() + _MOST_SECONDS
    yield "retry: 3000\n\n"
    stopping: asyncio.Event = visit.request.app.state.stopping
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _EVERY_SECONDS)
            return
        try:
            await verified(visit)
        except (RefusedError, RejectedError):
            yield "event: ended\ndata: {}\n\n"
            return
        except UnreachableError:
            pass  # the page says that the labeling service is away; nothing else of it needs the service
        yield f"event: live\ndata: {json.dumps(await _live(visit))}\n\n"


async def _live(visit: Visit) -> str:
    """The part of the page that changes."""
    site = visit.site
    try:
        look = await site.watch.look()
    except TidemarkError as error:
        return rendered("loop_live.html", status=None, why=str(error), site=site)
    status = await _status(site, visit.client, look)
    quality, latency, bridge = status.quality, status.latency, status.label_studio
    return rendered(
        "loop_live.html",
        site=site,
        status=status,
        why="",
        topics=_topics(site, status, look),
        refused=_refused(site, look),
        most_refused=MOST,
        flows={flow.name: flow for flow in status.flows},
        quality="" if quality is None else quality_words(quality),
        headline=headline_of(quality),
        gain="" if quality is None else gain_words(quality),
        alerts="" if status.alerts is None else alert_words(status.alerts),
        decisions=decision_words(status.decisions),
        budget="" if status.budget is None else budget_words(status.budget),
        latency=None if latency is None else (seconds_words(latency.p50), seconds_words(latency.p99)),
        late=_late(look),
        late_of=0 if (told := look.snapshot.metrics.get("late_share")) is None else told.n,
        letters=may(visit.session.role, "letters"),
        base=f"/p/{site.name}",
        champions=_champions(site, look),
        drifts=drifts(look.snapshot.metrics),
        bridge=bridge,
        reached=None if bridge is None or bridge.reached is None else site.times.minute(int(1e6 * bridge.reached)),
    )


async def _status(site: Site, client: AsyncLabelingClient, look: Look) -> Status:
    if look.sample is None:
        note = f"not started yet: tidemark up {site.file}"
        return Status(pipeline=site.name, file=site.file, at=look.snapshot.at, state="not started", notes=[note])
    try:
        labeling = queue_status(await client.stats(), "", look.snapshot.ranked_by)
    except LabelingError as error:
        labeling = LabelingStatus(reachable=False, problem=str(error))
    bridge = await asyncio.to_thread(bridge_status, site.pipeline, site.settings, look.snapshot.at)
    return status_of(site.pipeline, site.file, look.snapshot, look.sample, labeling, bridge)


def headline_of(quality: QualityStatus | None) -> str | None:
    """The one large figure of quality: its interval where that is so wide that a figure would mislead."""
    if quality is None or quality.value is None:
        return None
    if quality.metric == R_SQUARED:
        written: Callable[[float], str] = _written
        lowest = -math.inf
    else:
        written, lowest = share, 0.0
    low, high = lowest if quality.low is None else quality.low, 1.0 if quality.high is None else quality.high
    if high - low <= _WIDEST or math.isinf(low):
        return written(quality.value)
    return f"{written(low)} to {written(high)}"


def _written(number: float) -> str:
    """R², which is no share."""
    return f"{number:.2f}"


def _late(look: Look) -> str | None:
    metric = look.snapshot.metrics.get("late_share")
    return None if metric is None or metric.value is None else share(metric.value)


def _topics(site: Site, status: Status, look: Look) -> dict[str, TopicStatus]:
    """The pipeline's topics by their short names: of those that nobody counts, by their ends."""
    topics = site.pipeline.topics
    counted = {topic.name: topic for topic in status.topics}
    shown = {}
    for short in _SHORT:
        name = getattr(topics, short)
        ended, rate = look.snapshot.ends.get(name, 0), look.snapshot.rates.get(name, 0.0)
        shown[short] = counted.get(name) or TopicStatus(name=name, records=ended, exact=False, per_second=rate)
    raw = [counted[name] for name in site.pipeline.raw_topics if name in counted]
    shown["raw"] = TopicStatus(
        name=", ".join(site.pipeline.raw_topics),
        records=sum(topic.records for topic in raw),
        exact=all(topic.exact for topic in raw),
        per_second=sum(topic.per_second for topic in raw),
    )
    return shown


def _refused(site: Site, look: Look) -> dict[str, int]:
    """Dead letters of the last day by where the loop's picture has them: short names of topics; `stream` for hops."""
    topics, found = site.pipeline.topics, Counter[str]()
    places = {getattr(topics, short): short for short in _SHORT}
    places |= dict.fromkeys(site.pipeline.raw_topics, "raw") | dict.fromkeys(site.pipeline.hop_topics, "stream")
    for topic, count in look.refused.items():
        if topic in places:
            found[places[topic]] += count
    return dict(found)


def _champions(site: Site, look: Look) -> list[Champion]:
    times, in_force = site.times, look.snapshot.champion
    return [
        Champion(
            manifest.version,
            times.minute(manifest.created_at),
            manifest.used,
            manifest.decision,
            "in force"
            if in_force is not None and manifest.version == in_force.version
            else "replaced"
            if manifest.promoted
            else "refused",
            label_words(manifest.source_counts, manifest.conflicts).removeprefix(", "),
            duration((manifest.created_at - manifest.known_until) / 1e6)
            if 0 < manifest.known_until <= manifest.created_at
            else "",
        )
        for manifest in look.manifests[:_CHAMPIONS]
    ]


def _columns(points: list[Point]) -> list[list[float | None]]:
    return [
        [point.at for point in points],
        [point.value for point in points],
        [point.low for point in points],
        [point.high for point in points],
    ]


def _drift(points: list[Point]) -> dict[str, list[Any]]:
    """Evidence of a change: of all features together, and of those that have had most of it, by name and in words."""
    parts = strongest(points, _FEATURES)
    together = [[point.at for point in points], [point.value for point in points]]
    return {"names": [safe(words(name)) for name, _ in parts], "columns": [*together, *(each for _, each in parts)]}


def _learning(look: Look) -> list[list[float | None]]:
    """The last headline of each champion, by the labels that it had learnt from."""
    used = {manifest.version: manifest.used for manifest in look.manifests}
    last: dict[str, Point] = {}
    for point in look.series.since("quality", 0.0):
        if point.model in used:
            last[point.model] = point
    ordered = sorted(last.values(), key=lambda point: used[point.model])
    return [
        [used[point.model] for point in ordered],
        [point.value for point in ordered],
        [point.low for point in ordered],
        [point.high for point in ordered],
    ]

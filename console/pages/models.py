"""The Models page: which there are, how two differ, and, for administrators, which is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import HTMLResponse, Response

from console.loop.kafka import kafka_settings
from console.pages.common import Visit, frame, verified
from console.rendering import rendered
from console.security.requests import RejectedError, form
from console.shown.curves import drawings
from console.shown.formatting import Times, number, share
from tidemark.comparison import Compared, basis_words, difference_words, figure_words, made_words
from tidemark.errors import ModelError, TidemarkError, TopicError
from tidemark.records import ModelManifest
from tidemark.registry import operations
from tidemark.registry.codec import Registry
from tidemark.registry.describing import Described, Difference, Listed, agreement_words, described, difference, listed
from tidemark.registry.describing import figure_words as of_model
from tidemark.registry.promotion import named, previous

ADMIN: Final = "admin"
_MOST: Final = 200
_SPLITS: Final = 12
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A model in the list."""

    model: Listed
    made: str
    figure: str


@dataclass(frozen=True, slots=True)
class Share:
    """A feature's share of the splits of two models. widths: percent."""

    name: str
    first: str
    second: str
    first_width: float
    second_width: float


async def show(visit: Visit) -> Response:
    """The list."""
    role = await verified(visit)
    return visit.page("models.html", "models", inner=await _list(visit, role, ""))


async def compare(visit: Visit) -> Response:
    """Two models side by side."""
    await verified(visit)
    asked = [visit.request.query_params.get(name, "") for name in ("first", "second")]
    if any(not version or len(version) > _LONGEST for version in asked):
        raise RejectedError(400, "choose two models of the list")
    await visit.site.watch.look()  # says within seconds that Kafka is down; reading a topic would wait for a minute
    settings = kafka_settings(visit.site.settings)

    def read() -> tuple[Described, Described, Difference, Compared]:
        from tidemark.comparison.comparing import compared  # noqa: PLC0415 a second, which the start does not wait for

        registry = operations.registry_of(settings, visit.site.pipeline)
        first, second = (named(registry, version) for version in asked)
        measured = compared(settings, visit.site.pipeline, registry, first, second)
        return described(registry, first), described(registry, second), difference(registry, first, second), measured

    first, second, found, measured = await asyncio.to_thread(read)
    times = visit.site.times
    return visit.page(
        "compare.html",
        "models",
        first=first,
        second=second,
        made=[times.minute(each.listed.created_at) for each in (first, second)],
        difference=found,
        agreement=agreement_words(found.agreement),
        metrics=_metrics(first, second),
        shares=_shares(first, second),
        **_measured(measured, times),
    )


async def act(visit: Visit) -> Response:
    """Promote, roll back, pin or let go: by administrators, through what `tidemark models` does."""
    if await verified(visit) != ADMIN:
        raise RejectedError(403, "models are put in force by administrators")
    await visit.site.watch.look()
    fields = await form(visit.request)
    version, what = fields.get("version", ""), fields.get("do", "")
    settings, pipeline, by = kafka_settings(visit.site.settings), visit.site.pipeline, visit.session.name

    def unpin() -> str:
        operations.unpin_champion(settings, pipeline, by=by)
        return "The pin is lifted: the next model that passes the gate replaces the champion."

    acts: dict[str, Callable[[], str]] = {
        "promote": lambda: _promoted(operations.promote(settings, pipeline, _named(version), by=by).version),
        "rollback": lambda: _promoted(operations.promote(settings, pipeline, previous, by=by).version),
        "pin": lambda: f"{operations.pin_champion(settings, pipeline, by=by)} is pinned: no model replaces it.",
        "unpin": unpin,
    }
    if what not in acts or len(version) > _LONGEST:
        raise RejectedError(400, "this is none of the things that are done to models")
    try:
        told = await asyncio.to_thread(acts[what])
    except ModelError as error:
        return HTMLResponse(await _list(visit, ADMIN, str(error), bad=True), status_code=200)
    return HTMLResponse(await _list(visit, ADMIN, told))


def _measured(found: Compared, times: Times) -> dict[str, Any]:
    """What the page says of both on labels that neither has learnt from."""
    sides = (found.first, found.second)
    pairs = zip(found.first.figures, found.second.figures, strict=True)
    return {
        "measured": found,
        "basis": basis_words(found),
        "verdict": "" if found.difference is None else difference_words(found.difference),
        "figures": [(one.name, figure_words(one), figure_words(other)) for one, other in pairs],
        "drawings": drawings(found),
        "errors": [
            f"{side.version}: off by {share(side.calibration_error)} on average."
            for side in sides
            if side.calibration_error is not None
        ],
        "made_of": [
            (
                side.version,
                times.minute(side.made_of.known_until) if side.made_of.known_until else "",
                list(made_words(side.made_of)),
            )
            for side in sides
        ],
    }


def _named(version: str) -> Callable[[Registry], ModelManifest]:
    return lambda registry: named(registry, version)


def _promoted(version: str) -> str:
    return f"In force as {version}. The next model that passes the gate replaces it; a pin keeps it."


async def _list(visit: Visit, role: str, told: str, *, bad: bool = False) -> str:
    def read() -> list[Listed]:
        settings = kafka_settings(visit.site.settings)
        return listed(operations.registry_of(settings, visit.site.pipeline))[:_MOST]

    try:
        await visit.site.watch.look()
        models = await asyncio.to_thread(read)
    except ModelError:
        raise
    except TopicError:
        models, told, bad = [], f"not started yet: tidemark up {visit.site.file}", False
    except TidemarkError as error:
        models, told, bad = [], str(error), True
    rows = [Row(model, visit.site.times.minute(model.created_at), of_model(model)) for model in models]
    champion = next((row.model for row in rows if row.model.state == "champion"), None)
    return rendered(
        "models_list.html",
        **frame(visit.site, visit.session, "models"),
        rows=rows,
        champion=champion,
        admin=role == ADMIN,
        told=told,
        bad=bad,
    )


def _metrics(first: Described, second: Described) -> list[tuple[str, str, str]]:
    names = {**first.listed.metrics, **second.listed.metrics}
    return [
        (name.replace("_", " "), _number(first.listed.metrics.get(name)), _number(second.listed.metrics.get(name)))
        for name in names
        if first.listed.metrics.get(name) is not None or second.listed.metrics.get(name) is not None
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _shares(first: Described, second: Described) -> list[Share]:
    names = sorted(
        {**first.splits, **second.splits}, key=lambda name: -max(first.splits.get(name, 0), second.splits.get(name, 0))
    )[:_SPLITS]
    largest = max((max(first.splits.get(name, 0), second.splits.get(name, 0)) for name in names), default=0) or 1.0
    return [
        Share(
            name,
            f"{first.splits.get(name, 0):.0%}",
            f"{second.splits.get(name, 0):.0%}",
            round(100 * first.splits.get(name, 0) / largest, 1),
            round(100 * second.splits.get(name, 0) / largest, 1),
        )
        for name in names
    ]

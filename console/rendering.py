"""Pages of templates. Every text goes through `safe` and is escaped as HTML, without a word in the template."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from console.shown.timeline import Point
from tidemark.observe.words import rate_words
from tidemark.runtime.safe_text import safe

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
_SHAPES: Final = {
    "positive": '<path d="M0-5.5 5.5 0 0 5.5-5.5 0z"/>',
    "open": '<circle r="3"/>',
    "other": '<rect x="-4" y="-4" width="8" height="8"/>',
    "negative": '<circle r="3.8"/>',
}
"""A verdict is told by its shape, too."""


@cache
def static_version() -> str:
    """Digits that change with any static file: they are part of its address, so that browsers keep it for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(STATIC).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _shown(value: object) -> object:
    """What a template prints: text from outside without what turns, hides or overprints it."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return safe(value, lines=True) if isinstance(value, str) else value


def _drawn(points: Iterable[Point]) -> Markup:
    """Points of a timeline: there are dozens on a page, so that each is put together at once."""
    return Markup("").join(
        Markup(  # noqa: S704 - each part is escaped, or is ours
            f'<svg x="{escape(point.x)}%" y="{escape(point.y)}" overflow="visible"><g class="shape '
            f'{escape(point.kind)}"><title>{escape(safe(str(point.title)))}</title>'
            f"{_SHAPES.get(point.kind, _SHAPES['negative'])}</g></svg>"
        )
        for point in points
    )


def _shape(kind: str) -> Markup:
    """The shape of a verdict, beside a text that says the same."""
    return Markup(  # noqa: S704 - as above
        f'<svg class="shape {escape(kind)}" width="10" height="10" viewBox="-6 -6 12 12" aria-hidden="true">'
        f"{_SHAPES.get(kind, _SHAPES['negative'])}</svg>"
    )


@cache
def templates() -> Environment:
    """The templates."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["exact"] = escape  # for what a script or a form sends back: not one character may differ
    environment.filters["a_second"] = rate_words
    environment.filters["drawn"] = _drawn
    environment.filters["shape"] = _shape
    environment.globals["static"] = lambda name: f"/static/{static_version()}/{name}"
    return environment


def rendered(template: str, **values: Any) -> str:  # noqa: ANN401 what the template asks for
    """A template's HTML."""
    return templates().get_template(template).render(values)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401 as above
    """A template as a response."""
    return HTMLResponse(rendered(template, **values), status_code=status)

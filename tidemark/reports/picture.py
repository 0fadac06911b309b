"""How pictures are drawn: colours for light and dark pages, plain axes, inline SVG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("svg")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture. Lines differ in lightness and dash too, so that they part without colour.

    active, random: of the two lines that every picture has.  others: of further ones.
    """

    background: str
    ink: str
    faint: str
    active: str
    random: str
    others: tuple[str, ...] = ()


LIGHT: Final = Theme(
    background="#ffffff",
    ink="#1b1f24",
    faint="#d0d7de",
    active="#0b6bcb",
    random="#8a6100",
    others=("#116329", "#a40e26", "#6639ba", "#57606a"),
)
DARK: Final = Theme(
    background="#0d1117",
    ink="#e6edf3",
    faint="#30363d",
    active="#6cb6ff",
    random="#e3b341",
    others=("#56d364", "#ff7b72", "#d2a8ff", "#9198a1"),
)


def blank(theme: Theme) -> tuple[Figure, Axes]:
    """An empty picture."""
    drawn = Figure(figsize=(8.4, 4.4), facecolor=theme.background, layout="constrained")
    return drawn, drawn.add_subplot(facecolor=theme.background)


def plain(axes: Axes, theme: Theme) -> None:
    """Give axes the theme's colours, and no more lines than they need."""
    axes.tick_params(colors=theme.ink)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(theme.faint)


def inline_svg(drawn: Figure) -> str:
    """A picture as inline SVG, the same from the same."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tidemark", "svg.fonttype": "none"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

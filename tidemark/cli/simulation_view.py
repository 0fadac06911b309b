"""What `tidemark simulate` shows in a terminal: a bar while it plays, then curves, a table and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from rich import progress
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidemark.backtest.result import ArmCurve, Simulation
from tidemark.backtest.sentence import about, sentence
from tidemark.runtime.safe_text import safe

_ROWS, _FEWEST_ROWS, _MOST_ROWS = 12, 7, 20
_MORE: Final = 6
"""Lines beside the curves, the arms, the advice and the settings: axis, two headings, the prompt, wrapped words."""
_LEAST, _MOST = 30, 110
_MARKS: Final = "*.abcdefghijklmnopqrstuvw"
"""The pipeline as it is, random, and the changes in their order."""
_BAND: Final = "░"
_COLOURS: Final = ("bold cyan", "yellow", "green", "magenta", "blue", "red")


class Progress:
    """A bar in a terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, share: float, done: int) -> None:
        """What share was played, and how many plays are done."""
        self._bar.update(self._task, description=f"playing, {done:,} done", total=1.0, completed=share)


def shown(found: Simulation, width: int, height: int | None = None) -> RenderableType:
    """The whole simulation.

    Args:
        found: what to show.
        width: columns; no line is longer.
        height: lines of the screen, None if there is none. What comes last fits it, from the curves on.

    Returns:
        What to print.

    """
    head = Text.assemble(
        (safe(found.title), "bold"),
        f" on {safe(found.source)}: {found.events:,} events, {found.labels:,} with a label",
        f", {found.positives:,} '{safe(found.positive)}'" if found.positive else "",
    )
    axis = Text(f"{safe(about(found))} {_BAND}: 95 % of runs as it is", style="dim")
    advice, settings = safe(sentence(found)), found.toml.strip()
    others = len(found.arms) + settings.count("\n") + -(-len(advice) // width) + _MORE
    rows = _ROWS if height is None else max(_FEWEST_ROWS, min(_MOST_ROWS, height - others))
    notes = [Text(f"note: {safe(note)}", "yellow" if note.startswith("partial") else "dim") for note in found.notes]
    return Group(
        *(head, axis, *notes),
        *_plot(found, max(_LEAST, min(width, _MOST)), rows),
        *(_table(found), Text(advice, style="bold"), Text("To set in the pipeline's file:", "dim"), Text(settings)),
    )


def _plot(found: Simulation, width: int, rows: int) -> list[Text]:
    """Curves and the band of the pipeline as it is, as lines of text."""
    columns = width - 7
    settled = found.own.high[len(found.own.high) // 3 :]
    top = max(*settled, *(value for arm in found.arms for value in arm.mean))
    low = min(min(arm.mean) for arm in found.arms)
    top, low = min(1.0, top + 0.02), max(found.least, low - 0.02)
    cells = [[(" ", "")] * columns for _ in range(rows)]

    def row(value: float) -> int:
        return round((top - value) / (top - low) * (rows - 1))

    own = found.own
    last = max(arm.grid[-1] for arm in found.arms)
    labels = np.linspace(0, last, columns)
    for column, (under, over) in enumerate(zip(_at(own, own.low, labels), _at(own, own.high, labels), strict=True)):
        for line in range(max(0, row(over)), min(rows - 1, row(under)) + 1):
            cells[line][column] = (_BAND, "bright_black")
    for number in reversed(range(len(found.arms))):
        arm, mark = found.arms[number], _MARKS[number % len(_MARKS)]
        for column, value in enumerate(_at(arm, arm.mean, labels)):
            cells[min(max(row(value), 0), rows - 1)][column] = (mark, _COLOURS[number % len(_COLOURS)])
    lines = []
    for line, content in enumerate(cells):
        told = f"{top - (top - low) * line / (rows - 1):.2f}" if line % 3 == 0 or line == rows - 1 else ""
        lines.append(Text.assemble((f"{told:>5} ", "dim"), *content))
    return [*lines, Text(_axis(last, columns), style="dim")]


def _at(arm: ArmCurve, values: Sequence[float], labels: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    places = np.searchsorted(np.array(arm.grid), labels, side="right") - 1
    return [values[place] for place in places.tolist()]


def _axis(last: int, columns: int) -> str:
    end = f"{last:,} labels"
    middle = f"{last // 2:,}"
    line = f"{'0':<{columns // 2}}{middle}"
    return " " * 6 + line[: columns - len(end) - 1].ljust(columns - len(end)) + end


def _table(found: Simulation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", width=1)
    for name in ("", f"at {found.own.grid[-1]:,}", "95 %", "on average", "as random's end", "runs"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for number, arm in enumerate(found.arms):
        table.add_row(
            Text(_MARKS[number % len(_MARKS)], style=_COLOURS[number % len(_COLOURS)]),
            Text(safe(arm.name), style="bold" if arm.name == found.chosen else ""),
            f"{arm.mean[-1]:.3f}",
            f"{arm.low[-1]:.3f} to {arm.high[-1]:.3f}",
            f"{arm.area:.3f}",
            "never" if arm.as_good_from is None else f"from {arm.as_good_from:,}",
            f"{arm.seeds}",
        )
    return table

"""The demo's live view in the terminal."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tidemark.demo.run import Progress
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe


class View:
    """Renders the progress of a run."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._began = time.monotonic()
        self._streaming: float | None = None

    def render(self, progress: Progress) -> RenderableType:
        """What the terminal shows now."""
        parts: list[RenderableType] = [self._bar(progress)]
        if progress.snapshot is not None:
            if self._streaming is None and progress.sent:
                self._streaming = time.monotonic()
            parts += [Text(), self._figures(progress), self._behind(progress), self._quality(progress)]
        title = Text.assemble(("Tidemark", "bold"), f" · {safe(self._pipeline.title or self._pipeline.name)}")
        return Panel(Group(*parts), title=title, title_align="left", subtitle="Ctrl-C stops it", subtitle_align="right")

    def _bar(self, progress: Progress) -> Table:
        line = Table.grid(expand=True, padding=(0, 2))
        line.add_column(width=28)
        line.add_column(ratio=1)
        line.add_column(justify="right")
        seconds = int(time.monotonic() - self._began)
        line.add_row(
            Text(progress.stage, style="cyan"),
            ProgressBar(total=max(progress.events, 1), completed=progress.sent),
            f"{progress.sent:,} of {progress.events:,} events · {seconds // 60}:{seconds % 60:02d}",
        )
        return line

    def _figures(self, progress: Progress) -> Table:
        snapshot = progress.snapshot
        table = Table.grid(expand=True, padding=(0, 2))
        for _ in range(4):
            table.add_column(ratio=1)
        if snapshot is None:
            return table
        seconds = max(time.monotonic() - self._streaming, 1.0) if self._streaming else 1.0
        table.add_row(
            _figure("events a second, on average", f"{progress.sent / seconds:,.0f}"),
            _figure("labels spent", f"{self._spent(progress):,}"),
            _figure("cases waiting", f"{progress.waiting:,}"),
            _figure("champion", safe(snapshot.champion.version) if snapshot.champion else "none yet"),
        )
        return table

    def _behind(self, progress: Progress) -> Text:
        flows = progress.snapshot.flows if progress.snapshot else ()
        behind = "  ".join(f"{flow.name} {flow.lag:,}" for flow in flows)
        return Text.assemble(
            ("behind, in records: ", "dim"), behind, ("   dead letters: ", "dim"), f"{self._dead(progress):,}", "\n"
        )

    def _spent(self, progress: Progress) -> int:
        """Cases asked for, as selection counts them: the end of a topic counts transactions' markers too."""
        metric = None if progress.snapshot is None else progress.snapshot.metrics.get("budget_spent")
        return 0 if metric is None else int(metric.detail.get("spent_in_all") or 0)

    def _dead(self, progress: Progress) -> int:
        snapshot = progress.snapshot
        return 0 if snapshot is None else snapshot.ends.get(self._pipeline.topics.deadletter, 0)

    def _quality(self, progress: Progress) -> Table:
        table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
        for name in ("quality as measured", "value", "95 % interval", "n"):
            table.add_column(name, justify="left" if name.startswith("quality") else "right")
        metrics = progress.snapshot.metrics.values() if progress.snapshot else ()
        for metric in sorted(metrics, key=lambda metric: metric.name):
            if metric.source in {"labels", "outcomes"} and metric.value is not None:
                interval = "" if metric.low is None or metric.high is None else f"{metric.low:.3f} to {metric.high:.3f}"
                table.add_row(Text(safe(metric.name)), f"{metric.value:.3f}", interval, f"{metric.n:,}")
        return table


def _figure(name: str, value: str) -> Text:
    return Text.assemble((value, "bold"), "\n", (name, "dim"))

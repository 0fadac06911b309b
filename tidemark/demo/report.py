"""The demo's report: one HTML file that needs nothing beside it, light or dark as the reader prefers."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from tidemark.demo.plot import DARK, LIGHT, save_png, svg
from tidemark.demo.result import DemoResult, ModelPoint

_STYLE: Final = """
:root { color-scheme: light dark;
  --ink:#1b1f24; --soft:#57606a; --line:#d0d7de; --page:#fff; --good:#116329; --bad:#a40e26 }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6edf3; --soft:#9198a1; --line:#30363d; --page:#0d1117; --good:#56d364; --bad:#ff7b72 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 2.5rem auto; padding: 0 1.25rem }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem }
p { margin: .25rem 0 } .soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.5rem 0 }
.figures div { border-top: 2px solid var(--line); padding-top: .5rem } .figures b { display: block; font-size: 1.5rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left } svg { max-width: 100%; height: auto }
.dark { display: none }
@media (prefers-color-scheme: dark) { .light { display: none } .dark { display: block } }
"""


def write_report(result: DemoResult, folder: Path) -> Path:
    """Write `report.html` and `report.png` into the folder; returns the HTML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    save_png(result, folder / "report.png")
    path = folder / "report.html"
    path.write_text(html(result), encoding="utf-8")
    return path


def html(result: DemoResult) -> str:
    """The report's text."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark: {escape(result.title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(result.title)}</h1>
<p>{_headline(result)}</p>
<div class="figures">{_figures(result)}</div>
<h2>Average precision against labels spent</h2>
<p class="soft">On {result.holdout:,} later events that neither arm saw, by the simulator's truth. A model that guesses
reaches {result.base_rate:.3f}, the share of positive events.</p>
<div class="light">{svg(result, LIGHT)}</div><div class="dark">{svg(result, DARK)}</div>
<h2>What was lost</h2>
{_accounting(result)}
<h2>Models</h2>
{_models(result)}
<p class="soft">The active arm ran through Kafka, live. The random arm asked the same annotators about as many events of
each tile of the same stream, drawn at random, and was trained by the same trainer on the same features after
the stream had ended. Seed {result.seed}.</p>
</body></html>
"""


def _headline(result: DemoResult) -> str:
    if result.ratio is None:
        return "The active arm did not reach the random arm's final average precision in this run."
    return (
        f"<b>{result.labels_to_match:,} labels, well chosen, did the work of {result.random[-1].labels:,} random "
        f"ones</b> ({result.ratio:.0%})."
    )


def _figures(result: DemoResult) -> str:
    counted = result.accounting
    final = result.active[-1].average_precision if result.active else None
    shown = [
        (f"{counted.events:,}", "events streamed"),
        (f"{result.rate:,.0f}/s", f"over {result.seconds:.0f} s"),
        (f"{counted.labels:,}", f"labels of a budget of {counted.budget:,}"),
        ("–" if final is None else f"{final:.3f}", "average precision of the last model"),
        (f"{result.latency.p50:,.0f} ms", f"median latency; p99 {result.latency.p99:,.0f} ms"),
        (str(counted.lost), "events lost"),
    ]
    return "".join(f"<div><b>{value}</b>{what}</div>" for value, what in shown)


def _accounting(result: DemoResult) -> str:
    counted = result.accounting
    bad = counted.lost or counted.doubled or counted.labels_doubled
    verdict = (
        '<p class="bad">Something was lost or doubled.</p>'
        if bad
        else '<p class="good">Nothing was lost and nothing was done twice.</p>'
    )
    rows = [
        ("events in the raw topic", counted.events),
        ("events predicted once", counted.predicted),
        ("events predicted more than once", counted.doubled),
        ("dead letters", counted.dead_letters),
        ("candidates offered to annotators", counted.candidates),
        ("labels in the labels topic", counted.labels),
        ("of these answered", counted.answered),
        ("labels there more than once", counted.labels_doubled),
    ]
    return verdict + "<table>" + "".join(f"<tr><td>{name}</td><td>{n:,}</td></tr>" for name, n in rows) + "</table>"


def _models(result: DemoResult) -> str:
    head = "<tr><th>arm, version</th><th>labels</th><th>positive</th><th>average precision</th></tr>"
    return f"<table>{head}{_rows('active', result.active)}{_rows('random', result.random)}</table>"


def _rows(arm: str, points: list[ModelPoint]) -> str:
    return "".join(
        f"<tr><td>{arm} {escape(point.version)}</td><td>{point.labels:,}</td><td>{point.positives:,}</td>"
        f"<td>{point.average_precision:.3f}</td></tr>"
        for point in points
    )

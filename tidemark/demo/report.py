"""The demo's report: one HTML file that needs nothing beside it, light or dark as the reader prefers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

from tidemark.demo.plot import DARK, LIGHT, save_png, svg
from tidemark.demo.result import DemoResult, ModelPoint
from tidemark.demo.sentence import sentence
from tidemark.runtime.safe_text import safe

_STYLE: Final = """
:root { color-scheme: light dark;
  --ink:#1b1f24; --soft:#57606a; --line:#d0d7de; --page:#fff; --good:#116329; --bad:#a40e26; --bar:#0b6bcb }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6edf3; --soft:#9198a1; --line:#30363d; --page:#0d1117; --good:#56d364; --bad:#ff7b72; --bar:#6cb6ff }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 2.5rem auto; padding: 0 1.25rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem }
p { margin: .25rem 0 .75rem } .lead { font-size: 1.15rem } .soft { color: var(--soft) }
.good { color: var(--good) } .bad { color: var(--bad) }
.figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: 1.5rem 0 }
.figures div { border-top: 2px solid var(--line); padding-top: .5rem } .figures b { display: block; font-size: 1.5rem }
.wide { overflow-x: auto; overflow-wrap: normal; margin-bottom: 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 500 } .said td, .said th { text-align: left }
.said td:first-child { white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 } svg { max-width: 100%; height: auto }
td.bar { width: 40% } td.bar i { display: block; background: var(--bar); height: .7rem; margin-top: .4rem }
summary { cursor: pointer; font-weight: 600; margin-top: 2.25rem }
.dark { display: none }
@media (prefers-color-scheme: dark) { .light { display: none } .dark { display: block } }
@media (max-width: 34rem) {
  .figures { grid-template-columns: repeat(2, 1fr) } .figures b { font-size: 1.25rem }
  th, td { padding: .3rem .35rem; font-size: .9rem }
  .said th { display: none } .said tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line) }
  .said td { display: block; padding: 0; border: 0; overflow-wrap: anywhere }
  .said td:nth-child(4)::before { content: "model: " } .said td:nth-child(5)::before { content: "answer: " }
}
"""

_REASONS: Final = {
    "explore": "drawn at random, to measure the model",
    "uncertain": "the model could not tell",
    "diverse": "unlike what was labeled before",
    "cold": "there was no model yet",
    "imported": "brought in by hand",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
<title>Tidemark: {_text(result.title)}</title><style>{_STYLE}</style></head><body>
<h1>{_text(result.title)}</h1>
<p class="lead">{_text(sentence(result))}</p>
<div class="figures">{_figures(result)}</div>
<h2>Average precision against labels spent</h2>
<p class="soft">On {result.holdout:,} later events that neither arm saw, by the simulator's truth. A model that guesses
reaches {result.base_rate:.3f}, the share of positive events. Thin lines are the single random draws.</p>
<div class="light">{svg(result, LIGHT)}</div><div class="dark">{svg(result, DARK)}</div>
{_measured(result)}
{_asked(result)}
{_weights(result)}
{_reliability(result)}
<h2>What was lost</h2>
{_accounting(result)}
<details><summary>All {len(result.active) + sum(map(len, result.draws)):,} models</summary>{_models(result)}</details>
<p class="soft">The active arm ran through Kafka, live. Each random arm asked the same annotators about as many events
of each tile of the same stream, drawn at random, and was trained by the same trainer on the same schedule and features
after the stream had ended. Seed {result.seed}.</p>
</body></html>
"""


def _text(text: str) -> str:
    """Text from outside as HTML."""
    return escape(safe(text))


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


def _measured(result: DemoResult) -> str:
    rows = [
        (
            figure.model,
            f"{figure.value:.3f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
            f"{figure.truth:.3f}",
            f"{figure.n:,}",
        )
        for figure in result.measured
    ]
    said = _table(("model", "as the loop measured it", "95 % interval", "truth, later period", "answers"), rows)
    return _section(
        "Is the model good? What the loop said, and the truth",
        "The loop knows only answers of cases that were drawn at random, of the days that were streamed; the truth is "
        "of all later events.",
        said,
        rows,
    )


def _asked(result: DemoResult) -> str:
    counts = [
        (_REASONS.get(count.reason, count.reason), f"{count.asked:,}", f"{count.positives / count.asked:.0%}")
        for count in result.reasons
    ]
    examples = [
        (
            _time(example.time),
            _REASONS.get(example.reason, example.reason),
            ", ".join(f"{name} {_value(value)}" for name, value in example.context.items()),
            "–" if example.said is None else f"{example.said:.0%}",
            example.answer + ("" if example.answer == example.truth else f" (truth: {example.truth})"),
        )
        for example in result.asked
    ]
    shown = _table(("why", "cases", f"answered {result.positive}"), counts) + _table(
        ("when", "why", "what the annotator saw", f"model: {result.positive}", "answer"), examples, kind="said"
    )
    return _section("What was asked", "Each reason with the share of its answers, and examples.", shown, examples)


def _weights(result: DemoResult) -> str:
    largest = max((weight.share for weight in result.weights), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{_text(weight.name)}</td><td>{weight.share:.0%}</td>"
        f'<td class="bar"><i style="width:{100 * weight.share / largest:.0f}%"></i></td></tr>'
        for weight in result.weights
    )
    return _section(
        "Which features decide",
        "Share of all that moved the last model's scores of later events (mean absolute Shapley values).",
        f'<div class="wide"><table>{rows}</table></div>',
        result.weights,
    )


def _reliability(result: DemoResult) -> str:
    rows = [
        (f"{row.predicted:.1%}", f"{row.observed:.1%}", f"{row.share * result.holdout:,.0f}")
        for row in result.reliability
    ]
    error = sum(row.share * abs(row.observed - row.predicted) for row in result.reliability)
    return _section(
        "Do the probabilities come true?",
        f"Later events by what the last model said of them. Mean error {error:.2%}.",
        _table(("the model said, in the mean", f"were {result.positive}", "events"), rows),
        rows,
    )


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
    return verdict + _table((), [(name, f"{count:,}") for name, count in rows])


def _models(result: DemoResult) -> str:
    rows = [_model("active", point) for point in result.active]
    for number, points in enumerate(result.draws, start=1):
        rows += [_model(f"random {number}", point) for point in points]
    return _table(("arm, version", "labels", "positive", "average precision"), rows)


def _model(arm: str, point: ModelPoint) -> tuple[str, ...]:
    return f"{arm} {point.version}", f"{point.labels:,}", f"{point.positives:,}", f"{point.average_precision:.3f}"


def _section(title: str, words: str, body: str, rows: Sequence[Any]) -> str:
    """A section, left out where there is nothing to show."""
    return f'<h2>{_text(title)}</h2>\n<p class="soft">{_text(words)}</p>\n{body}' if rows else ""


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}">{f"<tr>{names}</tr>" if names else ""}{lines}</table></div>'


def _time(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M")


def _value(value: object) -> str:
    return "–" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)
